//! What top knows and shows, and what it wants to know next. No terminal and no network here.

use std::collections::HashMap;
use std::rc::Rc;

use vmm_core::query::{Query, VmField};
use vmm_proto::v1::{HostHealth, Vm, VmTotals};

use super::columns::{HOST_FIELDS, VM_FIELDS};
use super::rows::HostRow;
use super::sample::{Plan, Sample};

/// One of the two tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Focus {
    Hosts,
    Vms,
}

/// How a table is sorted, and where in it we are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pane {
    /// Index of a column.
    pub(super) sort: usize,
    pub(super) is_descending: bool,
    pub(super) selected: usize,
    /// The first row on the screen.
    pub(super) offset: usize,
    /// Rows that fit on the screen.
    pub(super) height: usize,
}

impl Pane {
    const fn new() -> Self {
        Self { sort: 0, is_descending: false, selected: 0, offset: 0, height: 0 }
    }

    /// Moves the selection, and the screen with it.
    pub(super) fn select(&mut self, index: usize, rows: usize) {
        self.selected = index.min(rows.saturating_sub(1));
        let first = self.selected.saturating_sub(self.height.saturating_sub(1));
        let last = rows.saturating_sub(self.height);
        self.offset = self.offset.clamp(first, self.selected.max(first)).min(last);
    }

    /// The rows on the screen.
    pub(super) fn window<'a, T>(&self, rows: &'a [T]) -> &'a [T] {
        let end = self.offset.saturating_add(self.height).min(rows.len());
        rows.get(self.offset..end).unwrap_or_default()
    }

    /// The order, in the query language's words.
    fn order(&self, fields: &[Option<&str>]) -> String {
        let field = fields.get(self.sort).copied().flatten().unwrap_or("name");
        let minus = if self.is_descending { "-" } else { "" };
        // Names make the order of what is equal one that stays.
        if field == "name" { format!("{minus}{field}") } else { format!("{minus}{field},name") }
    }
}

/// Everything.
pub(super) struct State {
    pub(super) hosts: Vec<HostRow>,
    pub(super) vms: Vec<Vm>,
    pub(super) wanted: VmTotals,
    all: VmTotals,
    network: HashMap<String, u64>,
    pub(super) host_pane: Pane,
    pub(super) vm_pane: Pane,
    pub(super) focus: Focus,
    /// A query, as far as it is typed.
    pub(super) filter: String,
    /// The last of it that was right.
    query: String,
    /// What is wrong with it now.
    pub(super) wrong: Option<String>,
    /// It is being typed.
    pub(super) is_typing: bool,
    /// Only VMs of this host.
    pub(super) only_host: Option<String>,
    pub(super) shows_help: bool,
    is_paused: bool,
    /// Something else is wanted than what is shown.
    is_outdated: bool,
    note: Option<String>,
    pub(super) colours: bool,
}

impl State {
    pub(super) fn new(colours: bool) -> Self {
        Self {
            hosts: Vec::new(),
            vms: Vec::new(),
            wanted: VmTotals::default(),
            all: VmTotals::default(),
            network: HashMap::new(),
            host_pane: Pane::new(),
            vm_pane: Pane::new(),
            focus: Focus::Vms,
            filter: String::new(),
            query: String::new(),
            wrong: None,
            is_typing: false,
            only_host: None,
            shows_help: false,
            is_paused: false,
            is_outdated: false,
            note: None,
            colours,
        }
    }

    /// What was seen. The selection stays on the object that it is on.
    pub(super) fn take(&mut self, sample: Sample) {
        let host = self.hosts.get(self.host_pane.selected).map(|row| row.host.host.clone());
        let vm = self.vms.get(self.vm_pane.selected).map(|vm| vm.vm.clone());
        self.network.extend(sample.network);
        self.network.retain(|name, _| sample.hosts.iter().any(|host| host.name == *name));
        let row = |host: vmm_proto::v1::Host| HostRow {
            network_bytes_per_s: self.network.get(&host.name).copied(),
            host: Rc::new(host),
        };
        self.hosts = sample.hosts.into_iter().map(row).collect();
        (self.vms, self.wanted, self.all) = (sample.vms, sample.wanted, sample.all);
        self.note = None;
        let at = self.hosts.iter().position(|row| Some(&row.host.host) == host.as_ref());
        self.host_pane.select(at.unwrap_or(self.host_pane.selected), self.hosts.len());
        let at = self.vms.iter().position(|known| Some(&known.vm) == vm.as_ref());
        self.vm_pane.select(at.unwrap_or(self.vm_pane.selected), self.vms.len());
    }

    /// Something else is wanted from now on.
    pub(super) fn want(&mut self) {
        match Query::<VmField>::parse(&self.filter) {
            Ok(_) => {
                self.query.clone_from(&self.filter);
                self.wrong = None;
            }
            Err(error) => self.wrong = Some(error.to_string()),
        }
        self.is_outdated = true;
    }

    /// Is something else wanted since this was asked last?
    pub(super) fn take_outdated(&mut self) -> bool {
        std::mem::take(&mut self.is_outdated)
    }

    /// Why nothing newer was seen.
    pub(super) fn note(&mut self, why: String) {
        self.note = Some(why);
    }

    /// What stands below, if anything must be said.
    pub(super) fn noted(&self) -> Option<&str> {
        self.note.as_deref()
    }

    pub(super) fn is_paused(&self) -> bool {
        self.is_paused
    }

    pub(super) fn pause_or_go_on(&mut self) {
        self.is_paused = !self.is_paused;
    }

    /// What to look at in the next round.
    pub(super) fn plan(&self) -> Plan {
        let on_screen = self.host_pane.window(&self.hosts).iter();
        let query = self.query.trim();
        Plan {
            host_sort: self.host_pane.order(HOST_FIELDS),
            vm_sort: self.vm_pane.order(VM_FIELDS),
            vm_query: match (&self.only_host, query) {
                (None, query) => query.to_owned(),
                (Some(host), "") => format!("host={host:?}"),
                (Some(host), query) => format!("host={host:?} and ({query})"),
            },
            on_screen: on_screen.map(|row| row.host.name.clone()).collect(),
        }
    }

    /// The pool in figures.
    pub(super) fn totals(&self) -> Totals {
        let facts = || self.hosts.iter().filter_map(|row| row.host.facts.as_ref());
        let up = self.hosts.iter().filter(|row| row.host.health == HostHealth::Up);
        Totals {
            hosts_up: up.count(),
            vms: self.all,
            cpus: facts().map(|facts| u64::from(facts.pcpus)).sum(),
            cpu_milli: self
                .hosts
                .iter()
                .filter_map(|row| row.host.load)
                .map(|load| load.cpu_milli)
                .sum(),
            memory_kib: facts().map(|facts| facts.memory_kib).sum(),
            memory_reserved_kib: self.hosts.iter().map(|row| row.host.memory_reserved_kib).sum(),
        }
    }
}

/// The pool in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) hosts_up: usize,
    pub(super) vms: VmTotals,
    pub(super) cpus: u64,
    pub(super) cpu_milli: u64,
    pub(super) memory_kib: u64,
    pub(super) memory_reserved_kib: u64,
}
