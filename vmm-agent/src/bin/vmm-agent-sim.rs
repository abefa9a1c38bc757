//! The agent on a simulated host.
fn main() {}
