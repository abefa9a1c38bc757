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
//!
//! Where it stands is a [`Position`], which can be stored before a step is begun: whoever comes back goes on from there, with the step that was under
//! way once more. So every action must be one that may be told twice. When a change may begin at all, beside the others, says [`turns`].

pub mod turns;

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

/// How far a change has come, apart from what its steps are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Steps begun and not undone.
    pub begun: usize,
    /// The last of these is being carried out.
    pub in_step: bool,
    /// Everything is being taken back.
    pub rolling_back: bool,
    /// Steps that were ever begun.
    pub reached: usize,
    /// Indexes of steps whose undo failed.
    pub left_over: Vec<usize>,
}

/// Where one step stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepState {
    /// Not begun.
    Waiting,
    /// Being carried out.
    Running,
    /// Done.
    Done,
    /// Being taken back.
    TakingBack,
    /// Taken back.
    TakenBack,
    /// It could not be taken back.
    LeftOver,
}

/// A change under way.
#[derive(Clone, Debug)]
pub struct Workflow<A> {
    steps: Vec<Step<A>>,
    at: Position,
}

impl<A: Clone> Workflow<A> {
    /// Nothing done yet.
    #[must_use]
    pub fn new(steps: Vec<Step<A>>) -> Self {
        Self::resumed(steps, Position::default())
    }

    /// Goes on from where it stood. A position beyond the steps is their end.
    #[must_use]
    pub fn resumed(steps: Vec<Step<A>>, mut at: Position) -> Self {
        at.begun = at.begun.min(steps.len());
        at.in_step &= at.begun > 0;
        Self { steps, at }
    }

    /// How far it has come.
    #[must_use]
    pub fn position(&self) -> &Position {
        &self.at
    }

    /// Its steps.
    #[must_use]
    pub fn steps(&self) -> &[Step<A>] {
        &self.steps
    }

    /// What to do next. Asking again without reporting gives the same answer.
    pub fn step(&mut self) -> Next<A> {
        if self.at.rolling_back { self.next_undo() } else { self.next_action() }
    }

    fn next_action(&mut self) -> Next<A> {
        if !self.at.in_step {
            if self.at.begun == self.steps.len() {
                return Next::Finished(Outcome::Done);
            }
            self.at.begun += 1;
            self.at.reached = self.at.reached.max(self.at.begun);
            self.at.in_step = true;
        }
        let step = &self.steps[self.at.begun - 1];
        Next::Do(step.name, step.action.clone())
    }

    fn next_undo(&mut self) -> Next<A> {
        while self.at.begun > 0 {
            let step = &self.steps[self.at.begun - 1];
            if let Some(undo) = &step.undo {
                return Next::Undo(step.name, undo.clone());
            }
            self.at.begun -= 1;
        }
        if self.at.left_over.is_empty() {
            return Next::Finished(Outcome::RolledBack);
        }
        let left = self.at.left_over.iter().filter_map(|index| self.steps.get(*index));
        Next::Finished(Outcome::LeftOver(left.map(|step| step.name).collect()))
    }

    /// What [`Workflow::step`] told was done.
    pub fn succeeded(&mut self) {
        if self.at.rolling_back {
            self.at.begun = self.at.begun.saturating_sub(1);
        } else {
            self.at.in_step = false;
        }
    }

    /// What [`Workflow::step`] told could not be done.
    pub fn failed(&mut self) {
        if self.at.rolling_back {
            if let Some(index) = self.at.begun.checked_sub(1) {
                self.at.left_over.push(index);
                self.at.begun = index;
            }
        } else {
            self.cancel();
        }
    }

    /// Takes everything back. Between two steps this is the cancel point.
    pub fn cancel(&mut self) {
        self.at.rolling_back = true;
        self.at.in_step = false;
    }

    /// Steps done of steps in all, for progress.
    #[must_use]
    pub fn progress(&self) -> (usize, usize) {
        (self.at.begun - usize::from(self.at.in_step), self.steps.len())
    }

    /// Each step and where it stands.
    pub fn states(&self) -> impl Iterator<Item = (&'static str, StepState)> {
        self.steps.iter().enumerate().map(|(index, step)| (step.name, self.state(index)))
    }

    fn state(&self, index: usize) -> StepState {
        let Position { begun, in_step, rolling_back, reached, left_over } = &self.at;
        let is_last = index + 1 == *begun;
        match (index < *begun, rolling_back) {
            _ if left_over.contains(&index) => StepState::LeftOver,
            (true, true) if is_last => StepState::TakingBack,
            (true, false) if is_last && *in_step => StepState::Running,
            (true, _) => StepState::Done,
            (false, true) if index < *reached => StepState::TakenBack,
            (false, _) => StepState::Waiting,
        }
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

    /// Whoever comes back at any point, once or at each, does in the end what would have been done, some of it twice.
    #[test]
    fn a_change_goes_on_from_any_position() {
        for fail_at in [None, Some(0), Some(1), Some(2)] {
            let (mut workflow, mut trace, mut actions) = (workflow(), String::new(), 0);
            let outcome = loop {
                let next = workflow.step();
                workflow =
                    Workflow::resumed(workflow.steps().to_vec(), workflow.position().clone());
                assert_eq!(workflow.step(), next, "the same step once more");
                match next {
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
                        workflow.succeeded();
                    }
                    Next::Finished(outcome) => break outcome,
                }
            };
            assert_eq!((trace, outcome), run(fail_at, ""));
        }
        let beyond = Position { begun: 9, in_step: true, ..Position::default() };
        assert_eq!(Workflow::resumed(workflow().steps, beyond).step(), Next::Do("c", 'c'));
    }

    #[test]
    fn each_step_has_a_state() {
        use StepState::{Done, LeftOver, Running, TakenBack, TakingBack, Waiting};
        let check = |workflow: &Workflow<char>, expect: [StepState; 3]| {
            assert_eq!(workflow.states().map(|(_, state)| state).collect::<Vec<_>>(), expect);
        };
        let mut workflow = workflow();
        check(&workflow, [Waiting, Waiting, Waiting]);
        let _ = workflow.step();
        check(&workflow, [Running, Waiting, Waiting]);
        workflow.succeeded();
        check(&workflow, [Done, Waiting, Waiting]);
        for _ in 0..2 {
            let _ = workflow.step();
            workflow.succeeded();
        }
        check(&workflow, [Done, Done, Done]);
        workflow.cancel();
        check(&workflow, [Done, Done, TakingBack]);
        workflow.failed();
        let _ = workflow.step();
        check(&workflow, [TakingBack, TakenBack, LeftOver]);
        workflow.succeeded();
        check(&workflow, [TakenBack, TakenBack, LeftOver]);
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
