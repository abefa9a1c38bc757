//! The store keeps what it was given, refuses what it cannot read, belongs to one manager, and fails for good.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use ::redb::{Database, TableDefinition};
use vmm_core::id::HostId;
use vmm_proto::clock::TokioClock;

use super::conformance::{Subject, conforms};
use super::faulty::{Fault, Faulty};
use super::kv::{Condition, Operation, Transaction};
use super::put::{OWNER_KEY, SCHEMA_KEY, Space};
use super::*;
use crate::agents::BoxFuture;

const NOW: Duration = Duration::from_secs(1_800_000_000);

fn host(n: u8) -> HostRecord {
    HostRecord {
        id: HostId::from_bytes([n; 16]),
        name: format!("h{n}"),
        address: "127.0.0.1:1".into(),
        maintenance: false,
        machine: None,
        facts: None,
        pool: vmm_core::id::PoolId::FIRST,
        labels: Labels::default(),
    }
}

fn put(n: u8) -> [Put; 1] {
    [Put::Host(Box::new(host(n)))]
}

async fn open(location: &StoreLocation) -> (Store, Contents) {
    Store::open(location, "me", NOW).await.expect("opens")
}

/// Stores, and closes.
async fn store(location: &StoreLocation, batches: &[&[Put]]) {
    let (store, _) = open(location).await;
    for batch in batches {
        store.decide(batch).expect("taken");
    }
    store.stored().await.expect("stored");
    store.close().await;
}

async fn hosts(location: &StoreLocation) -> Vec<HostRecord> {
    let (store, contents) = open(location).await;
    store.close().await;
    contents.hosts
}

fn memory() -> StoreLocation {
    StoreLocation::Memory(MemoryStore::default())
}

/// redb, opened as this says; time is a number.
struct Redb {
    open: fn(&Redb) -> Arc<dyn KeyValue>,
    directory: tempfile::TempDir,
    opened: AtomicU64,
    now: Mutex<Duration>,
}

impl Redb {
    fn new(open: fn(&Redb) -> Arc<dyn KeyValue>) -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        Self { open, directory, opened: AtomicU64::new(0), now: Mutex::new(NOW) }
    }
}

impl Subject for Redb {
    fn fresh(&self) -> BoxFuture<'_, Arc<dyn KeyValue>> {
        Box::pin(async { (self.open)(self) })
    }

    fn now(&self) -> Duration {
        *self.now.lock().expect("no panic")
    }

    fn pass<'a>(&'a self, kv: &'a dyn KeyValue, time: Duration) -> BoxFuture<'a, ()> {
        let now = {
            let mut now = self.now.lock().expect("no panic");
            *now += time;
            *now
        };
        Box::pin(async move { kv.expire(now).await.expect("swept") })
    }
}

#[tokio::test]
async fn redb_in_memory_conforms() {
    let open = |_: &Redb| Arc::new(RedbStore::memory(&MemoryStore::default()).expect("opens")) as _;
    conforms(&Redb::new(open)).await;
}

#[tokio::test]
async fn redb_in_a_file_conforms() {
    let open = |redb: &Redb| {
        let number = redb.opened.fetch_add(1, Ordering::Relaxed);
        let path = redb.directory.path().join(number.to_string());
        Arc::new(RedbStore::file(&path).expect("opens")) as _
    };
    conforms(&Redb::new(open)).await;
}

#[tokio::test]
async fn a_store_that_can_fail_conforms_until_it_does() {
    conforms(&Redb::new(|_| Faulty::shared().opened())).await;
}

#[tokio::test]
async fn what_was_stored_is_there_after_a_reopen() {
    let memory = memory();
    store(
        &memory,
        &[
            &[Put::Host(Box::new(host(1))), Put::Host(Box::new(host(2)))],
            &[Put::DropHost(host(1).id)],
        ],
    )
    .await;
    assert_eq!(hosts(&memory).await, [host(2)]);
}

