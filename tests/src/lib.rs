//! End-to-end tests of the whole product, in two houses.
//!
//! - [`pool`]: a manager, agents with simulated Xen machines and the network between them, in one process on a virtual clock,
//!   from one seed. A seed replays a whole day; the invariants of `vmm-core` are asserted over what the machines really hold.
//! - [`lab`]: the same product as real processes, against real Xen hosts: `vmmctl` → `vmm-manager` → `vmm-agent` in dom0 →
//!   libxc. The judge is `xl`, xenstore and the guest itself, never our own word.
//!
//! Binaries: `vmm-sim` (many seeds), `vmm-demo` (a pool to try out), `vmm-lab` (the lab suite, started by `cargo xtask xenlab`).

pub mod lab;
pub mod pool;
