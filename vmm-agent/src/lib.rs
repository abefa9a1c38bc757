//! The agent.

pub mod agent;
pub mod config;
pub mod dom0;
pub mod env;
pub mod sim;

pub use agent::{Agent, StartError};
pub use config::AgentConfig;
pub use env::{Backend, Blocking, Env};
