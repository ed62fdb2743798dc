//! Memory of many megabytes that is given back and asked for all the time, as a model's activations are.

/// Settings of glibc's allocator. Buffers below 32 MiB stay in its heap, and what is free at its end stays there up to 128 MiB: by default
/// each goes back to the system, which clears every page again for the next one, in one thread while the others wait. The heap asks for
/// huge pages, of which a product of matrices needs one entry of the processor's table where it needs 512 of small ones.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const TUNABLES: &str =
    "glibc.malloc.mmap_threshold=33554432:glibc.malloc.trim_threshold=134217728:glibc.malloc.hugetlb=1";

/// Let such memory be used again, in huge pages. glibc reads its settings when a program starts, so this program starts again, with the same
/// process id, and what is opened or begun before is lost: call it first. `GLIBC_TUNABLES` of the environment is left as it is and
/// turns this off; where there is no glibc nothing happens.
pub fn keep() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        use std::{env, os::unix::process::CommandExt, process::Command};

        const NAME: &str = "GLIBC_TUNABLES";
        // Of a program with privileges of its own glibc takes the settings away, and it would start again for ever.
        const DONE: &str = "SETACCIO_STARTED_AGAIN";
        let mut args = env::args_os();
        if [NAME, DONE].into_iter().any(|name| env::var_os(name).is_some()) {
            return;
        }
        let Ok(program) = env::current_exe() else { return };
        // Begun as an argument of the dynamic loader, which is the program then.
        if program.file_name().is_none_or(|name| name.as_encoded_bytes().starts_with(b"ld")) {
            return;
        }
        if let Some(name) = args.next() {
            // Returns only where it fails, and then all goes on with small pages.
            drop(Command::new(program).arg0(name).args(args).env(NAME, TUNABLES).env(DONE, "1").exec());
        }
    }
}
