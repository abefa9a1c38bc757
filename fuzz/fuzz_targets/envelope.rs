//! The outer document. See `vmm-proto/src/fuzzing.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmm_proto::fuzzing::envelope(bytes));
