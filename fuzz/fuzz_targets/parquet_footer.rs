#![no_main]

// As for `parquet`: a panic that nobody catches ends the process, and no other.
libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(|_| {})),
    |footer: &[u8]| setaccio_fuzz::read(&setaccio_fuzz::with_footer(footer), "parquet")
);