#[tokio::test]
async fn two_managers_cannot_have_it_open() {
    let directory = tempfile::tempdir().expect("a directory");
    for location in [memory(), StoreLocation::File(directory.path().join("store.redb"))] {
        let (first, _) = open(&location).await;
        let second = Store::open(&location, "me", NOW).await;
        assert!(matches!(second, Err(StoreError::Open { .. })));
        first.close().await;
        open(&location).await.0.close().await;
    }
}

#[tokio::test]
async fn a_store_that_is_dropped_is_let_go_of() {
    let memory = memory();
    let (first, _) = open(&memory).await;
    first.decide(&put(1)).expect("taken");
    let queue = Arc::clone(&first.0.queue);
    drop(first);
    queue.until_ended().await;
    assert_eq!(hosts(&memory).await, [host(1)]);
}

#[tokio::test]
async fn a_file_keeps_it_too_and_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    let file = StoreLocation::File(path.clone());
    store(&file, &[&put(1)]).await;
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(hosts(&file).await, [host(1)]);
}

#[tokio::test]
async fn what_is_asked_for_at_once_shares_a_transaction() {
    let (store, _) = open(&memory()).await;
    for n in 0..100 {
        store.decide(&put(n)).expect("taken");
    }
    store.stored().await.expect("stored");
    assert_eq!(store.groups(), 1);
    store.decide(&put(1)).expect("taken");
    store.note(&put(2)).expect("taken");
    store.stored().await.expect("stored");
    assert_eq!(store.groups(), 2);
    store.stored().await.expect("nothing to wait for");
    assert_eq!(store.groups(), 2);
}

#[tokio::test]
async fn of_two_changes_of_one_record_the_later_one_is_stored() {
    let memory = memory();
    let renamed = HostRecord { name: "new".into(), ..host(1) };
    let back = [Put::DropHost(host(1).id)];
    store(&memory, &[&put(1), &back, &[Put::Host(Box::new(renamed.clone()))]]).await;
    assert_eq!(hosts(&memory).await, [renamed]);
}

/// Opens it as no manager does.
async fn tamper(memory: &MemoryStore, operations: Vec<(Vec<u8>, Operation)>) {
    let kv = RedbStore::memory(memory).expect("opens");
    kv.commit(Transaction { conditions: vec![], operations }).await.expect("committed");
    kv.close().await;
}

fn row(value: &[u8]) -> Operation {
    Operation::Put { value: value.to_vec(), lease: None }
}

#[tokio::test]
async fn another_schema_is_refused_with_advice_and_let_go_of() {
    let bytes = MemoryStore::default();
    let memory = StoreLocation::Memory(bytes.clone());
    store(&memory, &[]).await;
    tamper(&bytes, vec![(SCHEMA_KEY.to_vec(), row(b"99"))]).await;
    for _ in 0..2 {
        let error = Store::open(&memory, "me", NOW).await.expect_err("refused");
        assert!(matches!(error, StoreError::Schema { found: 99 }), "{error}");
        assert!(error.to_string().contains("run the version that wrote it"));
    }
}

