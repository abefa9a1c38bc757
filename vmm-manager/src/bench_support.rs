//! What benches measure of the inside: decisions stored, and a store opened.
//!
//! A decision is what `CreateVm` stores: a VM with its reservation, the task that builds it, and the key under which it was asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;
use vmm_core::id::{HostId, TaskId, VmId};
use vmm_proto::v1;

use crate::StoreLocation;
use crate::store::{
    Charge, Course, KeyRecord, KeyedReply, Labels, Put, Store, StoreError, TaskRecord, VmRecord,
};
use crate::workflow::{Construction, Plan};

/// Of the bench's manager: its store is nobody else's.
const OWNER: &str = "bench";

/// What was measured.
#[derive(Clone, Copy, Debug)]
pub struct DurableRun {
    /// Decisions, each waited for until it was on the disk.
    pub decisions: u64,
    /// Transactions that they shared.
    pub transactions: u64,
    /// For all of them.
    pub elapsed: Duration,
}

/// Stores so many decisions, of which at most `deciders` wait at once.
///
/// # Errors
/// Whatever the store says.
pub async fn durable_decisions(
    location: &StoreLocation,
    deciders: u64,
    decisions: u64,
) -> Result<DurableRun, StoreError> {
    let (store, _) = Store::open(location, OWNER, Duration::ZERO).await?;
    let next = Arc::new(AtomicU64::new(0));
    let begin = Instant::now();
    let deciding = (0..deciders.max(1)).map(|_| {
        let (store, next) = (store.clone(), Arc::clone(&next));
        tokio::spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= decisions {
                    return Ok(());
                }
                store.decide(&decision(number))?;
                store.stored().await?;
            }
        })
    });
    for decider in deciding.collect::<Vec<_>>() {
        decider.await.map_err(|_| StoreError::Closed)??;
    }
    let (elapsed, transactions) = (begin.elapsed(), store.groups());
    store.close().await;
    Ok(DurableRun { decisions, transactions, elapsed })
}

/// Opens a store and reads all of it: how many VMs there are, and how long it took.
///
/// # Errors
/// Whatever the store says.
pub async fn cold_start(location: &StoreLocation) -> Result<(usize, Duration), StoreError> {
    let begin = Instant::now();
    let (store, contents) = Store::open(location, OWNER, Duration::ZERO).await?;
    let elapsed = begin.elapsed();
    store.close().await;
    Ok((contents.vms.len(), elapsed))
}

fn decision(number: u64) -> [Put; 3] {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&number.to_be_bytes());
    let (vm, task) = (VmId::from_bytes(bytes), TaskId::from_bytes(bytes));
    let host = HostId::from_bytes([7; 16]);
    let name = format!("vm-{number}");
    let shown = v1::Task {
        task: task.to_string(),
        verb: "CreateVm".to_owned(),
        vm: vm.to_string(),
        vm_name: name.clone(),
        step: "begin".to_owned(),
        initiator: Some("admin/bench".to_owned()),
        created_ms: Some(number),
        host: Some("host-7".to_owned()),
        ..v1::Task::default()
    };
    let key = KeyRecord {
        key: format!("admin/bench {number}"),
        number,
        digest: "00".repeat(32),
        reply: KeyedReply::Task(task.to_string()),
        at_ms: 0,
    };
    let create = v1::CreateVm { spec: spec(name.clone()), ..v1::CreateVm::default() };
    let task = TaskRecord {
        id: task,
        vm,
        number,
        shown,
        told: None,
        host: Some(host),
        plan: Some(Plan::Build(Construction::New)),
        course: Course { begun: 1, reached: 1, ..Course::default() },
        request: Some(Box::new(v1::Request::CreateVm(create))),
        parent: None,
        items: Vec::new(),
        was_in_maintenance: false,
    };
    let charge =
        Charge { cpu_milli: 200, memory_kib: 2 << 20, disk_bytes_per_s: 1_000_000, running: false };
    let record = VmRecord {
        id: vm,
        spec: spec(name),
        phase: v1::VmPhase::Starting,
        reason: String::new(),
        host: Some(host),
        last_host: Some(host),
        charge: Some(charge),
        memory_target_kib: 1 << 20,
        vcpus_target: None,
        saved: None,
        moving: None,
        moved_ms: None,
        labels: Labels::default(),
        pin: Vec::new(),
        groups: Vec::new(),
    };
    [Put::Vm(Box::new(record)), Put::Task(Box::new(task)), Put::Key(key)]
}

fn spec(name: String) -> v1::Spec {
    v1::Spec {
        name,
        vcpus: 2,
        vcpus_max: 4,
        memory_kib: 1 << 20,
        memory_max_kib: 2 << 20,
        kernel: "/boot/vmlinuz".to_owned(),
        initramfs: Some("/boot/initrd".to_owned()),
        cmdline: "console=hvc0 root=/dev/xvda ro".to_owned(),
        disks: vec![v1::Disk {
            path: "/srv/images/disk.img".to_owned(),
            device: "xvda".to_owned(),
            read_only: false,
        }],
        nics: vec![v1::Nic {
            index: 0,
            mac: "00:16:3e:00:00:01".to_owned(),
            bridge: "xenbr0".to_owned(),
        }],
        ..v1::Spec::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemoryStore;

    #[tokio::test]
    async fn decisions_that_wait_together_share_transactions_and_come_back() {
        let memory = StoreLocation::Memory(MemoryStore::default());
        let run = durable_decisions(&memory, 50, 500).await.expect("stored");
        assert_eq!(run.decisions, 500);
        assert!((2..=500 / 10).contains(&run.transactions), "{run:?}");
        assert_eq!(cold_start(&memory).await.expect("opens").0, 500);
    }
}
