//! `vmmctl decision replay`

use std::io::Read as _;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;
use vmm_core::scheduler::record::{Answer as Found, Record};
use vmm_core::scheduler::{Batch, Pool, Preference};
use vmm_proto::convert::plan::{shown_growth, shown_plan, shown_relocation};
use vmm_proto::v1::Placement;

use crate::commands::{plan, vm};
use crate::failure::Failure;
use crate::output::{Answer, Column, Look};

/// More than any pool's record comes to.
const BYTES_MAX: u64 = 256 << 20;

#[derive(Debug, Args)]
pub(crate) struct Replay {
    /// What `vmmctl decision record` printed; `-` is standard input.
    file: PathBuf,
    /// Decide as a manager with this preference would: 0 spreads VMs, 1 fills hosts.
    #[arg(long, value_name = "0..1", value_parser = preference)]
    density: Option<Preference>,
}

fn preference(text: &str) -> Result<Preference, String> {
    let density = text.parse().ok().and_then(Preference::new);
    density.ok_or_else(|| "write a number from 0 to 1".into())
}

pub(super) fn run(look: &Look, replay: &Replay) -> Result<(), Failure> {
    let text = read(&replay.file)?;
    let mut record = Record::read(&text)
        .map_err(|bad| Failure::Usage(format!("{}: {bad}", replay.file.display())))?;
    record.preference = replay.density.unwrap_or(record.preference);
    let gone = || Failure::Usage("the record asks about a VM that is not in it".into());
    match record.replay() {
        Found::Place(placed) => {
            let placed = placed.ok_or_else(gone)?;
            vm::show_placement(look, &Placement::from(&placed))
        }
        Found::Plan(found) => plan::show_plan(look, &shown_plan(&record.pool, &found)),
        Found::Grow(found) => {
            let found = found.ok_or_else(gone)?;
            plan::show_growth(look, &shown_growth(&record.pool, &found))
        }
        Found::Relocate(found) => {
            let found = found.ok_or_else(gone)?;
            plan::show_growth(look, &shown_relocation(&record.pool, &found))
        }
        Found::Batch(batch) => look.print(&Answer::list(&rows(&record.pool, &batch), COLUMNS)),
    }
}

fn read(file: &PathBuf) -> Result<String, Failure> {
    let wrong =
        |error: std::io::Error| Failure::Usage(format!("reading {}: {error}", file.display()));
    let mut text = String::new();
    if file.as_os_str() == "-" {
        std::io::stdin().take(BYTES_MAX).read_to_string(&mut text).map_err(wrong)?;
    } else {
        let file = std::fs::File::open(file).map_err(wrong)?;
        file.take(BYTES_MAX).read_to_string(&mut text).map_err(wrong)?;
    }
    Ok(text)
}

/// A VM of a batch.
#[derive(Serialize)]
struct Row {
    vm: String,
    host: Option<String>,
}

const COLUMNS: &[Column<Row>] = &[
    Column::text("vm", |row: &Row| row.vm.clone()),
    Column::text("host", |row: &Row| row.host.clone().unwrap_or_default()),
];

fn rows(pool: &Pool, batch: &Batch) -> Vec<Row> {
    let vm_name = |id| {
        let vm = pool.vms.iter().find(|vm| vm.id == id);
        vm.map(|vm| vm.name.clone()).unwrap_or_default()
    };
    let host_name = |id| pool.hosts.iter().find(|host| host.id == id).map(|h| h.name.clone());
    let placed =
        batch.placed.iter().map(|put| Row { vm: vm_name(put.vm), host: host_name(put.host) });
    let unplaced = batch.unplaced.iter().map(|left| Row { vm: vm_name(left.vm), host: None });
    placed.chain(unplaced).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_record_is_refused_with_its_line() {
        let directory = tempfile::tempdir().expect("a directory");
        let file = directory.path().join("record.txt");
        let run = |text: &str| {
            std::fs::write(&file, text).expect("written");
            run(&Look::default(), &Replay { file: file.clone(), density: None })
        };
        let host = "01010101-0101-0101-0101-010101010101";
        let evacuate = format!("record version=1 density=0 ask=evacuate host={host}\n");
        run(&evacuate).expect("nobody is there");
        let bad = run(&format!("{evacuate}guest x=1\n")).expect_err("no such line");
        assert!(bad.to_string().contains("line 2 of the record"), "{bad}");
        let lost = run(&format!("record version=1 density=0 ask=place vm={host}\n"));
        assert!(lost.is_err(), "the VM is not in it");
    }
}
