#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| setaccio_fuzz::gguf(bytes));
