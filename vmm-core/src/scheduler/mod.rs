//! Where a VM costs least, and what to move when that has changed.
//!
//! ```text
//!   measured, reserved ──► demand ──┐
//!                                   ▼
//!   hosts, VMs, groups ──► Pool ──► rules (who cannot, by which rule) ──► cost (what it costs where, term by term)
//!                                   │
//!                                   ├─► place      one VM            ─► Decision: every host with its terms or its refusal
//!                                   ├─► batch      many at once      ─► Batch
//!                                   ├─► grow       more for one VM   ─► in place, or elsewhere
//!                                   ├─► rebalance  what has changed  ─► Plan: moves in an order that fits at every step
//!                                   └─► evacuate   an empty host     ─► Plan
//! ```
//!
//! Pure functions: the same problem gives the same answer, so every answer can be asked for again (a dry run is the run) and replayed from its record
//! ([`record`]). They do nothing: whoever asks carries out.
//!
//! - [`resource`]: what is counted, hard and contended.
//! - [`demand`], [`entitlement`]: what a VM will take, and what it gets where others want it too.
//! - [`problem`], [`rules`], [`cost`]: the facts; who is barred; the one formula.
//! - [`place`](mod@place), [`batch`](mod@batch), [`grow`](mod@grow), [`rebalance`](mod@rebalance), [`plan`], [`precopy`], [`improve`]: the decisions.
//! - [`index`]: the same decision among ten thousands of hosts in less than a microsecond.
//!
//! What cannot be done is an answer with its reason, never an error: a VM that fits nowhere is told which rule bars it on which host.

pub mod batch;
mod board;
pub mod cost;
pub mod demand;
pub mod entitlement;
pub mod grow;
pub mod improve;
pub mod index;
pub mod place;
pub mod plan;
pub mod precopy;
pub mod problem;
pub mod rebalance;
pub mod record;
pub mod relocate;
pub mod resource;
pub mod rules;

pub use batch::{Batch, Effort, batch, still_fits};
pub use cost::{CostModel, Preference, Term, Terms};
pub use grow::{Growth, grow};
pub use place::{Candidate, Decision, Verdict, place};
pub use plan::{Order, Step, Wanted, order};
pub use problem::{Group, GroupKind, Host, Image, Mobility, Needs, Pool, Vm};
pub use rebalance::{Limits, Plan, Why, evacuate, rebalance, still_holds};
pub use relocate::{Destination, Relocation, relocate};
pub use resource::{Amounts, Resource};
pub use rules::Refusal;

#[cfg(test)]
mod tests;
