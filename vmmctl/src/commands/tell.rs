//! Saying what a change that is done at once came to: a sentence for people, the wire's answer for programs.

use serde::Serialize;

use crate::failure::Failure;
use crate::output::{Answer, Look, Named, Told};

/// The answer does not say whose it is; `name` does.
pub(crate) fn named<T: Serialize + 'static>(
    look: &Look,
    name: &str,
    answer: T,
    said: &str,
) -> Result<(), Failure> {
    let named = Named::new(name, answer);
    look.print(&Answer::one(&named, Named::NAME).told(|| Told::line(said)))
}
