//! `vmmctl vm memory`

use clap::Args;
use vmm_proto::v1::{Memory as Outcome, Request, SetMemory};

use crate::commands::tell;
use crate::failure::Failure;
use crate::output::mib;
use crate::session::Session;
use crate::size;
use crate::wait::done;

#[derive(Debug, Args)]
#[command(after_help = "\
Example: vmmctl vm memory web 2G

The reservation grows before the guest does and shrinks after it. Above the VM's --memory-max the guest must hot-add memory.
The guest does it, and is waited for (--timeout). When it did not get there, the exit code is 3.")]
pub(crate) struct Memory {
    /// Name or id.
    vm: String,
    /// How much it shall have.
    #[arg(value_name = "SIZE", value_parser = size::kib)]
    memory: u64,
}

pub(super) async fn run(session: &Session, memory: Memory) -> Result<(), Failure> {
    let Memory { vm, memory } = memory;
    let set = SetMemory { vm, memory_kib: memory, wait_ms_max: session.timeout_ms() };
    let task = done(session, Request::SetMemory(set)).await?;
    let reached = task.memory.as_ref().map(|outcome| mib(outcome.reached_kib));
    let said = format!("{}: {}", task.vm_name, reached.as_deref().unwrap_or("done"));
    tell::task(&session.look, &task, &said)?;
    task.memory.as_ref().map_or(Ok(()), check)
}

fn check(outcome: &Outcome) -> Result<(), Failure> {
    // The agent has waited for the guest; where it did not get there, it says so.
    if outcome.note.is_empty() {
        return Ok(());
    }
    let (asked, reached) = (mib(outcome.asked_kib), mib(outcome.reached_kib));
    Err(Failure::FellShort(format!("asked for {asked}, the guest has {reached}. {}", outcome.note)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_that_does_not_get_there_is_exit_code_3() {
        let outcome = |reached_kib, note: &str| Outcome {
            asked_kib: 262_144,
            reached_kib,
            note: note.to_owned(),
        };
        assert!(check(&outcome(262_144, "")).is_ok());
        assert!(check(&outcome(262_140, "")).is_ok());
        assert_eq!(check(&outcome(131_072, "no further")).expect_err("less").exit_code(), 3);
    }
}
