//! A guest's stream as a migration sends it. See `vmm-agent/src/fuzzing.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| vmm_agent::fuzzing::migration(bytes));
