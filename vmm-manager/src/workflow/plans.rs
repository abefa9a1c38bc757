//! The steps of each change.

use std::time::Duration;

use vmm_core::task::{Step, Workflow};
use vmm_proto::v1::{Request, VmPhase};

use super::Action;
use crate::store::{Charge, SavedState, Told};

fn step(name: &'static str, action: Action, undo: Option<Action>) -> Step<Action> {
    Step { name, action, undo }
}

/// Why a VM is built.
pub(crate) enum Construction {
    /// It was just defined.
    New,
    /// It was stopped.
    Start,
    /// It was saved, in this file.
    Restore(String),
}

/// Reserved (and defined, if new), then built, then running.
pub(crate) fn build_plan(construction: Construction) -> Workflow<Action> {
    let restore_from = match &construction {
        Construction::Restore(path) => Some(path.clone()),
        Construction::New | Construction::Start => None,
    };
    built_by(Action::Build(restore_from), &construction)
}

/// What is left of [`build_plan`] after a restart: nobody knows whether the build was begun.
pub(crate) fn resume_plan(construction: &Construction) -> Workflow<Action> {
    let mut flow = built_by(Action::Adopt, construction);
    let _ = flow.step();
    flow.succeeded();
    let _ = flow.step();
    flow
}

fn built_by(build: Action, construction: &Construction) -> Workflow<Action> {
    let (release, unbuild) = match construction {
        Construction::New => (Action::Forget, Action::Unbuild),
        Construction::Start => (Action::Release, Action::Unbuild),
        Construction::Restore(_) => (Action::Release, Action::Unrestore),
    };
    Workflow::new(vec![
        step("reserve", Action::Reserved, Some(release)),
        step("build", build, Some(unbuild)),
        step("mark running", Action::MarkRunning, None),
    ])
}

/// The charge is raised before the guest may take the memory.
pub(crate) fn grow_plan(
    (old, new): (Charge, Charge),
    (tell, untell): (Request, Request),
    wait: Duration,
) -> Workflow<Action> {
    Workflow::new(vec![
        step("reserve", Action::Charge(new), Some(Action::Charge(old))),
        step(
            "resize",
            Action::Tell(Box::new(tell), wait),
            Some(Action::Tell(Box::new(untell), Duration::ZERO)),
        ),
    ])
}

/// One thing told to the agent; `phases` are stored before, and when it did not come to that.
pub(crate) fn tell_plan(
    request: Option<Request>,
    wait: Duration,
    phases: Option<(VmPhase, VmPhase)>,
) -> Workflow<Action> {
    let announce = phases.map(|(during, before)| {
        step("announce", Action::Phase(during), Some(Action::Phase(before)))
    });
    let tell = request.map(|request| step("tell", Action::Tell(Box::new(request), wait), None));
    Workflow::new(announce.into_iter().chain(tell).collect())
}

/// Where its memory goes is stored first: if nobody hears how it ended, the host's report says whether it is there.
pub(crate) fn save_plan(
    save: Request,
    wait: Duration,
    (saved, before): (SavedState, VmPhase),
) -> Workflow<Action> {
    let saving = Action::Saving(Box::new(saved));
    Workflow::new(vec![
        step("announce", saving, Some(Action::Phase(before))),
        step("tell", Action::Tell(Box::new(save), wait), None),
    ])
}

/// A change of a definition: told, and taken back when nobody knows whether it was done.
pub(crate) fn define_plan(told: &Told) -> Workflow<Action> {
    let wait = Duration::from_millis(told.wait_ms);
    let back = Box::new((told.request.clone(), told.back.clone()));
    let tell = Action::Tell(Box::new(told.request.clone()), wait);
    Workflow::new(vec![step("tell", tell, Some(Action::TellBack(back, wait)))])
}

/// What is left of [`define_plan`] after a restart: it may have been told already.
pub(crate) fn resume_define_plan(told: &Told) -> Workflow<Action> {
    let mut flow = define_plan(told);
    let _ = flow.step();
    flow
}
