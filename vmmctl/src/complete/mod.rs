//! Completion in the shell: names of VMs, hosts, tasks, devices and columns, asked from the manager while you type.
//!
//! ```text
//!   shell ─ COMPLETE=bash vmmctl -- WORDS ─► clap's engine ─► which argument? ─► a completer here ─► the manager, if it must
//! ```
//!
//! `vmmctl completion SHELL` prints what the shell needs to call us. A completer knows the words before the cursor ([`words`]), so that
//! `--manager` and `--credentials` count as they will when the line is run.
//!
//! Whoever presses Tab wants no message: a manager that is away, slow or says no gives no names, within [`ask::DEADLINE`]. Names that
//! could drive a terminal are not offered.

mod ask;
mod columns;
mod words;

use std::ffi::OsStr;

use clap::CommandFactory as _;
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, EnvCompleter, Fish, Zsh};

use crate::args::Args;
use crate::failure::Failure;
use crate::output::{is_hostile, write};
use words::Words;

/// The variable by which a shell asks.
const VARIABLE: &str = "COMPLETE";

/// Ours, because bash takes words apart at `=` and `:`, and clap's script leaves them so.
const BASH: &str = include_str!("vmmctl.bash");

/// A shell that can ask.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Answers a shell and ends the program, if it is a shell that asks.
pub(crate) fn answer_shell() {
    CompleteEnv::with_factory(Args::command).var(VARIABLE).complete();
}

/// Prints what makes a shell ask.
pub(crate) fn print_registration(shell: Shell) -> Result<(), Failure> {
    let completer: &dyn EnvCompleter = match shell {
        Shell::Bash => return write(BASH.as_bytes()),
        Shell::Zsh => &Zsh,
        Shell::Fish => &Fish,
    };
    let mut text = Vec::new();
    completer
        .write_registration(VARIABLE, "vmmctl", "vmmctl", "vmmctl", &mut text)
        .map_err(|error| Failure::Local(format!("the script cannot be made: {error}")))?;
    write(&text)
}

/// Names of VMs.
pub(crate) fn vms() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, ask::vms))
}

/// Names of hosts.
pub(crate) fn hosts() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, ask::hosts))
}

/// Ids of tasks, the newest first.
pub(crate) fn tasks() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, ask::tasks))
}

/// Names of the disks of the VM before the cursor.
pub(crate) fn disks() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, ask::disks))
}

/// Numbers of the NICs of the VM before the cursor.
pub(crate) fn nics() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, ask::nics))
}

/// Names of pools.
pub(crate) fn pools() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, ask::pools))
}

/// Names of groups.
pub(crate) fn groups() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, ask::groups))
}

/// Names of sites.
pub(crate) fn sites() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, ask::sites))
}

/// Tags in use.
pub(crate) fn tags() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, ask::tags))
}

/// Folders in use.
pub(crate) fn folders() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, ask::folders))
}

/// Names of columns, one behind another.
pub(crate) fn columns() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, columns::columns))
}

/// Fields to sort by, one behind another.
pub(crate) fn orders() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, columns::orders))
}

/// Queries.
pub(crate) fn queries() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| offer(current, columns::queries))
}

/// Something that could stand at the cursor, and what it is.
type Candidate = (String, String);

/// Those that begin like what is there.
fn offer(current: &OsStr, find: fn(&Words, &str) -> Vec<Candidate>) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else {
        return Vec::new();
    };
    let found = find(&Words::of_this_process(), current);
    chosen(found, current)
        .into_iter()
        .map(|(value, help)| {
            CompletionCandidate::new(value).help((!help.is_empty()).then(|| help.into()))
        })
        .collect()
}

fn chosen(found: Vec<Candidate>, current: &str) -> Vec<Candidate> {
    let is_safe = |text: &str| !text.contains(is_hostile);
    let fits =
        |(value, help): &Candidate| value.starts_with(current) && is_safe(value) && is_safe(help);
    found.into_iter().filter(fits).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_begins_alike_and_is_harmless_is_offered() {
        let found = ["web-1", "web-2", "db", "web\x1b[2J"];
        let found = found.map(|name| (name.to_owned(), String::new())).to_vec();
        let names: Vec<String> = chosen(found, "web").into_iter().map(|(name, _)| name).collect();
        assert_eq!(names, ["web-1", "web-2"]);
    }
}
