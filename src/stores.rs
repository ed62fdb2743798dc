//! What speaks to object stores, in a program that was built with them.

use std::path::Path;

use setaccio_base::objects::is_address;

/// Let addresses be read and written.
pub fn install() {
    #[cfg(feature = "store")]
    setaccio_base::objects::install(setaccio_store::stores(crate::signals::came));
}

/// The address that an argument is, if it is one.
pub fn address(argument: &Path) -> Option<&str> {
    argument.to_str().filter(|text| is_address(text))
}
