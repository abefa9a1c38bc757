//! The simulated dom0 answers as the real one does.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use xen_bindings::sim::SimConfig;

use super::*;
use crate::dom0::{Backing, BlockDevices as _, Dom0ErrorKind, Network as _};

fn dom0() -> SimDom0 {
    let machine = SimMachine::new(SimConfig::default(), Arc::new(|| Duration::ZERO));
    SimDom0::new(&machine)
}

#[test]
fn a_file_that_grew_is_a_bigger_loop_device_only_after_it_was_told() {
    let directory = tempfile::tempdir().unwrap();
    let image = directory.path().join("disk.img");
    File::create(&image).unwrap().set_len(1024).unwrap();
    let dom0 = dom0();
    let Backing::File { id, .. } = dom0.backing(&image).unwrap() else { panic!() };
    let index = dom0.attach_loop(&image, id, false).unwrap();
    dom0.grow_file(&image, id, 4097).unwrap();
    assert_eq!(dom0.loops().unwrap()[0].bytes, 1024);
    assert_eq!(dom0.resize_loop(index).unwrap(), 4096);
    assert_eq!(dom0.loops().unwrap()[0].bytes, 4096);
    let Backing::File { id, bytes: 4097 } = dom0.backing(&image).unwrap() else { panic!() };
    assert_eq!(dom0.loops().unwrap()[0].file, Some(id));
    dom0.detach_loop(index).unwrap();
    assert_eq!(dom0.resize_loop(index).unwrap_err().kind, Dom0ErrorKind::NotFound);
}

#[test]
fn a_file_that_has_taken_anothers_name_is_not_taken_for_it() {
    let directory = tempfile::tempdir().unwrap();
    let [image, moved] = ["disk.img", "moved.img"].map(|name| directory.path().join(name));
    File::create(&image).unwrap().set_len(1024).unwrap();
    let dom0 = dom0();
    let Backing::File { id, .. } = dom0.backing(&image).unwrap() else { panic!() };
    std::fs::rename(&image, &moved).unwrap();
    File::create(&image).unwrap().set_len(1024).unwrap();
    let refused = [dom0.attach_loop(&image, id, false).map(drop), dom0.grow_file(&image, id, 2048)];
    for refused in refused {
        assert_eq!(refused.unwrap_err().kind, Dom0ErrorKind::Replaced);
    }
    assert_eq!(std::fs::metadata(&image).unwrap().len(), 1024);
    dom0.attach_loop(&moved, id, false).unwrap();
}

#[test]
fn a_block_device_is_what_the_table_says_and_a_directory_is_no_disk() {
    let (dom0, node) = (dom0(), Path::new("/dev/vg/data"));
    assert_eq!(dom0.backing(node).unwrap_err().kind, Dom0ErrorKind::NotFound);
    let number = DeviceNumber { major: 253, minor: 16 };
    dom0.set_block_device(node, number, 1 << 30);
    assert_eq!(dom0.backing(node).unwrap(), Backing::Device { number, bytes: 1 << 30 });
    assert_eq!(number.physical_device(), "fd:10");
    assert_eq!(dom0.backing(Path::new("/")).unwrap_err().kind, Dom0ErrorKind::WrongKind);
}

#[test]
fn what_is_missing_is_named() {
    let dom0 = dom0();
    let bridge = dom0.plug_port("vif1.0", "br9").unwrap_err();
    assert_eq!((bridge.kind, bridge.subject.as_str()), (Dom0ErrorKind::NotFound, "bridge br9"));
    let interface = dom0.plug_port("vif1.0", BRIDGE).unwrap_err();
    assert_eq!(interface.kind, Dom0ErrorKind::NotFound);
    assert_eq!(interface.subject, "interface vif1.0");
    dom0.unplug_port("vif1.0").unwrap();
    assert_eq!(dom0.ports().unwrap(), []);
}
