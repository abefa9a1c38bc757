//! The steps of each change, as data: a plan is stored with its task, and its steps follow from it.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use vmm_core::task::turns::Class;
use vmm_core::task::{Position, Step, Workflow};
use vmm_proto::v1::{Request, VmPhase};

use super::Action;
use super::moves::{Move, move_steps};
use crate::store::{Charge, SavedState, Told};

fn step(name: &'static str, action: Action, undo: Option<Action>) -> Step<Action> {
    Step { name, action, undo }
}

/// Why a VM is built.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Construction {
    /// It was just defined.
    New,
    /// It was stopped.
    Start,
    /// It was saved, in this file.
    Restore(String),
}

/// Which change, and all that its steps need.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) enum Plan {
    /// Reserved (and defined, if new), then built, then running.
    Build(Construction),
    /// The charge is raised before the guest may take the memory.
    Grow { charges: Box<(Charge, Charge)>, tells: Box<(Request, Request)>, wait_ms: u64 },
    /// One thing told to the agent; `phases` are stored before, and when it did not come to that.
    Tell { request: Option<Box<Request>>, wait_ms: u64, phases: Option<(VmPhase, VmPhase)> },
    /// Where its memory goes is stored first: if nobody hears how it ended, the host's report says whether it is there.
    Save { request: Box<Request>, wait_ms: u64, saved: Box<SavedState>, before: VmPhase },
    /// A change of a definition: told, and taken back when nobody knows whether it was done.
    Define(Box<Told>),
    /// From the host that the task is carried out on to another one.
    Move(Box<Move>),
}

impl Plan {
    /// Its steps, at this position.
    pub(crate) fn workflow(&self, at: Position) -> Workflow<Action> {
        let steps = match self {
            // Nobody knows whether the build that was under way was begun: the host is looked at instead.
            Self::Build(construction)
                if at.in_step && at.begun == BUILD_STEP && !at.rolling_back =>
            {
                build_steps(Action::Adopt, construction)
            }
            Self::Build(construction) => {
                build_steps(Action::Build(construction.file()), construction)
            }
            Self::Grow { charges, tells, wait_ms } => grow_steps(charges, tells, *wait_ms),
            Self::Tell { request, wait_ms, phases } => {
                tell_steps(request.as_deref(), *wait_ms, *phases)
            }
            Self::Save { request, wait_ms, saved, before } => vec![
                step("announce", Action::Saving(saved.clone()), Some(Action::Phase(*before))),
                step("tell", Action::Tell(request.clone(), millis(*wait_ms)), None),
            ],
            Self::Define(told) => vec![define_step(told)],
            Self::Move(of) => move_steps(of),
        };
        Workflow::resumed(steps, at)
    }

    /// What it mostly costs its host.
    pub(crate) fn class(&self) -> Class {
        match self {
            Self::Build(Construction::Restore(_)) | Self::Save { .. } | Self::Move(_) => {
                Class::Transfer
            }
            Self::Build(_) => Class::Build,
            Self::Grow { .. } | Self::Tell { .. } | Self::Define(_) => Class::Light,
        }
    }

    /// The move that it is.
    pub(crate) fn moves(&self) -> Option<&Move> {
        match self {
            Self::Move(of) => Some(of),
            _ => None,
        }
    }

    /// The change of a definition that an agent is told.
    pub(crate) fn told(&self) -> Option<&Told> {
        match self {
            Self::Define(told) => Some(told),
            _ => None,
        }
    }
}

/// Which of a build's steps is the build, counted from 1.
const BUILD_STEP: usize = 2;

impl Construction {
    fn file(&self) -> Option<String> {
        match self {
            Self::Restore(path) => Some(path.clone()),
            Self::New | Self::Start => None,
        }
    }
}

fn millis(wait_ms: u64) -> Duration {
    Duration::from_millis(wait_ms)
}

fn build_steps(build: Action, construction: &Construction) -> Vec<Step<Action>> {
    let (release, unbuild) = match construction {
        Construction::New => (Action::Forget, Action::Unbuild),
        Construction::Start => (Action::Release, Action::Unbuild),
        Construction::Restore(_) => (Action::Release, Action::Unrestore),
    };
    vec![
        step("reserve", Action::Reserved, Some(release)),
        step("build", build, Some(unbuild)),
        step("mark running", Action::MarkRunning, None),
    ]
}

fn grow_steps(
    (old, new): &(Charge, Charge),
    (tell, untell): &(Request, Request),
    wait_ms: u64,
) -> Vec<Step<Action>> {
    let back = Action::Tell(Box::new(untell.clone()), Duration::ZERO);
    vec![
        step("reserve", Action::Charge(*new), Some(Action::Charge(*old))),
        step("resize", Action::Tell(Box::new(tell.clone()), millis(wait_ms)), Some(back)),
    ]
}

fn tell_steps(
    request: Option<&Request>,
    wait_ms: u64,
    phases: Option<(VmPhase, VmPhase)>,
) -> Vec<Step<Action>> {
    let announce = phases.map(|(during, before)| {
        step("announce", Action::Phase(during), Some(Action::Phase(before)))
    });
    let tell = request.map(|request| {
        step("tell", Action::Tell(Box::new(request.clone()), millis(wait_ms)), None)
    });
    announce.into_iter().chain(tell).collect()
}

fn define_step(told: &Told) -> Step<Action> {
    let back = Box::new((told.request.clone(), told.back.clone()));
    let tell = Action::Tell(Box::new(told.request.clone()), millis(told.wait_ms));
    step("tell", tell, Some(Action::TellBack(back, millis(told.wait_ms))))
}
