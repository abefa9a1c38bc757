//! The agent on the simulator, on a paused clock: the same toolstack logic as on Xen, deterministic.

mod faults;
mod guests;
mod host;
mod life;
mod requests;
mod restart;
