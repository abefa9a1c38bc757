use super::*;

#[test]
fn what_is_missing_is_named_and_gone_is_unplugged() {
    let dom0 = LinuxDom0::default();
    let fault = dom0.plug_port("vif77.0", "nobridge0").unwrap_err();
    assert_eq!((fault.kind, fault.subject.as_str()), (Dom0ErrorKind::NotFound, "bridge nobridge0"));
    let fault = dom0.plug_port("vif77.0", "lo").unwrap_err();
    assert_eq!(fault.kind, Dom0ErrorKind::NotFound);
    dom0.unplug_port("vif77.0").unwrap();
    dom0.unplug_port("a-name-that-no-interface-can-have").unwrap();
    assert!(!dom0.bridge_exists("lo").unwrap());
    assert!(!dom0.bridge_exists("").unwrap());
    dom0.ports().unwrap();
}
