#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bullhorn_fuzz::batches(data));
