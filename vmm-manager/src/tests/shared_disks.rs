//! Disks that hosts share: between which hosts a VM with one moves, and who else gets the disk.

use vmm_proto::v1::{self, FaultCode, Request};

use super::moves::{check_end, migrate, pair_with, refused};
use super::plans::disk;
use super::pool::spec;

#[tokio::test(start_paused = true)]
async fn a_vm_with_a_disk_moves_only_between_hosts_that_share_its_directory() {
    let store = |path: &str| v1::SharedStore { name: "images".into(), path: path.into() };
    for (here, there, expect) in [
        (None, None, Err("lies below no directory")),
        (Some("/srv"), None, Err("does not report the shared directory images")),
        (None, Some("/srv"), Err("lies below no directory")),
        (Some("/srv"), Some("/mnt"), Err("does not report the shared directory images")),
        (Some("/other"), Some("/other"), Err("lies below no directory")),
        (Some("/srv"), Some("/srv"), Ok(())),
    ] {
        let what = format!("{here:?} and {there:?}");
        let (pool, id) = pair_with(vec![disk("xvda")]).await;
        pool.agents.with("a", |host| host.stores = here.map(store).into_iter().collect());
        pool.agents.with("b", |host| host.stores = there.map(store).into_iter().collect());
        pool.settle().await;
        match expect {
            Ok(()) => {
                pool.done(migrate()).await;
                assert_eq!(check_end(&pool, &id, &what).await, "b");
            }
            Err(says) => {
                let fault = refused(&pool, migrate()).await;
                assert_eq!(fault.code, FaultCode::NoCapacity, "{what}");
                assert!(fault.message.contains(says), "{what}: {fault}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_hosts_share_is_one_vms_on_all_of_them() {
    let store = v1::SharedStore { name: "images".into(), path: "/srv".into() };
    for shared in [false, true] {
        let (pool, _) = pair_with(vec![disk("xvda")]).await;
        let stores = Vec::from_iter(shared.then(|| store.clone()));
        pool.agents.with("b", |host| host.stores = stores);
        pool.settle().await;
        // What the first VM's host shares is not asked: it may not have been heard yet.
        let request = |host: &str| {
            let spec = v1::Spec { disks: vec![disk("xvda")], ..spec("twin") };
            let pins = vec![v1::Pin { host: host.to_owned() }];
            Request::CreateVm(v1::CreateVm { spec, pins, ..v1::CreateVm::default() })
        };
        let fault = refused(&pool, request("a")).await;
        assert_eq!(fault.code, FaultCode::NoCapacity, "{fault}");
        if shared {
            let fault = refused(&pool, request("b")).await;
            assert_eq!(fault.code, FaultCode::NoCapacity, "{fault}");
        } else {
            // Another file of the same name.
            pool.done(request("b")).await;
        }
    }
}
