//! The gate in front of every parser. See `vmm-proto/src/fuzzing.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmm_proto::fuzzing::gate(bytes));
