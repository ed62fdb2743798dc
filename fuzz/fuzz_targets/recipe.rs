#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| setaccio_fuzz::recipe(text));
