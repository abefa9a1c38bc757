//! Images stay their VM's until nothing of it can write to them any more.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use vmm_agent::dom0::sim::SimDom0;
use vmm_agent::dom0::{Backing, DeviceNumber};
use vmm_proto::v1::{FaultCode, VmPhase};
use xen_bindings::sim::{Behaviour, Op};
use xen_bindings::{DomainConfig, DomainHandle, GuestKind, StoreError, StorePath};

use crate::host::{Host, TestVm};

/// Trees cannot be removed, so backends keep what they have: rings of guests that are gone, and images.
fn hold_backends(host: &Host) {
    host.machine.faults().fail_always(Op::StoreRemove, StoreError::Other("EIO".into()));
}

/// Another VM that wants to write to the image.
fn rival(host: &Host, path: &str) -> TestVm {
    let mut rival = host.vm(2);
    rival.spec.disks = host.vm(1).spec.disks;
    rival.spec.disks[0].path = path.to_owned();
    rival
}

async fn assert_refused(host: &Host, rival: &TestVm) {
    let fault = host.build(rival).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::Conflict, "{fault}");
}

#[tokio::test(start_paused = true)]
async fn the_image_of_a_vm_whose_domain_does_not_end_is_not_given_away() {
    let mut host = Host::with_oxenstored().await;
    let vm = host.vm(1);
    let rival = rival(&host, &vm.spec.disks[0].path);
    host.build(&vm).await.unwrap();
    host.sleep(20).await;
    hold_backends(&host);
    for _ in 0..2 {
        let fault = host.destroy(&vm).await.unwrap_err();
        assert_eq!(fault.code, FaultCode::HostFailed, "{fault}");
        assert!(fault.message.contains("await-domain-gone, close-disks; destroy"), "{fault}");
        assert_eq!(host.phase(&vm).await, VmPhase::Preserved, "it is on this host");
        assert_eq!(host.backend.dom0.loops().unwrap().len(), 1);
        assert_refused(&host, &rival).await;
    }
    host.kill_agent().await;
    host.start_agent().await;
    assert_refused(&host, &rival).await;
    host.machine.faults().clear();
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
    host.build(&rival).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_vm_that_powers_itself_off_and_stays_is_no_success() {
    let host = Host::with_oxenstored().await;
    let vm = host.vm(1);
    host.build(&vm).await.unwrap();
    host.sleep(20).await;
    hold_backends(&host);
    let fault = host.shutdown(&vm, 30).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::HostFailed, "{fault}");
    host.machine.faults().clear();
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_disk_that_was_half_attached_and_cannot_be_taken_back_keeps_its_image() {
    for finish in [Host::attach_disk_request, |vm: &TestVm, disk: vmm_proto::v1::Disk| {
        Host::detach_disk_request(vm, &disk.device, false)
    }] {
        let host = Host::new().await;
        let mut vm = host.vm(1);
        vm.spec.disks.clear();
        host.build(&vm).await.unwrap();
        host.sleep(20).await;
        let domid = host.domid(&vm).await;
        let disk = host.disk("xvdb");
        host.machine.set_guest_behaviour(domid, Behaviour::Deaf);
        hold_backends(&host);
        let request = Host::attach_disk_request(&vm, disk.clone());
        let fault = host.change(request).await.unwrap_err();
        assert!(fault.message.contains("left over"), "{fault}");
        assert_eq!(host.backend.dom0.loops().unwrap().len(), 1);
        assert_refused(&host, &rival(&host, &disk.path)).await;
        assert_eq!(host.phase(&vm).await, VmPhase::Running);
        host.machine.faults().clear();
        host.machine.set_guest_behaviour(domid, Behaviour::Cooperative);
        host.change(finish(&vm, disk.clone())).await.unwrap();
        let disks = host.stats(&vm).await.unwrap().disks.len();
        assert_eq!(host.backend.dom0.loops().unwrap().len(), disks);
        host.destroy(&vm).await.unwrap();
        host.assert_clean();
    }
}

#[tokio::test(start_paused = true)]
async fn a_xenstore_that_lost_its_content_takes_no_running_vm_apart() {
    let mut host = Host::new().await;
    let vm = host.vm(1);
    let rival = rival(&host, &vm.spec.disks[0].path);
    host.build(&vm).await.unwrap();
    host.sleep(20).await;
    let domid = host.domid(&vm).await;
    host.kill_agent().await;
    let home = StorePath::domain(domid);
    for path in [home.as_str(), "/vm", "/local/domain/0/backend"] {
        host.backend.xen.store.remove(&StorePath::new(path).unwrap()).unwrap();
    }
    for _ in 0..2 {
        host.start_agent().await;
        host.sleep(20).await;
        assert_eq!((host.phase(&vm).await, host.domid(&vm).await), (VmPhase::Running, domid));
        assert_eq!(host.backend.dom0.loops().unwrap().len(), 1);
        assert_refused(&host, &rival).await;
        let record = std::fs::read_to_string(host.path(&format!("state/vms/{}.json", vm.id)));
        assert!(record.unwrap().contains("disk.img"), "the VM has its disk");
        host.kill_agent().await;
    }
    host.start_agent().await;
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_leases_what_is_half_attached_and_block_devices() {
    let node = PathBuf::from("/dev/vg/data");
    let (mut host, _dom0) =
        host_with_block_device(&node, DeviceNumber { major: 253, minor: 1 }).await;
    let mut vm = host.vm(1);
    vm.spec.disks[0].path = node.display().to_string();
    host.build(&vm).await.unwrap();
    host.sleep(20).await;
    host.machine.set_guest_behaviour(host.domid(&vm).await, Behaviour::Deaf);
    hold_backends(&host);
    let half = host.disk("xvdb");
    host.change(Host::attach_disk_request(&vm, half.clone())).await.unwrap_err();
    host.kill_agent().await;
    host.start_agent().await;
    for path in [&vm.spec.disks[0].path, &half.path] {
        assert_refused(&host, &rival(&host, path)).await;
    }
    host.machine.faults().clear();
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_restarted_agent_leases_the_block_device_that_is_served_and_not_what_has_its_name() {
    let [first, second] = [1, 2].map(|minor| DeviceNumber { major: 253, minor });
    let [node, other] = ["/dev/sdb", "/dev/sdc"].map(Path::new);
    let (mut host, dom0) = host_with_block_device(node, first).await;
    let mut vm = host.vm(1);
    vm.spec.disks[0].path = node.display().to_string();
    host.build(&vm).await.unwrap();
    host.kill_agent().await;
    dom0.set_block_device(node, second, 1 << 20);
    dom0.set_block_device(other, first, 1 << 20);
    host.start_agent().await;
    assert_refused(&host, &rival(&host, &other.display().to_string())).await;
    let another = rival(&host, &node.display().to_string());
    host.build(&another).await.unwrap();
    for vm in [vm, another] {
        host.destroy(&vm).await.unwrap();
    }
    host.assert_clean();
}

/// A host with a block device, and what its dom0 is made of.
async fn host_with_block_device(node: &Path, number: DeviceNumber) -> (Host, Arc<SimDom0>) {
    let mut host = Host::new().await;
    host.kill_agent().await;
    let dom0 = Arc::new(SimDom0::new(&host.machine));
    dom0.set_block_device(node, number, 1 << 20);
    host.backend.dom0 = dom0.clone();
    host.start_agent().await;
    (host, dom0)
}

/// The VM is refused for what others do, and nothing of it stays.
async fn assert_in_use(host: &Host, vm: &TestVm, by: &str) {
    let fault = host.build(vm).await.unwrap_err();
    assert_eq!(fault.code, FaultCode::Conflict, "{fault}");
    assert!(fault.message.contains(by), "{fault}");
    assert!(fault.message.contains("everything is taken back"), "{fault}");
}

#[tokio::test(start_paused = true)]
async fn an_image_under_a_loop_device_of_others_is_theirs_unless_both_read() {
    let host = Host::new().await;
    let mut vm = host.vm(1);
    let disk = host.dir.path().join("disk.img");
    let dom0 = host.backend.dom0.clone();
    let Backing::File { id, .. } = dom0.backing(&disk).unwrap() else { panic!() };
    for (ours, theirs, goes) in
        [(false, false, false), (false, true, false), (true, false, false), (true, true, true)]
    {
        let index = dom0.attach_loop(&disk, id, theirs).unwrap();
        vm.spec.disks[0].read_only = ours;
        if goes {
            host.build(&vm).await.unwrap();
        } else {
            assert_in_use(&host, &vm, &index.path()).await;
        }
        dom0.detach_loop(index).unwrap();
    }
    host.destroy(&vm).await.unwrap();
    vm.spec.disks[0].read_only = false;
    host.build(&vm).await.unwrap();
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn a_block_device_that_dom0_uses_is_given_to_no_vm() {
    let (node, number) = (Path::new("/dev/vg/data"), DeviceNumber { major: 253, minor: 1 });
    let (host, dom0) = host_with_block_device(node, number).await;
    let mut vm = host.vm(1);
    vm.spec.disks[0].path = node.display().to_string();
    dom0.set_use(number, Some("it is mounted on /srv"));
    assert_in_use(&host, &vm, "mounted on /srv").await;
    dom0.set_use(number, None);
    host.build(&vm).await.unwrap();
    host.destroy(&vm).await.unwrap();
    host.assert_clean();
}

#[tokio::test(start_paused = true)]
async fn what_a_guest_of_another_toolstack_has_is_not_given_away() {
    let (node, number) = (Path::new("/dev/vg/data"), DeviceNumber { major: 253, minor: 1 });
    let (host, _dom0) = host_with_block_device(node, number).await;
    let config = DomainConfig::new(DomainHandle([9; 16]), GuestKind::Pvh, 1);
    let domid = host.backend.xen.control.create(&config).unwrap().domid();
    let store = &host.backend.xen.store;
    let image = host.path("disk.img");
    let device = node.display().to_string();
    for (kind, key, value, path) in [
        ("vbd", "physical-device", "fd:1".to_owned(), &device),
        ("qdisk", "params", format!("qcow2:{image}"), &image),
        ("qdisk", "params", format!("raw:{device}"), &device),
    ] {
        let mut vm = host.vm(1);
        vm.spec.disks[0].path.clone_from(path);
        let home = StorePath::new(format!("/local/domain/0/backend/{kind}/{domid}")).unwrap();
        store.write(&home.join(&format!("51712/{key}")).unwrap(), value.as_bytes()).unwrap();
        store.write(&home.join("51712/mode").unwrap(), b"w").unwrap();
        assert_in_use(&host, &vm, &format!("domain {domid} has it")).await;
        // Both read.
        store.write(&home.join("51712/mode").unwrap(), b"r").unwrap();
        vm.spec.disks[0].read_only = true;
        host.build(&vm).await.unwrap();
        host.destroy(&vm).await.unwrap();
        store.remove(&home).unwrap();
        vm.spec.disks[0].read_only = false;
        host.build(&vm).await.unwrap();
        host.destroy(&vm).await.unwrap();
    }
}
