//! libxenguest as bindgen sees it. Types that both libraries know come from xenctrl-sys.

#![allow(
    unsafe_op_in_unsafe_fn,
    missing_docs,
    dead_code,
    non_camel_case_types,
    non_upper_case_globals,
    non_snake_case,
    unreachable_pub,
    clippy::all,
    clippy::undocumented_unsafe_blocks,
    reason = "generated"
)]

include!(concat!(env!("OUT_DIR"), "/xenguest.rs"));
