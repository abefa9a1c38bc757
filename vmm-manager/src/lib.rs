//! The manager: one view of all hosts, and the one place where a VM's host is decided.
//!
//! ```text
//!    user ──► api ──► app (state under one lock) ──► store            a decision is stored first …
//!                      │        ▲
//!                      ▼        │ facts, load, VM states
//!                  workflow   background (a heartbeat loop a host)
//!                      │        │
//!                      └───┬────┘
//!                          ▼
//!                       agents ──► vmm-agent on each host             … then sent out
//! ```
//!
//! - `api`: translate, call, answer; a file per noun.
//! - `app`: hosts, VMs, ledgers and tasks as one consistent state; placement; names.
//! - `workflow`: a change in several steps, each with its undo, that survives failure, cancellation and a restart.
//! - `background`: hears the hosts, and brings what they report and what is stored together; renews certificates.
//! - `enrolment`: who gets a certificate, and by which token.
//! - `view`: sites, pools, hosts and VMs as callers see them: lists by query and order, sums, what people wrote on them.
//! - `http`: the JSON API; asks as any other caller does.
//! - `store`: a key space behind a trait, redb beneath it; concurrent decisions share one wait for the disk.
//!
//! The happy path of `CreateVm`: the scheduler picks a host, definition, reservation and task are stored in one transaction,
//! the caller gets the task, the agent builds, the VM is marked as running.
//!
//! What can fail, fails into a listed state. The one hard case is an agent that does not answer after it was told to build:
//! then nobody knows whether the VM runs. Such a VM keeps its host and its reservation and is never started elsewhere until
//! that host was heard again (VM1).
//!
//! Time is tokio's, the date and all randomness come in with [`Env`], maps are ordered: a manager with simulated agents runs
//! in one process on a paused clock, and a seed replays it.

pub mod agents;
mod api;
mod app;
mod background;
pub mod bench_support;
mod config;
pub mod enrolment;
pub mod http;
mod manager;
mod store;
mod view;
mod workflow;

#[cfg(test)]
mod tests;

pub use config::{ManagerConfig, ManagerConfigError};
pub use manager::{Env, HostFigures, MANAGER_ID, Manager, OpenError, Reconciled, StoreLocation};
pub use store::{MemoryStore, StoreError};
