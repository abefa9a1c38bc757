//! Where a VM costs least.
//!
//! ```text
//!   Demand + [HostView]  ──►  rules (who cannot take it, and why)  ──►  cost of each that can  ──►  Decision
//! ```
//!
//! A pure function: the same problem gives the same decision. The decision keeps every term of every candidate, so that it
//! explains itself; nothing is recomputed for a dry run.
//!
//! Cost is opportunity cost (Amir, Awerbuch, Barak, Borgstrom, Keren, IEEE TPDS 11(7), 2000): each resource of a host has the
//! price `B^u`, with `u` its utilisation; a VM that takes `d` more costs `B^(u+d) - B^u`. The scarcest resource dominates by
//! itself, without weights, and CPU, memory and disk throughput become one figure. Memory is hard as well: a host that cannot
//! hold the VM is out by rule. CPU and disk may be overcommitted, at a price that rises steeply.

mod cost;
mod place;

pub use cost::{CostTerms, PRICE_BASE};
pub use place::{Candidate, Decision, HostView, Refusal, Request, Verdict, place};
