//! The answer to a dry run: every host's cost, term by term, and why it won or lost.

use serde::Serialize;
use vmm_proto::v1::{Candidate, Fault, FaultCode, Placement};

use crate::failure::Failure;
use crate::output::{Answer, Column, Look, Told};

/// No host at all is a failure, after the table that says why.
pub(in crate::commands) fn answer(look: &Look, placement: &Placement) -> Result<(), Failure> {
    look.print(&Answer::list(&rows(placement), COLUMNS).whole(placement)?)?;
    if placement.chosen.is_some() {
        return Ok(());
    }
    let message = "no host can take the VM; make room, add a host, or ask for less";
    Err(Failure::Fault(Fault::new(FaultCode::NoCapacity, message)))
}

/// As [`answer`], among other things.
pub(in crate::commands) fn told(placement: &Placement) -> Told {
    Told::default().table(COLUMNS, &rows(placement))
}

/// A host, and whether it is the one.
#[derive(Serialize)]
struct Row {
    #[serde(flatten)]
    candidate: Candidate,
    #[serde(skip)]
    is_chosen: bool,
}

type OfRow = Column<Row>;

const COLUMNS: &[OfRow] = &[
    OfRow::text("host", |row| row.candidate.host.clone()).heading("    HOST").shown(marked),
    OfRow::decimal("cost", |row| cost(row, |of| of.cost)),
    OfRow::decimal("cpu", |row| cost(row, |of| of.cost_cpu)),
    OfRow::decimal("memory", |row| cost(row, |of| of.cost_memory)),
    OfRow::decimal("disk_io", |row| cost(row, |of| of.cost_disk_io)).heading("DISK I/O"),
    OfRow::text("why", |row| row.candidate.reason.clone()),
    OfRow::flag("eligible", |row| row.candidate.eligible).wide(),
    OfRow::flag("chosen", |row| row.is_chosen).wide(),
];

fn rows(placement: &Placement) -> Vec<Row> {
    let row = |candidate: &Candidate| Row {
        is_chosen: placement.chosen.as_ref() == Some(&candidate.host),
        candidate: candidate.clone(),
    };
    placement.candidates.iter().map(row).collect()
}

fn marked(row: &Row) -> String {
    let mark = if row.is_chosen { "->" } else { "" };
    format!("{mark:<4}{}", row.candidate.host)
}

/// What cannot take the VM has no cost.
fn cost(row: &Row, of: fn(&Candidate) -> f64) -> Option<f64> {
    row.candidate.eligible.then(|| of(&row.candidate))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOLDEN: &str = "
    HOST     COST    CPU  MEMORY  DISK I/O  WHY
->  host-2  0.648  0.500   0.148     0.000  lowest cost
    host-1  8.148  8.000   0.148     0.000  7.500 more than host-2, mostly cpu
    host-3      -      -       -         -  memory: needs 131 MiB, 12 MiB left
";

    fn candidate(host: &str, eligible: bool, costs: [f64; 3], reason: &str) -> Candidate {
        let [cost_cpu, cost_memory, cost_disk_io] = costs;
        Candidate {
            host: host.into(),
            eligible,
            cost_cpu,
            cost_memory,
            cost_disk_io,
            parts: Vec::new(),
            cost: costs.iter().sum(),
            reason: reason.into(),
        }
    }

    fn placement() -> Placement {
        Placement {
            chosen: Some("host-2".into()),
            candidates: vec![
                candidate("host-2", true, [0.5, 0.148, 0.0], "lowest cost"),
                candidate("host-1", true, [8.0, 0.148, 0.0], "7.500 more than host-2, mostly cpu"),
                candidate("host-3", false, [0.0; 3], "memory: needs 131 MiB, 12 MiB left"),
            ],
        }
    }

    #[test]
    fn a_dry_run_shows_every_term_and_every_reason() {
        let rows = rows(&placement());
        let text = Look::default().render(&Answer::list(&rows, COLUMNS)).expect("a table");
        assert_eq!(format!("\n{text}"), GOLDEN);
    }

    #[test]
    fn a_dry_run_without_a_host_fails() {
        let nowhere = Placement { chosen: None, ..placement() };
        assert_eq!(answer(&Look::default(), &nowhere).expect_err("fails").exit_code(), 10);
    }
}
