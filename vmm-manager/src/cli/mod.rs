//! The command line of the manager's program.

mod file;
mod init;
mod invite;
mod issue;
mod run;
mod token;

use std::path::PathBuf;

use anyhow::Result;
use clap::{Parser, Subcommand};

const EXAMPLE: &str = "\
Example: a pool with one host and one user
  vmm-manager init --dir /var/lib/smps-vmm/manager --listen 0.0.0.0:8440
  vmm-manager run --dir /var/lib/smps-vmm/manager
  vmm-manager invite host host-1         --dir /var/lib/smps-vmm/manager --manager MANAGER:8440
  vmm-manager invite user ann --role admin --dir /var/lib/smps-vmm/manager --manager MANAGER:8440
  (each prints one command: run the first on the host, the second as ann)
  vmmctl --manager MANAGER:8440 host list

The JSON API, when manager.toml has a line [http]:
  vmm-manager token add grafana --role viewer --dir /var/lib/smps-vmm/manager
  curl -H 'Authorization: Bearer TOKEN' 'http://127.0.0.1:8441/api/v1/vms?where=status=running'

What a VM is charged on its host: its memory and Xen's overhead for it, its --cpu-demand (10 % of
a CPU for each vCPU when it names none) and its --disk-demand. Memory is never overcommitted;
CPU and disk are, at a rising price.

RUST_LOG=debug shows more of what the manager does.";

/// The manager of an SMPS-VMM pool: one view of all hosts, and the place where it is decided which host runs which VM.
#[derive(Debug, Parser)]
#[command(name = "vmm-manager", version, after_help = EXAMPLE)]
pub(crate) struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Make a new pool: its certificate authority, the manager's credentials and configuration.
    Init {
        /// The manager's directory; made with mode 0700. Keep it: it holds the authority's key.
        #[arg(long)]
        dir: PathBuf,
        /// Where the manager will listen.
        #[arg(long, default_value = file::LISTEN_DEFAULT, value_name = "ADDRESS:PORT")]
        listen: String,
    },
    /// Invite a host or a user: prints the one command by which they get credentials of their own.
    Invite {
        #[command(subcommand)]
        guest: invite::Guest,
    },
    /// Make credentials for somebody who cannot join by himself, into a new directory to be copied to him. Prefer `invite`.
    Issue {
        #[command(subcommand)]
        whom: issue::Whom,
    },
    /// Tokens of the JSON API: who may call it, in which role, until when.
    Token {
        #[command(subcommand)]
        what: token::What,
    },
    /// Run the manager until it is told to end (SIGINT or SIGTERM).
    Run {
        /// The manager's directory, made by `init`.
        #[arg(long)]
        dir: PathBuf,
    },
}

pub(crate) fn run(args: Args) -> Result<()> {
    match args.command {
        Command::Init { dir, listen } => init::init(&dir, &listen),
        Command::Invite { guest } => invite::invite(&guest),
        Command::Issue { whom } => issue::issue(whom),
        Command::Token { what } => token::token(&what),
        Command::Run { dir } => run::run(&dir),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }
}
