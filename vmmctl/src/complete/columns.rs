//! Columns, orders and queries, of the noun that is on the line.

use vmm_core::query::{
    Fields, GroupField, HostField, PoolField, SiteField, TaskField, VmField, suggest,
};

use super::Candidate;
use super::ask;
use super::words::Words;
use crate::commands::{group, host, pool, site, task, vm};
use crate::output::Column;

/// What can be listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Noun {
    Host,
    Vm,
    Task,
    Pool,
    Site,
    Group,
}

/// The first noun that is on the line: what stands behind it may be called like another.
fn noun(words: &Words) -> Option<Noun> {
    words.all().find_map(|word| match word {
        "host" => Some(Noun::Host),
        "vm" => Some(Noun::Vm),
        "task" => Some(Noun::Task),
        "pool" => Some(Noun::Pool),
        "site" => Some(Noun::Site),
        "group" => Some(Noun::Group),
        _ => None,
    })
}

/// `name,mem` becomes `name,memory`.
pub(super) fn columns(words: &Words, current: &str) -> Vec<Candidate> {
    let known = match noun(words) {
        Some(Noun::Host) => names(host::COLUMNS),
        Some(Noun::Vm) => names(vm::COLUMNS),
        Some(Noun::Task) => names(task::COLUMNS),
        Some(Noun::Pool) => names(pool::COLUMNS),
        Some(Noun::Site) => names(site::COLUMNS),
        Some(Noun::Group) => names(group::COLUMNS),
        None => Vec::new(),
    };
    listed(&known, current)
}

/// `-me` becomes `-memory`.
pub(super) fn orders(words: &Words, current: &str) -> Vec<Candidate> {
    let known = match noun(words) {
        Some(Noun::Host) => fields::<HostField>(),
        Some(Noun::Vm) => fields::<VmField>(),
        Some(Noun::Task) => fields::<TaskField>(),
        Some(Noun::Pool) => fields::<PoolField>(),
        Some(Noun::Site) => fields::<SiteField>(),
        Some(Noun::Group) => fields::<GroupField>(),
        None => Vec::new(),
    };
    listed(&known, current)
}

/// `status=ru` becomes `status=running`.
pub(super) fn queries(words: &Words, current: &str) -> Vec<Candidate> {
    match noun(words) {
        Some(Noun::Host) => continued::<HostField>(words, current),
        Some(Noun::Vm) => continued::<VmField>(words, current),
        Some(Noun::Task) => continued::<TaskField>(words, current),
        Some(Noun::Pool) => continued::<PoolField>(words, current),
        Some(Noun::Site) => continued::<SiteField>(words, current),
        Some(Noun::Group) => continued::<GroupField>(words, current),
        None => Vec::new(),
    }
}

fn names<T>(columns: &[Column<T>]) -> Vec<(&'static str, &'static str)> {
    columns.iter().map(|column| (column.name(), "")).collect()
}

fn fields<F: Fields>() -> Vec<(&'static str, &'static str)> {
    F::all().iter().map(|field| (field.field().name, field.field().about)).collect()
}

/// One behind another, with commas between.
fn listed(known: &[(&str, &str)], current: &str) -> Vec<Candidate> {
    let (before, last) = match current.rsplit_once(',') {
        Some((before, last)) => (format!("{before},"), last),
        None => (String::new(), current),
    };
    let sign = if last.starts_with('-') { "-" } else { "" };
    let is_new = |name: &str| !before.split(',').any(|taken| taken.trim_start_matches('-') == name);
    let new = known.iter().filter(|(name, _)| is_new(name));
    new.map(|(name, about)| (format!("{before}{sign}{name}"), (*about).to_owned())).collect()
}

/// The query with its last part completed.
fn continued<F: Fields>(words: &Words, current: &str) -> Vec<Candidate> {
    let suggestions = suggest::<F>(current, current.len());
    let before = &current[..suggestions.start];
    let known = suggestions.items.iter().map(|item| (item.text.to_owned(), item.about.to_owned()));
    let values = suggestions.values_of.map(|field| ask::values(words, field.field().name));
    known
        .chain(values.unwrap_or_default())
        .map(|(text, about)| (format!("{before}{text}"), about))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(current: &str, expect: &[&str]) {
        let known = [("name", ""), ("memory", ""), ("status", "")];
        let lists: Vec<String> = listed(&known, current).into_iter().map(|c| c.0).collect();
        assert_eq!(lists, expect, "{current:?}");
    }

    #[test]
    fn columns_follow_one_another_and_none_comes_twice() {
        check("", &["name", "memory", "status"]);
        check("name,", &["name,memory", "name,status"]);
        check("-name,-m", &["-name,-memory", "-name,-status"]);
        check("name,memory,status,", &[]);
    }

    #[test]
    fn a_query_goes_on_where_it_ends() {
        for (current, expect) in [
            ("sta", "status"),
            ("status=ru", "status=running"),
            ("status=running a", "status=running and"),
            ("web and fol", "web and folder"),
        ] {
            let found = continued::<VmField>(&Words::default(), current);
            assert!(found.iter().any(|(text, _)| text == expect), "{current}: {found:?}");
        }
    }
}
