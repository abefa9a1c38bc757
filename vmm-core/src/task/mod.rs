//! A multi-step change as data: a list of (action, undo), and a machine that says what to do next.
//!
//! ```text
//!   step() ─► Do(action) ──succeeded()──► step() ─► … ─► Finished(Done)
//!                 │ failed() or cancel()
//!                 ▼
//!             Undo(undo of the last step that was begun) ─► … ─► Finished(RolledBack)
//! ```
//!
//! The machine does nothing by itself: the caller carries an action out and reports. A step that failed half-way is undone
//! too, so every undo must be harmless when its action did not happen. An undo that fails is remembered and the rollback
//! goes on: what is left is then named in [`Outcome::LeftOver`], never silent.

/// One step: what to do, and how to take it back. `A` is the caller's own vocabulary of actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step<A> {
    /// For people and for tests.
    pub name: &'static str,
    /// What to do.
    pub action: A,
    /// How to take it back; `None` when there is nothing to take back.
    pub undo: Option<A>,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next<A> {
    /// Carry this step's action out.
    Do(&'static str, A),
    /// Carry this step's undo out.
    Undo(&'static str, A),
    /// Nothing: it is over.
    Finished(Outcome),
}

/// How it ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// All steps done.
    Done,
    /// Everything that was begun is undone.
    RolledBack,
    /// The undo of these steps failed: somebody must look.
    LeftOver(Vec<&'static str>),
}

/// A change under way.
#[derive(Clone, Debug)]
pub struct Workflow<A> {
    steps: Vec<Step<A>>,
    /// Steps begun and not undone.
    begun: usize,
    /// The step at `begun - 1` is being carried out.
    in_step: bool,
    rolling_back: bool,
    left_over: Vec<&'static str>,
}

impl<A: Clone> Workflow<A> {
    /// Nothing done yet.
    #[must_use]
    pub fn new(steps: Vec<Step<A>>) -> Self {
        Self { steps, begun: 0, in_step: false, rolling_back: false, left_over: Vec::new() }
    }

    /// What to do next. Asking again without reporting gives the same answer.
    pub fn step(&mut self) -> Next<A> {
        if self.rolling_back { self.next_undo() } else { self.next_action() }
    }

    fn next_action(&mut self) -> Next<A> {
        if !self.in_step {
            if self.begun == self.steps.len() {
                return Next::Finished(Outcome::Done);
            }
            self.begun += 1;
            self.in_step = true;
        }
        let step = &self.steps[self.begun - 1];
        Next::Do(step.name, step.action.clone())
    }

    fn next_undo(&mut self) -> Next<A> {
        while self.begun > 0 {
            let step = &self.steps[self.begun - 1];
            if let Some(undo) = &step.undo {
                return Next::Undo(step.name, undo.clone());
            }
            self.begun -= 1;
        }
        Next::Finished(if self.left_over.is_empty() {
            Outcome::RolledBack
        } else {
            Outcome::LeftOver(self.left_over.clone())
        })
    }

    /// What [`Workflow::step`] told was done.
    pub fn succeeded(&mut self) {
        if self.rolling_back {
            self.begun = self.begun.saturating_sub(1);
        } else {
            self.in_step = false;
        }
    }

    /// What [`Workflow::step`] told could not be done.
    pub fn failed(&mut self) {
        if self.rolling_back {
            if let Some(step) = self.begun.checked_sub(1).and_then(|index| self.steps.get(index)) {
                self.left_over.push(step.name);
            }
            self.begun = self.begun.saturating_sub(1);
        } else {
            self.cancel();
        }
    }

    /// Takes everything back. Between two steps this is the cancel point.
    pub fn cancel(&mut self) {
        self.rolling_back = true;
        self.in_step = false;
    }

    /// Steps done of steps in all, for progress.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        (self.begun - usize::from(self.in_step), self.steps.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Three steps that add and remove their letter; the second has nothing to undo.
    fn workflow() -> Workflow<char> {
        let step = |name, action, undo| Step { name, action, undo };
        Workflow::new(vec![
            step("a", 'a', Some('A')),
            step("b", 'b', None),
            step("c", 'c', Some('C')),
        ])
    }

    /// Runs it, failing at the `fail_at`th action and every undo in `bad_undos`.
    fn run(fail_at: Option<usize>, bad_undos: &str) -> (String, Outcome) {
        let (mut workflow, mut trace, mut actions) = (workflow(), String::new(), 0);
        loop {
            match workflow.step() {
                Next::Do(_, action) => {
                    trace.push(action);
                    if fail_at == Some(actions) {
                        workflow.failed()
                    } else {
                        workflow.succeeded()
                    }
                    actions += 1;
                }
                Next::Undo(_, undo) => {
                    trace.push(undo);
                    if bad_undos.contains(undo) { workflow.failed() } else { workflow.succeeded() }
                }
                Next::Finished(outcome) => return (trace, outcome),
            }
        }
    }

    #[test]
    fn a_failure_undoes_what_was_begun_last_first() {
        assert_eq!(run(None, ""), ("abc".into(), Outcome::Done));
        assert_eq!(run(Some(0), ""), ("aA".into(), Outcome::RolledBack));
        assert_eq!(run(Some(1), ""), ("abA".into(), Outcome::RolledBack));
        assert_eq!(run(Some(2), ""), ("abcCA".into(), Outcome::RolledBack));
    }

    #[test]
    fn an_undo_that_fails_is_named_and_the_rollback_goes_on() {
        assert_eq!(run(Some(2), "C"), ("abcCA".into(), Outcome::LeftOver(vec!["c"])));
    }

    #[test]
    fn a_cancel_between_steps_rolls_back() {
        let mut workflow = workflow();
        assert_eq!(workflow.step(), Next::Do("a", 'a'));
        workflow.succeeded();
        assert_eq!(workflow.progress(), (1, 3));
        workflow.cancel();
        assert_eq!(workflow.step(), Next::Undo("a", 'A'));
        workflow.succeeded();
        assert_eq!(workflow.step(), Next::Finished(Outcome::RolledBack));
    }
}
