//! `vmmctl vm create` of several: names from a pattern, one request, one task with a part for each.

use serde::Serialize;
use vmm_proto::v1::{
    CreateVms, Fault, FaultCode, NewVm, PlacedVm, Placements, Reply, Request, UnplacedVm,
};

use super::targets::counted;
use crate::commands::each::{Acted, each};
use crate::commands::plan::in_words;
use crate::failure::Failure;
use crate::output::{Answer, Column, Look, Told};
use crate::session::{Session, unexpected};
use crate::wait::{Waiting, begin, finished, follow};

/// No more in one request.
const COUNT_MAX: usize = 1000;

/// The names of as many as are wanted: `web-%02d` with a count, or as they stand there.
pub(super) fn names(
    given: &[String],
    count: Option<u32>,
    first: u32,
) -> Result<Vec<String>, Failure> {
    let usage = |text: String| Err(Failure::Usage(text));
    let Some(count) = count else { return Ok(given.to_vec()) };
    let ([pattern], 1..=COUNT_MAX) = (given, usize::try_from(count).unwrap_or(usize::MAX)) else {
        return usage(format!("--count takes one name with a number in it, and 1 to {COUNT_MAX}"));
    };
    let Some((before, width, behind)) = number_in(pattern) else {
        return usage(format!("{pattern:?} has no place for a number: write web-%d, or web-%02d"));
    };
    let name = |number: u32| format!("{before}{number:0width$}{behind}");
    Ok((first..).map(name).take(usize::try_from(count).unwrap_or(0)).collect())
}

/// What stands before `%d` or `%03d`, how many digits it has at least, and what stands behind.
fn number_in(pattern: &str) -> Option<(&str, usize, &str)> {
    let (before, rest) = pattern.split_once('%')?;
    let (digits, behind) = rest.split_once('d')?;
    let width = match digits {
        "" => 0,
        digits => digits.strip_prefix('0')?.parse().ok().filter(|width| *width <= 9)?,
    };
    (!behind.contains('%')).then_some((before, width, behind))
}

/// Creates them all, or says where they would go.
pub(super) async fn run(
    session: &Session,
    (vms, partial): (Vec<NewVm>, bool),
    dry_run: bool,
    waiting: Waiting,
) -> Result<(), Failure> {
    let label = counted(vms.len());
    let request = Request::CreateVms(CreateVms { dry_run, partial, vms });
    if dry_run {
        return match session.call(request).await? {
            Reply::Placements(placements) => answer(&session.look, &placements),
            other => Err(unexpected(&other)),
        };
    }
    each(&session.look, std::slice::from_ref(&label), async |label, board| {
        let task = match begin(session, request.clone()).await {
            Ok(task) if waiting.no_wait => {
                return Acted::at_once(label, task.task.clone()).by(task);
            }
            Ok(task) => task,
            Err(failure) => return Acted::not(label, failure),
        };
        match follow(session, task, board).await {
            Ok(task) => match finished(task.clone()) {
                Ok(_) => Acted::at_once(label, format!("{label} run")).by(task),
                Err(failure) => Acted::not(label, failure).by(task),
            },
            Err(failure) => Acted::not(label, failure),
        }
    })
    .await
}

/// One without a place is a failure, after the table that says why.
fn answer(look: &Look, placements: &Placements) -> Result<(), Failure> {
    look.print(&Answer::list(&rows(placements), COLUMNS).whole(placements)?)?;
    if placements.unplaced.is_empty() {
        return Ok(());
    }
    let all = placements.placed.len() + placements.unplaced.len();
    let message = format!(
        "{} of {all} VMs have no place beside the others; make room, or leave them out with --partial",
        placements.unplaced.len()
    );
    Err(Failure::Fault(Fault::new(FaultCode::NoCapacity, message)))
}

/// Where they went, for people.
pub(crate) fn told_placements(placements: &Placements) -> Told {
    Told::default().table(COLUMNS, &rows(placements))
}

