#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| bullhorn_fuzz::decode_server_v2(data));
