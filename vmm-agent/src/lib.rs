//! The agent.

pub mod agent;
pub mod config;
mod core;
mod device;
pub mod dom0;
mod domain;
pub mod env;
mod journal;
pub mod run;
mod server;
pub mod sim;
mod stats;
mod watch;

pub use agent::{Agent, StartError};
pub use config::AgentConfig;
pub use env::{Backend, Blocking, Env};
pub use journal::JournalError;
