//! The command line of SMPS-VMM.
//!
//! ```text
//!   args ─► commands/<noun>/<verb>.rs ─► session (one call, or a task that is waited for) ─► output (one form of six)
//! ```
//!
//! A shell that completes a line comes in through `complete`. A command says what it asks and which columns the answer has; `output` makes every form of it. Progress
//! and errors go to stderr; `failure` knows the exit codes.

mod args;
mod changes;
mod commands;
mod complete;
mod confirm;
mod failure;
mod output;
mod progress;
mod screen;
mod session;
mod size;
mod top;
mod wait;
mod wanted;

use std::process::ExitCode;

use clap::Parser as _;

fn main() -> ExitCode {
    complete::answer_shell();
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
            if let Some(advice) = failure.advice() {
                eprintln!("next: {advice}");
            }
            ExitCode::from(failure.exit_code())
        }
    }
}
