//! Xen's migration streams, three layers of them. See `xen-bindings/src/fuzzing.rs`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| xen_bindings::fuzzing::stream(bytes));
