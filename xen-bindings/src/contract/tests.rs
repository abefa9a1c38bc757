//! The suite on the simulator.

use std::sync::Arc;
use std::time::Duration;

use super::{StoreFlavour, Subject, cases};
use crate::sim::{ManualClock, SimConfig, SimMachine};

/// A kernel as the simulator takes it, removed at the end.
struct Kernel(std::path::PathBuf);

impl Kernel {
    fn new(name: &str) -> Self {
        let file = format!("vmm-contract-{}-{name}", std::process::id());
        let path = std::env::temp_dir().join(file);
        std::fs::write(&path, "SIMKERNEL\n").unwrap();
        Self(path)
    }
}

impl Drop for Kernel {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn run(flavour: StoreFlavour, shadow: bool) {
    let kernel = Kernel::new(&format!("{flavour:?}-{shadow}"));
    let clock = ManualClock::default();
    let config = SimConfig { store: flavour, shadow, ..SimConfig::default() };
    let machine = SimMachine::new(config, clock.clock());
    let before = machine.memory();
    let (runner, wound) = (machine.clone(), clock.clone());
    let subject = Subject {
        xen: machine.xen(),
        kernel: kernel.0.clone(),
        initramfs: None,
        cmdline: "workload=idle".into(),
        disk: "1:0".into(),
        wait: Arc::new(move |time: Duration| wound.run(&runner, time)),
        flavour,
    };
    let failed: Vec<String> = cases()
        .iter()
        .filter_map(|case| Some(format!("{}: {}", case.name, (case.run)(&subject).err()?)))
        .collect();
    assert!(failed.is_empty(), "{}", failed.join("\n"));
    assert_eq!(machine.memory(), before, "the suite leaves memory behind");
    assert!(clock.now() < Duration::from_secs(600), "{:?}", clock.now());
}

#[test]
fn the_simulator_with_c_xenstored_holds_the_contract() {
    run(StoreFlavour::C, true);
}

#[test]
fn the_simulator_with_oxenstored_holds_the_contract() {
    run(StoreFlavour::Ocaml, true);
}

#[test]
fn the_simulator_of_a_xen_without_shadow_paging_holds_the_contract() {
    run(StoreFlavour::C, false);
}

#[test]
fn every_sentence_is_there_once() {
    let mut names: Vec<&str> = cases().iter().map(|case| case.name).collect();
    names.sort_unstable();
    let all = names.len();
    names.dedup();
    assert_eq!(names.len(), all);
}
