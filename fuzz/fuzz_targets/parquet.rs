#![no_main]

// The Parquet library panics at some damaged files, which the reader turns into errors. libFuzzer's hook ends the process at
// any panic; without it only those end it that nobody catches.
libfuzzer_sys::fuzz_target!(
    init: std::panic::set_hook(Box::new(|_| {})),
    |bytes: &[u8]| setaccio_fuzz::read(bytes, "parquet")
);
