//! Columns and conditions on them, of the noun that is on the line.

use super::Candidate;
use super::ask;
use super::words::Words;
use crate::commands::{host, task, vm};
use crate::output::Column;

/// A column, and is it a state?
type Known = (&'static str, bool);

fn known(words: &Words) -> Vec<Known> {
    if words.has("host") {
        names(host::COLUMNS)
    } else if words.has("task") {
        names(task::COLUMNS)
    } else if words.has("vm") {
        names(vm::COLUMNS)
    } else {
        Vec::new()
    }
}

fn names<T>(columns: &[Column<T>]) -> Vec<Known> {
    columns.iter().map(|column| (column.name(), column.is_state())).collect()
}

/// `name,mem` becomes `name,memory`, and `-mem` of a sort `-memory`.
pub(super) fn lists(words: &Words, current: &str) -> Vec<Candidate> {
    lists_of(&known(words), current)
}

fn lists_of(known: &[Known], current: &str) -> Vec<Candidate> {
    let (before, last) = match current.rsplit_once(',') {
        Some((before, last)) => (format!("{before},"), last),
        None => (String::new(), current),
    };
    let sign = if last.starts_with('-') { "-" } else { "" };
    let is_new =
        |name: &&str| !before.split(',').any(|taken| taken.trim_start_matches('-') == *name);
    let names = known.iter().map(|(name, _)| *name).filter(is_new);
    names.map(|name| (format!("{before}{sign}{name}"), String::new())).collect()
}

/// `sta` becomes `state=`, and `state=` the states that there are.
pub(super) fn conditions(words: &Words, current: &str) -> Vec<Candidate> {
    match current.split_once(['=', '~', '!']) {
        None => known(words).iter().map(|(name, _)| (format!("{name}="), String::new())).collect(),
        Some(("host", _)) => {
            let with_host = |(name, help)| (format!("host={name}"), help);
            ask::hosts(words, "").into_iter().map(with_host).collect()
        }
        Some((name, _)) => states(words, name),
    }
}

fn states(words: &Words, column: &str) -> Vec<Candidate> {
    let is_state = known(words).contains(&(column, true));
    let states: &[&str] = match (is_state, words.has("host"), words.has("task")) {
        (false, ..) => &[],
        (true, true, _) => &["up", "silent", "not-heard"],
        (true, _, true) => &["running", "cancelling", "done", "failed", "cancelled"],
        (true, ..) => &[
            "running",
            "starting",
            "paused",
            "suspended",
            "saved",
            "powered-off",
            "destroyed",
            "crashed",
            "failed-to-start",
            "never-started",
            "preserved",
            "lost",
        ],
    };
    states.iter().map(|state| (format!("{column}={state}"), String::new())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(current: &str, expect: &[&str]) {
        let known = [("name", false), ("memory", false), ("state", true)];
        let lists: Vec<String> = lists_of(&known, current).into_iter().map(|c| c.0).collect();
        assert_eq!(lists, expect, "{current:?}");
    }

    #[test]
    fn columns_follow_one_another_and_none_comes_twice() {
        check("", &["name", "memory", "state"]);
        check("na", &["name", "memory", "state"]);
        check("name,", &["name,memory", "name,state"]);
        check("-name,-m", &["-name,-memory", "-name,-state"]);
        check("name,memory,state,", &[]);
    }
}
