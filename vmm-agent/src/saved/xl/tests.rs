//! What the header says, and what libxl's own says.

use vmm_core::id::VmId;
use vmm_core::units::Kib;
use vmm_core::vm::{DiskSpec, GuestKind};

use super::config::Config;
use crate::saved::Size;
use crate::saved::tests::spec;

/// A few lines of what Xen 4.17's libxl writes; the rest is like it.
const LIBXL: &str = r#"{
    "c_info": {
        "type": "pvh", "name": "a", "uuid": "03030303-0303-0303-0303-030303030303",
        "run_hotplug_scripts": "True", "passthrough": "disabled"
    },
    "b_info": {
        "max_vcpus": 2, "avail_vcpus": [0], "vcpu_hard_affinity": [[0, 1]], "numa_placement": "True",
        "max_memkb": 65536, "target_memkb": 61440, "shadow_memkb": 1536, "sched_params": {"weight": 256},
        "claim_mode": "False", "kernel": "/k", "type.pvh": {}, "arch_arm": {}, "arch_x86": {}
    },
    "disks": [{
        "pdev_path": "/d", "vdev": "xvda", "backend": "phy", "format": "raw", "readwrite": 1,
        "discard_enable": "True", "colo_enable": "False"
    }],
    "nics": [{"devid": 0, "mac": "00:16:3e:00:00:01", "bridge": "br0", "nictype": "vif"}],
    "on_reboot": "restart"
}"#;

#[test]
fn what_libxl_says_of_a_guest_is_understood() {
    let config = Config::from_json(LIBXL).unwrap();
    assert_eq!(config.vm(), Some(VmId::from_bytes([3; 16])));
    assert_eq!(config.size(), Size { memory: Kib(61440), vcpus_online: 1 });
    let mut spec = spec();
    assert_eq!(config.differs(&spec), None);
    assert!(!config.has_disks(&spec));
    spec.disks = vec![DiskSpec { path: "/d".into(), device: "xvda".into(), read_only: false }];
    assert!(config.has_disks(&spec));
    spec.vcpus_max = 1;
    assert!(config.differs(&spec).unwrap().contains("2 vCPUs"));
    spec.kind = GuestKind::Pv;
    assert!(config.differs(&spec).unwrap().contains("pvh"));
    for not_ours in ["{}", r#"{"c_info": {"uuid": "x"}}"#] {
        assert_eq!(Config::from_json(not_ours).unwrap().vm(), None);
    }
    assert!(Config::from_json("[1").is_err());
}

#[test]
fn what_is_written_is_what_is_read() {
    let (vm, size) = (VmId::from_bytes([7; 16]), Size { memory: Kib(65000), vcpus_online: 2 });
    let mut spec = spec();
    spec.disks = vec![DiskSpec { path: "/d".into(), device: "xvdb".into(), read_only: true }];
    let text = Config::of(vm, &spec, size).to_json().unwrap();
    let config = Config::from_json(&text).unwrap();
    assert_eq!((config.vm(), config.size()), (Some(vm), size));
    assert_eq!(config.differs(&spec), None);
    assert!(config.has_disks(&spec));
    // A union's kind stands in its name, and there is one of it.
    assert!(text.contains(r#""type.pvh":{}"#) && !text.contains("type.pv\""), "{text}");
}
