//! The store reopens, and refuses what it cannot read.

use super::*;

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

#[test]
fn what_was_stored_is_there_after_a_reopen() {
    let memory = StoreLocation::Memory(MemoryStore::default());
    let (store, empty) = Store::open(&memory).expect("opens");
    assert!(empty.hosts.is_empty());
    store.apply(&[Put::Host(host(1)), Put::Host(host(2))]).expect("stored");
    store.apply(&[Put::DropHost(host(1).id)]).expect("stored");
    drop(store);
    let (_, contents) = Store::open(&memory).expect("opens again");
    assert_eq!(contents.hosts, [host(2)]);
}

#[test]
fn two_managers_cannot_have_it_open() {
    let memory = StoreLocation::Memory(MemoryStore::default());
    let (_store, _) = Store::open(&memory).expect("opens");
    assert!(matches!(Store::open(&memory), Err(StoreError::Open { .. })));
}

#[test]
fn a_file_keeps_it_too_and_is_private() {
    use std::os::unix::fs::PermissionsExt as _;
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    let file = StoreLocation::File(path.clone());
    let (store, _) = Store::open(&file).expect("opens");
    store.apply(&[Put::Host(host(1))]).expect("stored");
    drop(store);
    let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(Store::open(&file).expect("opens again").1.hosts, [host(1)]);
}

#[test]
fn another_schema_is_refused_with_advice() {
    let memory = StoreLocation::Memory(MemoryStore::default());
    let (store, _) = Store::open(&memory).expect("opens");
    let write = store.database.begin_write().expect("a transaction");
    write.open_table(META).expect("a table").insert(SCHEMA, 99).expect("inserted");
    write.commit().expect("committed");
    drop(store);
    let error = Store::open(&memory).expect_err("refused");
    assert!(matches!(error, StoreError::Schema { found: 99 }));
    assert!(error.to_string().contains("run the version that wrote it"));
}

#[test]
fn a_damaged_record_is_named() {
    let memory = StoreLocation::Memory(MemoryStore::default());
    let (store, _) = Store::open(&memory).expect("opens");
    let write = store.database.begin_write().expect("a transaction");
    write.open_table(VMS).expect("a table").insert("x", b"{".as_slice()).expect("inserted");
    write.commit().expect("committed");
    drop(store);
    let error = Store::open(&memory).expect_err("refused");
    assert!(matches!(error, StoreError::Record { kind: "VM", .. }), "{error}");
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("store.redb");
    std::fs::write(&path, vec![7_u8; 8192]).expect("written");
    let error = Store::open(&StoreLocation::File(path)).expect_err("refused");
    assert!(matches!(error, StoreError::Open { .. }), "{error}");
}

#[test]
fn a_store_of_the_first_schema_is_upgraded_once() {
    let memory = StoreLocation::Memory(MemoryStore::default());
    let (store, _) = Store::open(&memory).expect("opens");
    let old = r#"{"id":"00000000-0000-0000-0000-000000000007","spec":{"@name":"web","@vcpus":1,"@vcpus-max":2,
        "@memory-kib":131072,"@memory-max-kib":262144,"@kernel":"/k","@cmdline":"","@cpu-demand-milli":0,
        "@disk-demand-bytes-per-s":0,"Disk":{"@path":"/d.img","@device":"xvda","@read-only":true}},
        "phase":"PoweredOff","reason":"","host":null,"last_host":null,"charge":null,"memory_target_kib":131072}"#;
    let write = store.database.begin_write().expect("a transaction");
    write.open_table(META).expect("a table").insert(SCHEMA, 1).expect("inserted");
    write.open_table(VMS).expect("a table").insert("7", old.as_bytes()).expect("inserted");
    write.commit().expect("committed");
    drop(store);
    for time in ["first", "second"] {
        let (_, contents) = Store::open(&memory).expect(time);
        let [vm] = contents.vms.as_slice() else { panic!("one VM: {contents:?}") };
        let [disk] = vm.spec.disks.as_slice() else { panic!("one disk: {vm:?}") };
        assert_eq!((disk.path.as_str(), disk.read_only), ("/d.img", true), "{time}");
        assert_eq!(vm.saved, None);
    }
}
