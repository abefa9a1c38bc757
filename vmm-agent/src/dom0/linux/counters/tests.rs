use super::*;

#[test]
fn what_is_not_there_counts_nothing() {
    let dom0 = LinuxDom0::default();
    let domid = DomId::new(7).unwrap();
    assert_eq!(dom0.vbd_counters(domid, 51712).unwrap(), None);
    assert_eq!(dom0.vif_counters(domid, 0).unwrap(), None);
}
