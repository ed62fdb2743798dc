//! Parts of cards and of their pictures: YAML front matter, licences, axes.

mod axis;
mod front_matter;
mod license;

pub use axis::{Axis, value};
pub use front_matter::{list, quoted};
pub use license::{UNKNOWN_LICENSE, strictest};

/// Text within XML, as SVG needs it.
pub fn escape_xml(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
