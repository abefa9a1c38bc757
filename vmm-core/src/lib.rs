//! The domain model and the policy of SMPS-VMM, pure.
//!
//! No I/O, no clock, no randomness that was not given, no Xen words below a VM, no XML: whoever needs one of these stands
//! outside and hands the facts in. So every policy here can be tested in microseconds and replayed from its inputs.
//!
//! - [`id`], [`units`]: ids and quantities that cannot be confused.
//! - [`balloon`]: who gives memory back when the host has too little, and who gets it again.
//! - [`vm`]: what a VM shall be, what state it is in, which request is admitted in which state.
//! - [`cpu`]: what processors can do, and what one lacks of another.
//! - [`host`]: what a host has, what is reserved on it, whether it is heard.
//! - [`label`]: what people write on objects, and what they may.
//! - [`migration`]: how a running guest moves: which pages, when, packed how, and when to stop it.
//! - [`query`]: which objects a list shall have, and in which order.
//! - [`scheduler`]: which host a VM costs least on, with every term of the answer.
//! - [`stats`]: samples, and rates from two of them.
//! - [`task`]: a multi-step change as data, an action and its undo each.
//! - [`invariant`]: what must always hold, by id.

pub mod balloon;
pub mod cpu;
pub mod host;
pub mod id;
pub mod invariant;
pub mod label;
pub mod migration;
pub mod query;
pub mod scheduler;
pub mod stats;
pub mod task;
pub mod units;
pub mod vm;
