//! A journal that cannot be written: nothing is told as done that the next agent would not know.

use vmm_proto::v1::{FaultCode, Request, SaveVm, SavedFormat, SuspendVm, VmPhase};

use crate::host::{Host, TestVm};

/// In the way of each write of the VM's record, as a full disk is.
struct Obstacle(String);

impl Obstacle {
    fn put(host: &Host, vm: &TestVm) -> Self {
        let path = host.path(&format!("state/vms/{}.new", vm.id));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Obstacle {
    fn drop(&mut self) {
        std::fs::remove_dir(&self.0).unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_destroy_that_is_not_on_disk_is_not_done() {
    let host = Host::new().await;
    for number in [1, 2] {
        let vm = host.vm(number);
        host.build(&vm).await.unwrap();
        let full = Obstacle::put(&host, &vm);
        let fault = host.destroy(&vm).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::HostFailed, "{fault}");
        assert!(fault.message.contains("its end is not on disk"), "{fault}");
        assert_eq!(host.phase(&vm).await, VmPhase::Preserved);
        drop(full);
        host.destroy(&vm).await.unwrap();
        host.assert_clean();
        assert!(host.report().await.vms.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_save_that_is_not_on_disk_leaves_the_guest_where_it_was() {
    let mut host = Host::new().await;
    let vm = host.vm(1);
    host.build(&vm).await.unwrap();
    host.sleep(20).await;
    let suspend = SuspendVm { vm: vm.id.clone(), wait_ms_max: 10_000 };
    host.change(Request::SuspendVm(suspend)).await.unwrap();
    let file = host.path("saved");
    let format = SavedFormat::default();
    let request = SaveVm { vm: vm.id.clone(), path: file.clone(), format, wait_ms_max: 10_000 };
    let fill = async {
        while !std::fs::exists(&file).unwrap() {
            tokio::task::yield_now().await;
        }
        Obstacle::put(&host, &vm)
    };
    let (outcome, full) = tokio::join!(host.change(Request::SaveVm(request)), fill);
    assert_eq!(outcome.unwrap_err().code, FaultCode::HostFailed);
    assert_eq!(host.phase(&vm).await, VmPhase::Suspended);
    assert!(!std::fs::exists(&file).unwrap());
    drop(full);
    host.kill_agent().await;
    host.start_agent().await;
    host.sleep(5).await;
    assert_eq!(host.phase(&vm).await, VmPhase::Running);
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_guest_that_reboots_waits_for_the_journal() {
    let host = Host::new().await;
    let vm = host.vm(1);
    for destroyed in [false, true] {
        host.build(&vm).await.unwrap();
        host.sleep(5).await;
        let full = Obstacle::put(&host, &vm);
        let reboot = host.reboot(&vm, 30);
        let meanwhile = async {
            host.sleep(300).await;
            assert_eq!(host.phase(&vm).await, VmPhase::Rebooting);
            if destroyed {
                assert_eq!(host.destroy(&vm).await.unwrap_err().code, FaultCode::HostFailed);
            }
            drop(full);
        };
        let (rebooted, ()) = tokio::join!(reboot, meanwhile);
        assert_eq!(rebooted.map_err(|fault| fault.code).is_ok(), !destroyed);
        if !destroyed {
            assert_eq!(host.phase(&vm).await, VmPhase::Running);
        }
        host.destroy(&vm).await.unwrap();
        host.assert_clean();
    }
}
