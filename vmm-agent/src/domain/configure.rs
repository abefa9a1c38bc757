//! What needs no guest: the name, the scheduler's parameters, what follows an end, autostart.
//!
//! The journal is written first, then the host is told; when the host refuses, the journal gets its old words back.

use vmm_core::vm::{VmName, VmSpec};

use super::error::StepError;
use super::runner::Runner;
use super::site::apply_scheduling;
use super::{Answer, ChangeError, Knobs, Outcome, tree};

impl Runner {
    pub(super) async fn rename(&mut self, name: VmName) -> Outcome {
        self.respecify("rename", |spec| spec.name = name).await
    }

    pub(super) async fn configure(&mut self, knobs: Knobs) -> Outcome {
        let change = |spec: &mut VmSpec| {
            let Knobs { memory_min, scheduling, on_event, autostart } = knobs;
            spec.memory_min = memory_min.unwrap_or(spec.memory_min);
            spec.on_event = on_event.unwrap_or(spec.on_event);
            spec.autostart = autostart.unwrap_or(spec.autostart);
            if let Some(scheduling) = scheduling {
                spec.scheduling = scheduling;
            }
        };
        self.respecify("configure", change).await
    }

    async fn respecify(&mut self, step: &'static str, change: impl FnOnce(&mut VmSpec)) -> Outcome {
        let before = self.site.record.spec.clone();
        let mut after = before.clone();
        change(&mut after);
        let after = after.validated().map_err(|e| ChangeError::BadRequest(e.to_string()))?;
        if after == before {
            return Ok(Answer::Done);
        }
        let outcome = self.tell_host(&before, after).await;
        if let Err(error) = outcome {
            let wrong = std::mem::replace(&mut self.site.record.spec, before.clone());
            if let Err(error) = self.tell_host(&wrong, before).await {
                tracing::error!(vm_id = %self.site.record.vm, %error, "change not taken back");
            }
            return Err(ChangeError::step(step, error));
        }
        self.publish_spec();
        Ok(Answer::Done)
    }

    /// On disk, and on the host as far as it differs.
    async fn tell_host(&mut self, before: &VmSpec, after: VmSpec) -> Result<(), StepError> {
        self.site.record.spec = after.clone();
        self.site.write_record().await?;
        let (vm, domid) = (self.site.record.vm, self.site.domid()?);
        let renamed = (after.name != before.name).then(|| after.name.to_string());
        let scheduling = (after.scheduling != before.scheduling).then_some(after.scheduling);
        let tell = move |host: &crate::Backend| -> Result<(), StepError> {
            if let Some(name) = renamed {
                tree::rename(host.xen.store.as_ref(), vm, domid, &name)?;
            }
            if let Some(scheduling) = scheduling {
                apply_scheduling(host, domid, after.vcpus_max, &scheduling)?;
            }
            Ok(())
        };
        self.core().run(tell).await
    }
}
