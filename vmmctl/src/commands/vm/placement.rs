//! The answer to a dry run: every host's cost, term by term, and why it won or lost.

use vmm_proto::v1::{Candidate, Fault, FaultCode, Placement};

use crate::failure::Failure;
use crate::output::{Format, print, table};

/// No host at all is a failure, after the table that says why.
pub(super) fn answer(format: Format, placement: &Placement) -> Result<(), Failure> {
    print(format, placement, show)?;
    if placement.chosen.is_some() {
        return Ok(());
    }
    let message = "no host can take the VM; make room, add a host, or ask for less";
    Err(Failure::Fault(Fault::new(FaultCode::NoCapacity, message)))
}

fn show(placement: &Placement) -> String {
    let chosen = placement.chosen.as_deref();
    let rows: Vec<_> = placement.candidates.iter().map(|c| row(c, chosen)).collect();
    table(&["", "HOST", ">COST", ">CPU", ">MEMORY", ">DISK I/O", "WHY"], &rows)
}

fn row(candidate: &Candidate, chosen: Option<&str>) -> Vec<String> {
    let mark = if chosen == Some(candidate.host.as_str()) { "->" } else { "" };
    let cost = |cost: f64| {
        if candidate.eligible { format!("{cost:.3}") } else { "-".to_owned() }
    };
    vec![
        mark.to_owned(),
        candidate.host.clone(),
        cost(candidate.cost),
        cost(candidate.cost_cpu),
        cost(candidate.cost_memory),
        cost(candidate.cost_disk_io),
        candidate.reason.clone(),
    ]
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
        assert_eq!(format!("\n{}", show(&placement())), GOLDEN);
    }

    #[test]
    fn a_dry_run_without_a_host_fails() {
        let nowhere = Placement { chosen: None, ..placement() };
        assert_eq!(answer(Format::Json, &nowhere).expect_err("fails").exit_code(), 1);
    }
}
