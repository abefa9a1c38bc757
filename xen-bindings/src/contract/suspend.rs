//! Guests that suspend themselves when asked, and go on in the same domain.

use std::time::Duration;

use super::guest::{KINDS, PLUG, STOP, node, poweroff, ready, vcpus_come_and_go};
use super::subject::{Case, Outcome, Subject, ensure, refused, same, text};
use crate::control::{RunState, ShutdownReason};
use crate::domid::DomId;
use crate::error::XenErrorKind;

/// Long enough for an event that should not come.
const QUIET: Duration = Duration::from_millis(500);
const NEWS: &str = "@releaseDomain";
const SUSPENDED: RunState = RunState::Shutdown(ShutdownReason::Suspend);

pub(super) const CASES: &[Case] = &[
    Case { name: "a guest suspends when asked, goes on when resumed, and again", run: resumed },
    Case { name: "only a suspended guest is resumed", run: not_suspended },
    Case { name: "who hears of the end of a guest that went on is known", run: announced },
];

/// Asks a guest to suspend, and waits until it has.
pub(super) fn suspend(subject: &Subject, id: DomId) -> Outcome {
    let request = node(id, "control/shutdown")?;
    subject.xen.store.write(&request, b"suspend").map_err(text)?;
    subject.until("the guest acknowledges", PLUG, || {
        Ok(subject.xen.store.read(&request).map_err(text)?.is_empty())
    })?;
    subject.until("the guest is suspended", STOP, || Ok(subject.present(id)?.state == SUSPENDED))
}

/// Tells Xen and the store that it goes on.
pub(super) fn resume(subject: &Subject, id: DomId) -> Outcome {
    subject.xen.control.resume(id).map_err(text)?;
    subject.xen.store.resume(id).map_err(text)?;
    ensure(!matches!(subject.present(id)?.state, RunState::Shutdown(_)), "it is still shut down")
}

fn resumed(subject: &Subject) -> Outcome {
    for kind in KINDS {
        let guard = ready(subject, kind)?;
        let id = guard.domid;
        // The last of its features that it tells.
        let feature = node(id, "control/feature-suspend")?;
        subject.until("it says that it can", PLUG, || {
            Ok(subject.xen.store.read(&feature).map_err(text)? == b"1")
        })?;
        for round in 1..=2 {
            suspend(subject, id)?;
            let before = subject.present(id)?;
            (subject.wait)(QUIET);
            same("while it is suspended", subject.present(id)?, before)?;
            resume(subject, id)?;
            vcpus_come_and_go(subject, id)
                .map_err(|error| format!("{kind:?}, resumed {round}: {error}"))?;
        }
        poweroff(subject, id)?;
    }
    Ok(())
}

fn not_suspended(subject: &Subject) -> Outcome {
    let invalid = XenErrorKind::Invalid;
    let (shell, _) = subject.shell(1)?;
    refused("a shell", subject.xen.control.resume(shell.domid), invalid)?;
    for kind in KINDS {
        let guard = ready(subject, kind)?;
        refused("one that runs", subject.xen.control.resume(guard.domid), invalid)?;
        subject.xen.control.shutdown(guard.domid, ShutdownReason::Crash).map_err(text)?;
        subject.until("it has crashed", STOP, || {
            Ok(subject.present(guard.domid)?.state == RunState::Shutdown(ShutdownReason::Crash))
        })?;
        refused("one that crashed", subject.xen.control.resume(guard.domid), invalid)?;
    }
    Ok(())
}

fn announced(subject: &Subject) -> Outcome {
    let guard = ready(subject, KINDS[0])?;
    let listener = subject.listen(NEWS)?;
    for _ in 0..2 {
        (subject.wait)(QUIET);
        listener.forget();
        suspend(subject, guard.domid)?;
        listener.hears(subject, NEWS)?;
        resume(subject, guard.domid)?;
    }
    suspend(subject, guard.domid)?;
    // The store is not told.
    subject.xen.control.resume(guard.domid).map_err(text)?;
    (subject.wait)(QUIET);
    listener.forget();
    subject.xen.control.shutdown(guard.domid, ShutdownReason::Crash).map_err(text)?;
    if subject.flavour.rules().resume_needed_for_news {
        (subject.wait)(QUIET);
        same("what is heard of its crash", listener.heard(), Vec::new())
    } else {
        listener.hears(subject, NEWS)
    }
}
