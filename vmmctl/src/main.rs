//! The command line of SMPS-VMM.
//!
//! ```text
//!   args ─► commands/<noun>/<verb>.rs ─► session (one call, or a task that is waited for) ─► output (one form of six)
//! ```
//!
//! A command says what it asks and which columns the answer has; `output` makes every form of it. Progress and errors go to stderr. Exit codes: 0 done, 1 refused or failed, 2 wrong usage, 3 the guest did not do
//! all that was asked, 4 the manager cannot be reached, 130 interrupted.

mod args;
mod commands;
mod failure;
mod output;
mod screen;
mod session;
mod size;
mod wait;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    let args = args::Args::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("vmmctl: the runtime cannot be started: {error}");
            return ExitCode::FAILURE;
        }
    };
    match runtime.block_on(commands::run(args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // What a guest, an agent or another user wrote may be in it.
            eprintln!("vmmctl: {}", output::visible_lines(&failure.to_string()));
            ExitCode::from(failure.exit_code())
        }
    }
}
