//! The policy's actions, carried out by the VMs' own tasks.

use futures_util::future::join_all;
use vmm_core::balloon::{Action, Plan, VmBalloon};
use vmm_core::units::Kib;

use super::view::{Member, View};
use super::{ANSWER_WAIT, BUSY_FOR};
use crate::core::Core;
use crate::domain::{Change, ChangeError};

/// Sets the targets that the plan names. Whoever has given something back since the last look is told its target again, so that
/// Xen's limit follows.
pub(super) async fn carry_out(core: &Core, view: &View, plan: &Plan) {
    let mut targets: Vec<(&Member, Kib)> = Vec::new();
    for action in &plan.actions {
        match *action {
            Action::SetTarget { vm, target } => {
                targets.extend(view.member(vm).map(|member| (member, target)));
            }
            Action::Stuck { vm, kept } => {
                let Some(member) = view.member(vm) else { continue };
                name(core, member, kept);
                targets.push((member, member.balloon.grip().min(member.balloon.dynamic_max)));
            }
        }
    }
    let is_told = |member: &&Member| !targets.iter().any(|(told, _)| told.domid == member.domid);
    let late = view.members.iter().filter(is_told).filter(|member| may_take_back(&member.balloon));
    let again: Vec<(&Member, Kib)> = late.map(|member| (member, member.balloon.target)).collect();
    join_all(targets.into_iter().chain(again).map(|(member, target)| tell(core, member, target)))
        .await;
}

/// Xen lets it hold more than it holds and shall hold.
fn may_take_back(balloon: &VmBalloon) -> bool {
    balloon.limit > balloon.held.max(balloon.target)
}

fn name(core: &Core, member: &Member, kept: Kib) {
    tracing::warn!(
        vm_id = %member.handle.vm, name = %member.handle.spec().name, domid = member.domid.get(), kept_kib = kept.0,
        "VM does not give back memory that it was asked for; it is left alone for a while"
    );
    let now = core.balloons.now();
    let mut book = core.balloons.book();
    book.kept.insert(member.domid, kept);
    if let Some(progress) = book.progress.get_mut(&member.domid) {
        progress.declare_stuck(now);
    }
}

async fn tell(core: &Core, member: &Member, target: Kib) {
    let vm_id = member.handle.vm;
    let told = member.handle.change(Change::Balloon { target });
    match tokio::time::timeout(ANSWER_WAIT, told).await {
        Ok(Ok(_)) => tracing::debug!(%vm_id, target_kib = target.0, "balloon target set"),
        Ok(Err(ChangeError::Busy)) | Err(_) => {
            let until = core.balloons.now() + BUSY_FOR;
            core.balloons.book().busy_until.insert(member.domid, until);
        }
        // It may have ended, or have been paused; the next look tells.
        Ok(Err(error)) => tracing::debug!(%vm_id, %error, "balloon target not set"),
    }
}