/// A VM, and where it would go, or why nowhere.
#[derive(Serialize)]
struct Row {
    name: String,
    host: Option<String>,
    cost: Option<f64>,
    why: String,
}

type OfRow = Column<Row>;

const COLUMNS: &[OfRow] = &[
    OfRow::text("name", |row| row.name.clone()),
    OfRow::text("host", |row| row.host.clone().unwrap_or_default()),
    OfRow::decimal("cost", |row| row.cost),
    OfRow::text("why", |row| row.why.clone()),
];

fn rows(placements: &Placements) -> Vec<Row> {
    let placed = placements.placed.iter().map(|vm: &PlacedVm| Row {
        name: vm.name.clone(),
        host: Some(vm.host.clone()),
        cost: Some(vm.cost),
        why: in_words(&vm.parts),
    });
    let refused = |vm: &UnplacedVm| {
        let reasons = vm.refused.iter().map(|host| format!("{} ({})", host.host, host.reason));
        reasons.collect::<Vec<_>>().join(", ")
    };
    let unplaced = placements.unplaced.iter().map(|vm| Row {
        name: vm.name.clone(),
        host: None,
        cost: None,
        why: refused(vm),
    });
    placed.chain(unplaced).collect()
}

#[cfg(test)]
mod tests {
    use vmm_proto::v1::RefusedHost;

    use vmm_proto::v1::Part;

    use super::*;

    #[test]
    fn names_come_from_a_pattern_or_as_they_stand() {
        let check = |given: &[&str], count: Option<u32>, first: u32, expect: Option<&[&str]>| {
            let given: Vec<String> = given.iter().map(|name| (*name).to_owned()).collect();
            let names = names(&given, count, first).ok();
            let names: Option<Vec<&str>> =
                names.as_ref().map(|names| names.iter().map(String::as_str).collect());
            assert_eq!(names.as_deref(), expect, "{given:?} {count:?}");
        };
        check(&["web"], None, 1, Some(&["web"]));
        check(&["a", "b"], None, 1, Some(&["a", "b"]));
        check(&["web-%02d"], Some(3), 9, Some(&["web-09", "web-10", "web-11"]));
        check(&["web%d.lab"], Some(2), 1, Some(&["web1.lab", "web2.lab"]));
        check(&["web"], Some(2), 1, None);
        check(&["web-%2d"], Some(2), 1, None);
        check(&["web-%x"], Some(2), 1, None);
        check(&["%d-%d"], Some(2), 1, None);
        check(&["a-%d", "b-%d"], Some(2), 1, None);
        check(&["a-%d"], Some(0), 1, None);
        check(&["a-%d"], Some(1001), 1, None);
    }

    const GOLDEN: &str = "
NAME   HOST   COST  WHY
web-1  h1    0.750  cpu 0.500, packing 0.250
web-2  -         -  h1 (group ha forbids it), h2 (is silent)
";

    #[test]
    fn a_dry_run_says_of_each_where_it_goes_or_why_not_and_fails_where_one_has_no_place() {
        let part = |name: &str, cost| Part { name: name.into(), cost };
        let refused = |host: &str, reason: &str| RefusedHost {
            host: host.into(),
            by: String::new(),
            reason: reason.into(),
        };
        let placements = Placements {
            placed: vec![PlacedVm {
                name: "web-1".into(),
                host: "h1".into(),
                cost: 0.75,
                parts: vec![part("cpu", 0.5), part("packing", 0.25)],
            }],
            unplaced: vec![UnplacedVm {
                name: "web-2".into(),
                refused: vec![refused("h1", "group ha forbids it"), refused("h2", "is silent")],
            }],
        };
        let rows = rows(&placements);
        let text = Look::default().render(&Answer::list(&rows, COLUMNS)).expect("a table");
        assert_eq!(format!("\n{text}"), GOLDEN);
        assert_eq!(answer(&Look::default(), &placements).expect_err("fails").exit_code(), 10);
    }
}
