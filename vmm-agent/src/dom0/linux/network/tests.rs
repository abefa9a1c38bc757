//! Bridges and ports on a real Linux, in network namespaces of their own.
#![expect(
    clippy::disallowed_methods,
    reason = "a network namespace of one's own takes another process"
)]

use std::process::Command;

use netlink_packet_core::{NLM_F_ACK, NLM_F_CREATE, NLM_F_EXCL};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{InfoKind, LinkInfo, LinkMessage};
use xen_bindings::DomId;

use super::*;
use crate::dom0::Counters as _;

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

/// Says that a test runs in a network namespace of its own.
const INSIDE: &str = "VMM_AGENT_TEST_NETNS";

/// Runs one test of this program in a network namespace where it may make bridges.
fn in_own_namespace(test: &str, inside: fn()) {
    if std::env::var_os(INSIDE).is_some() {
        return inside();
    }
    let this = std::env::current_exe().unwrap();
    let mut unshare = Command::new("unshare");
    unshare.args(["--net", "--map-root-user"]).arg(this).env(INSIDE, "1");
    let output = unshare.args(["--exact", test, "--nocapture"]).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let fault = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.contains("1 passed"), "{text}{fault}");
}

fn make(name: &str, kind: InfoKind, mtu: u32) {
    let mut link = LinkMessage::default();
    link.attributes.push(LinkAttribute::IfName(name.into()));
    link.attributes.push(LinkAttribute::Mtu(mtu));
    link.attributes.push(LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)]));
    let flags = NLM_F_ACK | NLM_F_CREATE | NLM_F_EXCL;
    Route::open().unwrap().exchange(RouteNetlinkMessage::NewLink(link), flags).unwrap();
}

fn link(name: &str) -> Link {
    Route::open().unwrap().link(name).unwrap().unwrap()
}

#[test]
fn a_port_is_plugged_as_vif_bridge_does_it() {
    let test = "dom0::linux::network::tests::a_port_is_plugged_as_vif_bridge_does_it";
    in_own_namespace(test, || {
        let dom0 = LinuxDom0::default();
        make("br0", InfoKind::Bridge, 1400);
        make("br1", InfoKind::Bridge, 1300);
        make("vif5.0", InfoKind::Veth, 1500);
        make("eth7", InfoKind::Veth, 1500);
        assert!(dom0.bridge_exists("br0").unwrap());
        assert!(!dom0.bridge_exists("eth7").unwrap());

        let kinds = |interface: &str, bridge: &str| {
            let fault = dom0.plug_port(interface, bridge).unwrap_err();
            (fault.kind, fault.subject)
        };
        let wrong = Dom0ErrorKind::WrongKind;
        assert_eq!(kinds("vif5.0", "eth7"), (wrong, "bridge eth7".into()));
        assert_eq!(kinds("br1", "br0"), (wrong, "interface br1".into()));
        assert_eq!(kinds("lo", "br0"), (wrong, "interface lo".into()));
        assert_eq!(kinds("vif6.0", "br0"), (Dom0ErrorKind::NotFound, "interface vif6.0".into()));

        let ports =
            |bridge: &str| vec![BridgePort { interface: "vif5.0".into(), bridge: bridge.into() }];
        for (bridge, mtu) in [("br0", 1400), ("br0", 1400), ("br1", 1300)] {
            dom0.plug_port("vif5.0", bridge).unwrap();
            assert_eq!(dom0.ports().unwrap(), ports(bridge));
            let port = link("vif5.0");
            assert!(port.up);
            assert_eq!((port.mtu, port.address), (Some(mtu), PORT_MAC.to_vec()));
        }
        dom0.unplug_port("vif5.0").unwrap();
        dom0.unplug_port("vif5.0").unwrap();
        assert_eq!(dom0.ports().unwrap(), []);
        assert!(!link("vif5.0").up);
    });
}

#[test]
fn an_address_does_not_stay_on_a_port() {
    let test = "dom0::linux::network::tests::an_address_does_not_stay_on_a_port";
    in_own_namespace(test, || {
        use netlink_packet_route::AddressFamily;
        use netlink_packet_route::address::{AddressAttribute, AddressMessage};
        let local = std::net::IpAddr::from([192, 0, 2, 1]);
        make("br0", InfoKind::Bridge, 1500);
        make("vif5.0", InfoKind::Veth, 1500);
        let route = Route::open().unwrap();
        let mut address = AddressMessage::default();
        address.header.index = link("vif5.0").index;
        address.header.family = AddressFamily::Inet;
        address.header.prefix_len = 24;
        address.attributes.push(AddressAttribute::Local(local));
        let addresses = || {
            let all = RouteNetlinkMessage::GetAddress(AddressMessage::default());
            let answers = route.exchange(all, netlink_packet_core::NLM_F_DUMP).unwrap();
            let ours = |answer: &RouteNetlinkMessage| match answer {
                RouteNetlinkMessage::NewAddress(address) => {
                    address.attributes.contains(&AddressAttribute::Local(local))
                }
                _ => false,
            };
            answers.iter().filter(|answer| ours(answer)).count()
        };
        let flags = NLM_F_ACK | NLM_F_CREATE;
        route.exchange(RouteNetlinkMessage::NewAddress(address), flags).unwrap();
        assert_eq!(addresses(), 1);
        LinuxDom0::default().plug_port("vif5.0", "br0").unwrap();
        assert_eq!(addresses(), 0);
    });
}

#[test]
fn a_guests_interface_is_counted_for_it_and_not_for_the_host() {
    let test = "dom0::linux::network::tests::\
        a_guests_interface_is_counted_for_it_and_not_for_the_host";
    in_own_namespace(test, || {
        let dom0 = LinuxDom0::default();
        make("br0", InfoKind::Bridge, 1500);
        make("vif5.1", InfoKind::Veth, 1500);
        let domid = DomId::new(5).unwrap();
        assert!(dom0.vif_counters(domid, 1).unwrap().is_some());
        assert_eq!(dom0.vif_counters(domid, 0).unwrap(), None);
        let nics: Vec<String> = dom0.host_nics().unwrap().into_keys().collect();
        assert_eq!(nics, ["br0"]);
    });
}
