//! What top knows and shows: sorted, filtered, scrolled. No terminal and no network here.

use std::collections::HashMap;
use std::rc::Rc;

use vmm_proto::v1::{Host, HostHealth, Vm, VmPhase};

use super::columns::{HOSTS, VMS};
use super::rows::{HostRow, Used, VmRow};
use super::sample::{Plan, Sample};
use crate::output::{Column, keeps_word, sort_by};

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
}

/// Everything.
pub(super) struct State {
    all_hosts: Vec<Rc<Host>>,
    all_vms: Vec<Rc<Vm>>,
    used: HashMap<String, Used>,
    turn: String,
    pub(super) hosts: Vec<HostRow>,
    pub(super) vms: Vec<VmRow>,
    pub(super) host_pane: Pane,
    pub(super) vm_pane: Pane,
    pub(super) focus: Focus,
    /// Words of which each must fit.
    pub(super) filter: String,
    /// The filter is being typed.
    pub(super) is_typing: bool,
    /// Only VMs of this host.
    pub(super) only_host: Option<String>,
    pub(super) shows_help: bool,
    is_paused: bool,
    note: Option<String>,
    pub(super) colours: bool,
}

impl State {
    pub(super) fn new(colours: bool) -> Self {
        Self {
            all_hosts: Vec::new(),
            all_vms: Vec::new(),
            used: HashMap::new(),
            turn: String::new(),
            hosts: Vec::new(),
            vms: Vec::new(),
            host_pane: Pane::new(),
            vm_pane: Pane::new(),
            focus: Focus::Vms,
            filter: String::new(),
            is_typing: false,
            only_host: None,
            shows_help: false,
            is_paused: false,
            note: None,
            colours,
        }
    }

    /// What was seen.
    pub(super) fn take(&mut self, sample: Sample) {
        self.all_hosts = sample.hosts.into_iter().map(Rc::new).collect();
        self.all_vms = sample.vms.into_iter().map(Rc::new).collect();
        self.used.extend(sample.used);
        // Who does not run uses nothing; who is gone is forgotten.
        let running: HashMap<&str, bool> =
            self.all_vms.iter().map(|vm| (vm.vm.as_str(), vm.phase == VmPhase::Running)).collect();
        self.used.retain(|id, _| running.get(id.as_str()).copied().unwrap_or(false));
        self.turn = sample.turn;
        self.note = None;
        self.arrange();
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

    /// Whom to ask for in the next round.
    pub(super) fn plan(&self) -> Plan {
        let on_screen = self.vm_pane.window(&self.vms).iter().map(|row| row.vm.vm.clone());
        Plan { on_screen: on_screen.collect(), turn: self.turn.clone() }
    }

    /// Filters and sorts anew. The selection stays on the object that it is on.
    pub(super) fn arrange(&mut self) {
        let host = self.hosts.get(self.host_pane.selected).map(|row| row.host.host.clone());
        let vm = self.vms.get(self.vm_pane.selected).map(|row| row.vm.vm.clone());
        self.hosts = arranged(self.host_rows(), HOSTS, self.host_pane);
        self.vms = arranged(self.vm_rows(), VMS, self.vm_pane);
        let at = self.hosts.iter().position(|row| Some(&row.host.host) == host.as_ref());
        self.host_pane.select(at.unwrap_or(self.host_pane.selected), self.hosts.len());
        let at = self.vms.iter().position(|row| Some(&row.vm.vm) == vm.as_ref());
        self.vm_pane.select(at.unwrap_or(self.vm_pane.selected), self.vms.len());
    }

    fn host_rows(&self) -> Vec<HostRow> {
        let row = |host: &Rc<Host>| HostRow {
            network_bytes_per_s: self.network_of(&host.name),
            host: Rc::clone(host),
        };
        self.all_hosts.iter().map(row).collect()
    }

    fn network_of(&self, host: &str) -> Option<u64> {
        let on_it = self.all_vms.iter().filter(|vm| vm.host.as_deref() == Some(host));
        let known = on_it.filter_map(|vm| self.used.get(&vm.vm)?.network_bytes_per_s);
        known.reduce(u64::saturating_add)
    }

    fn vm_rows(&self) -> Vec<VmRow> {
        let row = |vm: &Rc<Vm>| VmRow {
            used: self.used.get(&vm.vm).copied().unwrap_or_default(),
            vm: Rc::clone(vm),
        };
        let is_there = |row: &VmRow| self.only_host.is_none() || row.vm.host == self.only_host;
        let fits =
            |row: &VmRow| self.filter.split_whitespace().all(|word| keeps_word(VMS, row, word));
        self.all_vms.iter().map(row).filter(|row| is_there(row) && fits(row)).collect()
    }

    /// The pool in figures.
    pub(super) fn totals(&self) -> Totals {
        let facts = || self.all_hosts.iter().filter_map(|host| host.facts.as_ref());
        let loads = || self.all_hosts.iter().filter_map(|host| host.load.as_ref());
        let memory_kib = facts().map(|facts| facts.memory_kib).sum::<u64>();
        let free = loads().map(|load| load.memory_free_kib).sum::<u64>();
        Totals {
            hosts: self.all_hosts.len(),
            hosts_up: self.all_hosts.iter().filter(|host| host.health == HostHealth::Up).count(),
            vms: self.all_vms.len(),
            vms_running: self.all_vms.iter().filter(|vm| vm.phase == VmPhase::Running).count(),
            cpus: facts().map(|facts| u64::from(facts.pcpus)).sum(),
            cpu_milli: loads().map(|load| load.cpu_milli).sum(),
            memory_kib,
            memory_used_kib: memory_kib.saturating_sub(free),
        }
    }
}

/// The pool in figures.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    pub(super) hosts: usize,
    pub(super) hosts_up: usize,
    pub(super) vms: usize,
    pub(super) vms_running: usize,
    pub(super) cpus: u64,
    pub(super) cpu_milli: u64,
    pub(super) memory_kib: u64,
    pub(super) memory_used_kib: u64,
}

fn arranged<T>(mut rows: Vec<T>, columns: &[Column<T>], pane: Pane) -> Vec<T> {
    if let Some(column) = columns.get(pane.sort) {
        sort_by(&mut rows, column, pane.is_descending);
    }
    rows
}
