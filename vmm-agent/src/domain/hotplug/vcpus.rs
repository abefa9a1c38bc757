//! vCPUs: `cpu/N/availability` for the guest, Xen's count of those online for the truth.

use std::time::Duration;

use tokio::time::Instant;
use xen_bindings::StorePath;
use xen_bindings::store::transact;

use super::POLL;
use crate::domain::error::StepError;
use crate::domain::pending::Pending;
use crate::domain::runner::{Reply, Runner};
use crate::domain::tree::availability;
use crate::domain::{Answer, ChangeError, Outcome};

/// How often a guest that has not done it is asked again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// A guest was asked to use this many vCPUs.
pub(crate) struct VcpuWait {
    asked: u32,
    wait: Duration,
    deadline: Instant,
    look_at: Instant,
    /// When the guest is asked again.
    ask_at: Instant,
    pub(crate) reply: Reply,
}

impl VcpuWait {
    pub(crate) fn due(&self) -> Instant {
        self.look_at.min(self.deadline)
    }
}

impl Runner {
    pub(crate) async fn set_vcpus(&mut self, asked: u32, wait: Duration, reply: Reply) {
        let max = self.site.record.spec.vcpus_max;
        if !(1..=max).contains(&asked) {
            let text = format!(
                "{asked} vCPUs are refused: this VM can have 1 to {max}; more need another vcpus-max and a new start"
            );
            let _ = reply.send(Err(ChangeError::BadRequest(text)));
            return;
        }
        let states = (0..max).map(|index| index < asked).collect();
        if let Err(error) = self.write_availability(states).await {
            let _ = reply.send(Err(ChangeError::step("ask-guest", error)));
            return;
        }
        let now = Instant::now();
        let deadline = now + wait;
        let ask_at = now + ASK_AGAIN;
        self.check_vcpus(VcpuWait { asked, wait, deadline, look_at: now, ask_at, reply }).await;
    }

    async fn write_availability(&self, states: Vec<bool>) -> Result<(), StepError> {
        let home = StorePath::domain(self.site.domid()?);
        let write = move |host: &crate::Backend| {
            transact(host.xen.store.as_ref(), |transaction| {
                for (index, online) in states.iter().enumerate() {
                    let node = home.join(&format!("cpu/{index}/availability"))?;
                    transaction.write(&node, availability(*online).as_bytes())?;
                }
                Ok(())
            })
        };
        Ok(self.core().run(write).await?)
    }

    /// Answers when it is so, or when there is no more time.
    pub(crate) async fn check_vcpus(&mut self, mut wait: VcpuWait) {
        let outcome = match self.info().await {
            Err(error) => Err(ChangeError::step("look-at-vcpus", error)),
            Ok(info) if info.vcpus_online == wait.asked => {
                Ok(Answer::Vcpus { asked: wait.asked, online: wait.asked, note: String::new() })
            }
            Ok(_) if Instant::now() < wait.deadline => {
                self.ask_vcpus_again(&mut wait).await;
                wait.look_at = Instant::now() + POLL;
                self.pending = Some(Pending::Vcpus(wait));
                return;
            }
            Ok(_) => self.settle_vcpus(&wait).await,
        };
        self.publish_size();
        let _ = wait.reply.send(outcome);
    }

    /// Linux hears of a vCPU only while it watches: a guest that has just been restored may have missed the word.
    async fn ask_vcpus_again(&self, wait: &mut VcpuWait) {
        if Instant::now() < wait.ask_at {
            return;
        }
        wait.ask_at = Instant::now() + ASK_AGAIN;
        let states = (0..self.site.record.spec.vcpus_max).map(|index| index < wait.asked).collect();
        if let Err(error) = self.write_availability(states).await {
            tracing::warn!(vm_id = %self.site.record.vm, %error, "guest not asked again");
        }
    }

    /// Makes what was asked what is so.
    async fn settle_vcpus(&mut self, wait: &VcpuWait) -> Outcome {
        let failed = |error: StepError| ChangeError::step("settle-vcpus", error);
        let online = self.online_vcpus().await.map_err(failed)?;
        let wrong = |wanted: bool| {
            (0_u32..)
                .zip(&online)
                .filter(|(index, online)| **online != wanted && (*index < wait.asked) == wanted)
                .map(|(index, _)| index.to_string())
                .collect::<Vec<_>>()
                .join(", ")
        };
        let (missing, staying) = (wrong(true), wrong(false));
        let mut note = format!("within {} s the guest", wait.wait.as_secs_f32());
        for (which, what) in [(&missing, "did not bring up"), (&staying, "did not take down")] {
            if !which.is_empty() {
                note.push_str(&format!(" {what} vCPU {which};"));
            }
        }
        note.push_str(" the request is withdrawn");
        let count = online.iter().filter(|online| **online).count();
        self.write_availability(online).await.map_err(failed)?;
        let online = u32::try_from(count).unwrap_or(u32::MAX);
        Ok(Answer::Vcpus { asked: wait.asked, online, note })
    }

    async fn online_vcpus(&self) -> Result<Vec<bool>, StepError> {
        let (domid, max) = (self.site.domid()?, self.site.record.spec.vcpus_max);
        let look = move |host: &crate::Backend| {
            (0..max).map(|index| Ok(host.xen.vcpu.info(domid, index)?.online)).collect()
        };
        self.core().run(look).await
    }
}
