//! A bulk stream's opening and frames. See `vmm-proto/src/fuzzing.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmm_proto::fuzzing::bulk(bytes));
