//! Every request and every reply goes over the wire and comes back; what older peers leave out is what they mean; the published
//! protocol names all of it.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::IntoDeserializer as _;
use serde::de::value::{Error as ValueError, StrDeserializer};

use super::answers::replies;
use super::samples::{header, requests, spec};
use super::*;
use crate::envelope::Direction;
use crate::v1::{Autostart, CreateVm, Spec, VmStats, verb};

const PROTOCOL: &str = include_str!("../../../docs/protocol.md");

fn written(request: &Request) -> String {
    let header = header(Direction::ClientToServer);
    write_request(&header, &Terms::default(), request).expect("written").to_string()
}

fn read(document: &str) -> Request {
    let header = header(Direction::ClientToServer);
    read_request(document.as_bytes(), &header).expect("read").1
}

/// The names of all variants of an enum, as serde lists them when it meets another one.
pub(super) fn variants<'de, T: Deserialize<'de> + std::fmt::Debug>() -> BTreeSet<String> {
    let other: StrDeserializer<'de, ValueError> = "Levitate".into_deserializer();
    let error = T::deserialize(other).expect_err("no such variant").to_string();
    let (_, listed) = error.split_once("expected").expect("a list");
    listed.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn element(document: &str) -> String {
    let body = document.split_once("><").expect("a body").1;
    body.chars().take_while(char::is_ascii_alphanumeric).collect()
}

#[test]
fn every_request_survives_and_is_called_what_the_table_says() {
    let mut seen = BTreeSet::new();
    for request in requests() {
        let document = written(&request);
        assert_eq!(read(&document), request, "{document}");
        assert_eq!(element(&document), verb(&request).name);
        seen.insert(verb(&request).name.to_owned());
    }
    assert_eq!(seen, variants::<Request>(), "a sample of each");
}

#[test]
fn every_reply_survives() {
    let (header, mut seen) = (header(Direction::ServerToClient), BTreeSet::new());
    for reply in replies() {
        let document = write_response(&header, &Ok(reply.clone())).expect("written");
        let back = read_response(document.as_bytes(), &header).expect("read");
        assert_eq!(back, Ok(reply), "{}", document.as_str());
        seen.insert(element(&document));
    }
    assert_eq!(seen, variants::<Reply>(), "a sample of each");
}

#[test]
fn what_an_older_peer_does_not_say_is_what_it_means() {
    let old = "<Spec name=\"web\" vcpus=\"1\" vcpus-max=\"2\" memory-kib=\"131072\" \
        memory-max-kib=\"131072\" kernel=\"/k\" cmdline=\"\" cpu-demand-milli=\"0\" \
        disk-demand-bytes-per-s=\"0\"><Disk path=\"/d\" device=\"xvda\" read-only=\"false\"/></Spec>";
    let sample = written(&Request::CreateVm(CreateVm::default()));
    let start = sample.find("<Spec").expect("a specification");
    let end = sample.find("</CreateVm>").expect("its end");
    let Request::CreateVm(create) = read(&[&sample[..start], old, &sample[end..]].concat()) else {
        panic!("a CreateVm");
    };
    let full = spec();
    let expected = Spec {
        name: "web".into(),
        vcpus: 1,
        vcpus_max: 2,
        memory_kib: 131_072,
        memory_max_kib: 131_072,
        kernel: "/k".into(),
        disks: vec![crate::v1::Disk { path: "/d".into(), device: "xvda".into(), read_only: false }],
        ..Spec::default()
    };
    assert_eq!(create.spec, expected);
    assert_ne!(create.spec.kind, full.kind);
}

/// Takes attributes and elements away that were not there at first, and reads the rest.
#[test]
fn messages_without_the_newer_attributes_are_read() {
    let without = |document: String, attributes: &[&str]| {
        attributes.iter().fold(document, |document, name| {
            let (before, after) = document.split_once(&format!(" {name}=\"")).expect(name);
            let (_, after) = after.split_once('"').expect("a value");
            format!("{before}{after}")
        })
    };
    let find = |name: &str| {
        let all = requests();
        written(all.iter().find(|request| verb(request).name == name).expect("a sample"))
    };
    for (name, attributes) in [
        ("DetachDisk", &["force"][..]),
        ("DetachNic", &["force"]),
        ("BuildVm", &["restore-from", "kind", "memory-min-kib"]),
        ("RestoreVm", &["path"]),
        ("SaveVm", &["format"]),
        ("AwaitMigration", &["devices"]),
        ("ListHosts", &["where", "sort", "after", "count-max", "totals"]),
        ("ListVms", &["where", "sort", "totals"]),
        ("WaitEvents", &["pools", "sites"]),
        ("ConfigureVm", &["memory-min-kib", "enabled", "affinity", "affinity-soft"]),
    ] {
        let request = read(&without(find(name), attributes));
        assert_eq!(verb(&request).name, name);
        if let Request::ConfigureVm(configure) = request {
            let meant = Autostart { enabled: true, order: 0, delay_s: 0 };
            assert_eq!(configure.autostart, Some(meant));
        }
    }
    let header = header(Direction::ServerToClient);
    let reply = |name: &str| {
        let mut documents = replies()
            .into_iter()
            .map(|reply| write_response(&header, &Ok(reply)).expect("written").to_string());
        documents.rfind(|document| element(document) == name).expect("a sample")
    };
    for (name, attributes) in [
        ("MigrationState", &["started-ms", "used-ms", "heard-ms"][..]),
        ("AgentReport", &["shell-count", "shell-memory-kib"][..]),
        ("VmStats", &["running", "blocked", "pcpu", "errors", "network-bytes-per-s"]),
        ("HostStats", &["xen-version", "xen-capabilities", "busy-milli", "latency-us"]),
        ("Vm", &["saved-path", "saved-host", "pool", "site", "folder", "notes"]),
        ("Hosts", &["next", "pool", "site", "notes"]),
    ] {
        let document = without(reply(name), attributes);
        let reply = read_response(document.as_bytes(), &header).expect("read").expect("no fault");
        if let Reply::VmStats(VmStats { vcpus, .. }) = reply {
            assert!(!vcpus[0].running && !vcpus[0].blocked);
        }
    }
}

#[test]
fn the_published_protocol_names_every_verb_reply_phase_and_fault() {
    let rows: BTreeSet<&str> =
        PROTOCOL.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next()).collect();
    let missing = |names: BTreeSet<String>| -> Vec<String> {
        names.into_iter().filter(|name| !rows.contains(name.as_str())).collect()
    };
    assert_eq!(missing(variants::<Request>()), Vec::<String>::new());
    assert_eq!(missing(variants::<Reply>()), Vec::<String>::new());
    assert_eq!(missing(variants::<crate::v1::FaultCode>()), Vec::<String>::new());
    assert_eq!(missing(variants::<crate::v1::VmPhase>()), Vec::<String>::new());
}

