//! Requests and answers inside the encryption. See `vmm-proto/src/fuzzing.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmm_proto::fuzzing::verb(bytes));
