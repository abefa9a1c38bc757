//! Saying what a change came to: a sentence for people, the wire's answer for programs.

use serde::Serialize;
use vmm_proto::v1::Task;

use super::task::COLUMNS;
use crate::failure::Failure;
use crate::output::{Answer, Look, Named, Told};

/// A task that is over, or that was started.
pub(crate) fn task(look: &Look, task: &Task, said: &str) -> Result<(), Failure> {
    look.print(&Answer::one(task, COLUMNS).told(|| Told::line(said)))
}

/// An answer that does not say whose it is.
pub(crate) fn named<T: Serialize + 'static>(
    look: &Look,
    name: &str,
    answer: T,
    said: &str,
) -> Result<(), Failure> {
    let named = Named::new(name, answer);
    look.print(&Answer::one(&named, Named::NAME).told(|| Told::line(said)))
}
