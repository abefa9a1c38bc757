//! `lab-dom0`: times the agent over loopback and `xl` beside it, in dom0, in turn, with the same guest.
//!
//! ```text
//!   measure ─► round ─► ours: request ─► agent ─► reply      ┐
//!                   └─► xl: process ─► end                   ├─► one line of JSON a sample
//!                   └─► the guest's first line on the console ┘
//! ```
//!
//! What cannot be measured is said in a line of its own and left out. Fails when the agent does not answer, or when xl is missing.

mod agent;
mod create;
mod crowd;
mod guest;
mod requests;
mod say;
mod xl;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use agent::Agent;

/// Times the agent and xl in dom0.
#[derive(Parser)]
struct Arguments {
    /// The agent's name, as in its certificate.
    #[arg(long)]
    agent: String,
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:7443")]
    address: String,
    /// The manager's credentials.
    #[arg(long)]
    credentials: PathBuf,
    /// Rounds of each.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// What to measure.
    measure: Measure,
}

#[derive(Clone, Copy, ValueEnum)]
enum Measure {
    /// Create, first line on the console, destroy; PVH and PV; cold, warm, and from either form of the kernel.
    Create,
    /// The same from a pool of shells, which the agent must have been told to keep.
    Shell,
    /// With a NIC on a bridge.
    Nic,
    /// Four at once.
    Parallel,
    /// Beside twenty other domains: create, list, statistics.
    Crowd,
    /// Requests to xenstore for one create, counted in the daemon's trace.
    Requests,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let agent = Agent::new(&arguments.agent, &arguments.address, &arguments.credentials)?;
    agent.list().await?;
    let rounds = arguments.rounds;
    match arguments.measure {
        Measure::Create => create::all(&agent, rounds).await,
        Measure::Shell => create::shells(&agent, rounds).await,
        Measure::Nic => create::nic(&agent, rounds).await,
        Measure::Parallel => crowd::parallel(&agent, rounds).await,
        Measure::Crowd => crowd::beside_twenty(&agent, rounds).await,
        Measure::Requests => requests::all(&agent).await,
    }
}