#[tokio::test]
async fn a_damaged_record_is_named() {
    let bytes = MemoryStore::default();
    tamper(&bytes, vec![(Space::Vm.key("x"), row(b"{"))]).await;
    let opened = Store::open(&StoreLocation::Memory(bytes), "me", NOW).await;
    let error = opened.expect_err("refused");
    assert!(matches!(&error, StoreError::Record { kind: "VM", key, .. } if key == "x"), "{error}");
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    std::fs::write(&path, vec![7_u8; 8192]).expect("written");
    let error = Store::open(&StoreLocation::File(path), "me", NOW).await.expect_err("refused");
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

type OldTable = TableDefinition<'static, &'static str, &'static [u8]>;

/// A store as managers with this layout wrote it.
fn old_store(schema: u32, tables: &[(&'static str, &str, &str)]) -> MemoryStore {
    let memory = MemoryStore::default();
    let database = Database::builder().create_with_backend(memory.clone()).expect("made");
    let write = database.begin_write().expect("begun");
    let meta: TableDefinition<'_, &str, u32> = TableDefinition::new("meta");
    write.open_table(meta).expect("a table").insert("schema", schema).expect("inserted");
    for name in ["hosts", "vms", "tasks", "idempotency"] {
        write.open_table(OldTable::new(name)).expect("a table");
    }
    for (table, key, value) in tables {
        let mut table = write.open_table(OldTable::new(table)).expect("a table");
        table.insert(*key, value.as_bytes()).expect("inserted");
    }
    write.commit().expect("committed");
    memory
}

const OLD_DISK: &str = r#"{"@path":"/d.img","@device":"xvda","@read-only":true}"#;
const OLD_VM: &str = r#"{"id":"00000000-0000-0000-0000-000000000007","spec":{"@name":"web","@vcpus":1,"@vcpus-max":2,
    "@memory-kib":131072,"@memory-max-kib":262144,"@kernel":"/k","@cmdline":"","@cpu-demand-milli":0,
    "@disk-demand-bytes-per-s":0,"Disk":DISKS},
    "phase":"PoweredOff","reason":"","host":null,"last_host":null,"charge":null,"memory_target_kib":131072}"#;
const OLD_TASK: &str = r#"{"id":"00000000-0000-0000-0000-000000000009","vm":"00000000-0000-0000-0000-000000000007",
    "number":3,"shown":{"@task":"00000000-0000-0000-0000-000000000009","@verb":"StartVm",
    "@vm":"00000000-0000-0000-0000-000000000007","@vm-name":"web","@state":"Done","@step":"tell (1 of 1)"}}"#;
const OLD_HOST: &str = r#"{"id":"01010101-0101-0101-0101-010101010101","name":"h1","address":"127.0.0.1:1",
    "maintenance":false,"machine":null,"facts":null}"#;
const OLD_POOL: &str = r#"{"Pool":{"id":"00000000-0000-0000-0000-0000000000aa","name":"fast",
    "site":"00000000-0000-0000-0000-0000000000bb","notes":""}}"#;
const OLD_KEY: &str = r#"{"key":"admin/ann k","number":4,"digest":"ab","reply":"Done"}"#;

#[tokio::test]
async fn stores_of_older_managers_are_upgraded_once() {
    let listed = format!("[{OLD_DISK}]");
    for (schema, disks) in [(1, OLD_DISK.to_owned()), (2, listed.clone()), (3, listed)] {
        let vm = OLD_VM.replace("DISKS", &disks);
        let id = "00000000-0000-0000-0000-000000000007";
        let tables = [
            ("vms", id, vm.as_str()),
            ("hosts", "01010101-0101-0101-0101-010101010101", OLD_HOST),
            ("tasks", "00000000-0000-0000-0000-000000000009", OLD_TASK),
            ("idempotency", "admin/ann k", OLD_KEY),
            ("places", "pool", OLD_POOL),
        ];
        let tables = if schema < 3 { &tables[..4] } else { &tables };
        let memory = StoreLocation::Memory(old_store(schema, tables));
        for time in ["first", "second"] {
            let (store, contents) = open(&memory).await;
            let [vm] = contents.vms.as_slice() else { panic!("one VM: {contents:?}") };
            let [disk] = vm.spec.disks.as_slice() else { panic!("one disk: {vm:?}") };
            assert_eq!((disk.path.as_str(), disk.read_only), ("/d.img", true), "{time}");
            assert_eq!(vm.saved, None);
            assert_eq!(contents.hosts, [host(1)]);
            assert_eq!(contents.tasks[0].shown.verb, "StartVm");
            assert_eq!(contents.keys[0].key, "admin/ann k");
            assert_eq!(contents.places.len(), usize::from(schema == 3));
            store.decide(&[Put::Vm(Box::new(vm.clone()))]).expect("taken");
            store.close().await;
        }
    }
}

#[tokio::test]
async fn a_layout_from_the_future_is_refused() {
    let memory = StoreLocation::Memory(old_store(5, &[]));
    let error = Store::open(&memory, "me", NOW).await.expect_err("refused");
    assert!(matches!(error, StoreError::Schema { found: 5 }), "{error}");
}

