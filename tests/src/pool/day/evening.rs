//! The evening: all comes to rest, is compared, and is cleared.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Result, ensure};
use vmm_core::vm::VmState;
use vmm_proto::v1::{self, Request};

use super::Day;
use crate::pool::host_facts;

/// How long a healed pool may take to come to rest.
pub(super) const REST: Duration = Duration::from_secs(300);

impl Day {
    pub(super) async fn come_to_rest(&mut self) -> Result<()> {
        let end = tokio::time::Instant::now() + REST;
        loop {
            self.rest_for(Duration::from_secs(5)).await?;
            match self.pool.check(true) {
                Ok(()) => return Ok(()),
                Err(error) if tokio::time::Instant::now() > end => {
                    return Err(error.context("the pool does not come to rest"));
                }
                Err(_) => {}
            }
        }
    }

    /// The manager's VMs with a domain are exactly those that the machines run, each on the host that it says.
    pub(super) async fn believe_what_is_true(&mut self) -> Result<()> {
        let end = tokio::time::Instant::now() + REST;
        loop {
            let believed: BTreeSet<(String, String)> = self
                .vms()
                .await?
                .into_iter()
                .filter(|vm| VmState::from(vm.phase).has_domain())
                .map(|vm| (vm.host.unwrap_or_default(), vm.vm))
                .collect();
            let mut real = BTreeSet::new();
            for host in &self.pool.hosts {
                let facts = host_facts(host, true)?;
                real.extend(facts.running.iter().map(|vm| (host.name.clone(), vm.to_string())));
            }
            if believed == real {
                return Ok(());
            }
            let (only_believed, only_real): (Vec<_>, Vec<_>) =
                (believed.difference(&real).collect(), real.difference(&believed).collect());
            ensure!(
                tokio::time::Instant::now() < end,
                "the manager alone believes {only_believed:?}, the machines run besides {only_real:?}"
            );
            self.rest_for(Duration::from_secs(5)).await?;
        }
    }

    /// Destroys and deletes all, one by one.
    pub(super) async fn clear(&mut self) -> Result<()> {
        for vm in self.vms().await? {
            let outcome = self.ask(Request::DestroyVm(v1::DestroyVm { vm: vm.vm.clone() })).await?;
            self.note(&format!("clear {}: {outcome}", vm.spec.name));
            let deleted = self.ask(Request::DeleteVm(v1::DeleteVm { vm: vm.vm })).await?;
            ensure!(deleted == "done", "{} cannot be deleted: {deleted}", vm.spec.name);
        }
        self.leave_nothing().await
    }

    /// No VM is left: then nothing of one may be.
    pub(super) async fn leave_nothing(&mut self) -> Result<()> {
        self.come_to_rest().await?;
        for (host, facts) in self.pool.facts(true)? {
            ensure!(
                facts.running.is_empty() && facts.memory_reserved.0 == 0,
                "{host} is not empty: {facts:?}"
            );
        }
        Ok(())
    }
}
