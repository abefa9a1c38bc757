//! The manager's program: make a pool, issue credentials, run.

mod cli;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    match cli::run(cli::Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vmm-manager: {error:#}");
            ExitCode::FAILURE
        }
    }
}