#[tokio::test]
async fn after_a_fault_nothing_is_taken_and_what_is_found_is_what_counts() {
    for (fault, found) in
        [(Fault::Undone, vec![host(1)]), (Fault::ReplyLost, vec![host(1), host(2)])]
    {
        let faulty = Faulty::exclusive();
        let location = StoreLocation::Faulty(faulty.clone());
        let (store, _) = open(&location).await;
        store.decide(&put(1)).expect("taken");
        store.stored().await.expect("stored");
        faulty.fail(0, fault);
        store.decide(&put(2)).expect("taken");
        assert!(matches!(store.stored().await, Err(StoreError::Lost { .. })), "{fault:?}");
        assert!(matches!(store.decide(&put(3)), Err(StoreError::Lost { .. })));
        assert!(matches!(store.note(&put(3)), Err(StoreError::Lost { .. })));
        store.close().await;
        assert_eq!(hosts(&location).await, found, "{fault:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_shared_store_belongs_to_one_manager_until_its_lease_is_over() {
    let clock = TokioClock::starting_at(NOW);
    let location = StoreLocation::Faulty(Faulty::shared());
    let taken = async |owner: &'static str| Store::open(&location, owner, clock.now()).await;
    let (first, _) = taken("one").await.expect("free");
    let refused = taken("two").await.expect_err("taken");
    assert!(matches!(&refused, StoreError::Owned { owner } if owner == "one"), "{refused}");
    let keeping = tokio::spawn({
        let store = first.clone();
        async move { store.keep(&clock).await }
    });
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert!(taken("two").await.is_err(), "it is kept");
    // The first one hangs, and does not know.
    keeping.abort();
    tokio::time::sleep(Duration::from_secs(16)).await;
    let (second, _) = taken("two").await.expect("the lease is over");
    first.decide(&put(1)).expect("taken");
    assert!(matches!(first.stored().await, Err(StoreError::Superseded)));
    first.close().await;
    second.decide(&put(2)).expect("taken");
    second.stored().await.expect("what the first one did late has changed nothing");
    second.close().await;
    assert_eq!(taken("three").await.expect("given back at once").1.hosts, [host(2)]);
}

#[tokio::test(start_paused = true)]
async fn an_idle_manager_hears_that_the_store_is_another_ones() {
    let clock = TokioClock::starting_at(NOW);
    let faulty = Faulty::shared();
    let location = StoreLocation::Faulty(faulty.clone());
    let (store, _) = Store::open(&location, "one", NOW).await.expect("free");
    let kv = faulty.opened();
    let taking = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let operations = vec![(OWNER_KEY.to_vec(), row(b"two"))];
        let there = kv::get(&*kv, OWNER_KEY).await.expect("read").expect("owned");
        let conditions = vec![Condition::At(there.key, there.revision)];
        kv.commit(Transaction { conditions, operations }).await.expect("taken by force");
    };
    tokio::join!(store.keep(&clock), taking);
    assert!(matches!(store.decide(&put(1)), Err(StoreError::Superseded)));
}

#[tokio::test]
async fn ten_thousand_vms_come_back_in_pages() {
    let memory = memory();
    let vm: VmRecord = serde_json::from_str(&OLD_VM.replace("DISKS", "[]")).expect("a record");
    let batch: Vec<Put> = (0..10_000_u32)
        .map(|n| {
            let mut id = [0; 16];
            id[..4].copy_from_slice(&n.to_be_bytes());
            let id = vmm_core::id::VmId::from_bytes(id);
            Put::Vm(Box::new(VmRecord { id, ..vm.clone() }))
        })
        .collect();
    store(&memory, &[&batch]).await;
    let (store, contents) = open(&memory).await;
    assert_eq!(contents.vms.len(), 10_000);
    assert!(contents.vms.is_sorted_by_key(|vm| vm.id));
    store.close().await;
}
