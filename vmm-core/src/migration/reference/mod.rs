//! What others do, in the same trait, to be measured beside ours: models of their loops, not their code.
//!
//! - [`xen`]: Xen 4.7 to today (five rounds), and the loop before it (29 rounds, what is dirty again is skipped).
//! - [`qemu`]: QEMU's rounds with its estimated downtime, free-page hints, Zstandard, auto-converge.
//!
//! *Layering alone* and *compaction alone*, the two ideas of the thesis each by itself, are [`super::Layered`] with all else switched off.

pub mod qemu;
mod round;
pub mod xen;