/// A row of the table of verbs says who answers whom, whether it changes anything and what it costs, as the code does.
#[test]
fn the_published_table_agrees_with_the_code() {
    for request in requests() {
        let verb = verb(&request);
        let row = PROTOCOL
            .lines()
            .find(|line| line.starts_with(&format!("| `{}` |", verb.name)))
            .unwrap_or_else(|| panic!("no row of {}", verb.name));
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let who = match (verb.manager, verb.agent) {
            (Some(_), true) => "both",
            (Some(_), false) => "manager",
            (None, _) => "agent",
        };
        let changes = if verb.mutating { "yes" } else { "no" };
        let least = verb.manager.map_or("–", |permission| permission.least().as_str());
        let cost = verb.cost.as_str();
        assert_eq!(cells.get(2..6), Some(&[who, changes, least, cost][..]), "{row}");
    }
}

/// What changes something is not a viewer's, and each verb has somebody who answers it.
#[test]
fn nobody_who_may_only_look_changes_anything() {
    for request in requests() {
        let verb = verb(&request);
        assert!(verb.manager.is_some() || verb.agent, "{}", verb.name);
        let view = verb.manager == Some(crate::v1::Permission::View);
        assert!(!(verb.mutating && view), "{}", verb.name);
    }
}

/// Every attribute of every verb and of what it carries stands in the text, with the unit in its name.
#[test]
fn the_published_protocol_names_every_attribute() {
    let header = header(Direction::ServerToClient);
    let answers = replies()
        .into_iter()
        .map(|reply| write_response(&header, &Ok(reply)).expect("written").to_string());
    let bodies = requests().iter().map(written).chain(answers).collect::<Vec<_>>();
    let mut names = BTreeSet::new();
    for document in &bodies {
        let (_, body) = document.split_once("><").expect("a body");
        for part in body.split("=\"").collect::<Vec<_>>().split_last().expect("parts").1 {
            names.extend(part.rsplit(' ').next().map(str::to_owned));
        }
    }
    let quoted = |name: &String| PROTOCOL.contains(&format!("`{name}`"));
    let missing: Vec<&String> = names.iter().filter(|name| !quoted(name)).collect();
    assert!(missing.is_empty(), "not in docs/protocol.md: {missing:?}");
}

/// The fields of queries stand in the text, in the row of their object.
#[test]
fn the_published_protocol_names_every_field_of_queries() {
    use vmm_core::query::{Fields, GroupField, HostField, PoolField, SiteField, VmField};

    fn check<F: Fields>(object: &str) {
        let start = format!("| {object} | `");
        let row = PROTOCOL.lines().find(|line| line.starts_with(&start)).expect(object);
        let listed: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        let known: Vec<&str> = F::all().iter().map(|field| field.field().name).collect();
        assert_eq!(listed, known, "fields of {object}");
    }
    check::<VmField>("VM");
    check::<HostField>("host");
    check::<PoolField>("pool");
    check::<SiteField>("site");
    check::<GroupField>("group");
}
