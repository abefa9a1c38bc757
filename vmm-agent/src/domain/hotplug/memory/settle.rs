//! The end of a change of memory: what was asked is made what is so.

use vmm_core::units::Kib;
use vmm_core::vm::MAXMEM_SLACK;

use super::steps::{Terms, paging_pool_for};
use super::{MEMORY_LIMIT, MemoryAct, MemoryWait, Stage, notes};
use crate::domain::pending::Pending;
use crate::domain::plan::Action;
use crate::domain::runner::Runner;
use crate::domain::{Answer, ChangeError, Outcome};
use crate::memory::Agreement;

impl Runner {
    /// Another change is about to take the place of the one under way. A growth is withdrawn: nobody waits for it any more.
    pub(crate) async fn abandon_growth(&mut self) {
        let Some(Pending::Memory(MemoryWait { asked, stage, .. })) = &self.pending else { return };
        let Stage::Guest(guest) = stage else { return };
        let (asked, before) = (*asked, guest.before);
        if asked <= before.held {
            return;
        }
        let reached = match self.info().await {
            Ok(info) => Kib(info.pages.kib()),
            Err(_) => before.held,
        };
        if let Err(error) = self.settle_memory(asked, reached, &before).await {
            tracing::warn!(vm_id = %self.site.record.vm, %error, "growth not withdrawn");
        }
    }

    /// An earlier agent may have raised limits for a guest that it did not come to ask.
    pub(crate) async fn settle_adopted_memory(&mut self) {
        match self.terms().await {
            Ok(terms) => {
                let own = terms.held.saturating_sub(MAXMEM_SLACK);
                let limit = terms.held.max(terms.target).min(terms.grip());
                self.close(limit, terms.agreed.max(own), MEMORY_LIMIT).await;
            }
            Err(error) => {
                tracing::warn!(vm_id = %self.site.record.vm, %error, "memory not settled");
            }
        }
    }

    /// A growth that did not happen is withdrawn. A guest that was asked to shrink may still do so.
    pub(super) async fn settle_memory(
        &mut self,
        asked: Kib,
        reached: Kib,
        before: &Terms,
    ) -> Outcome {
        let grows = asked > before.held;
        // Without the domain's special pages, which nobody agreed on.
        let own = reached.saturating_sub(MAXMEM_SLACK);
        let mut agreed = asked;
        if grows {
            // What it was agreed to have before, it may still have.
            agreed = if asked <= before.agreed { asked } else { before.agreed.max(own) };
            let withdraw = MemoryAct::Ask(Agreement { target: reached, agreed });
            if let Err(source) = self.site.act_on_memory(withdraw).await
                && !self.site.take_back("ask-guest", &Action::Memory(withdraw)).await
            {
                let left_over = vec!["ask-guest"];
                return Err(ChangeError::Step { step: "withdraw", source, left_over });
            }
        }
        self.close(reached, agreed.max(own), before.agreed.max(asked)).await;
        let note = match grows {
            true => notes::grew(&self.site.record.spec, asked, reached),
            false => notes::shrank(reached),
        };
        Ok(Answer::Memory { asked, reached, note })
    }

    /// From now on Xen lets the domain hold this much, and the paging pool is what that needs; `most` is what it was for.
    pub(super) async fn close(&mut self, limit: Kib, agreed: Kib, most: Kib) {
        let pool = |memory| paging_pool_for(&self.site.record.spec, memory);
        let mut actions = vec![MemoryAct::SetLimit(limit)];
        if pool(agreed) < pool(most) {
            actions.push(MemoryAct::SetPool(pool(agreed)));
        }
        for action in actions {
            if !self.site.take_back("settle-memory", &Action::Memory(action)).await {
                tracing::warn!(vm_id = %self.site.record.vm, ?action, "memory not settled");
            }
        }
    }
}
