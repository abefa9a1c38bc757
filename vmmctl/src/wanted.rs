//! Which objects a list shall have, and in which order: checked here, so that a mistake is wrong usage, answered by the manager.

use clap::Args;
use vmm_core::query::{Fields, Query, QueryError, Sort};

use crate::complete;
use crate::failure::Failure;

/// A query and an order, as they were typed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Args)]
pub(crate) struct Wanted {
    /// Only those that this holds for, such as 'status=running and host=h1', 'cpu>80%', 'tag~web or folder=/prod'; a word by itself
    /// is a part of the name. A wrong field is answered with all fields.
    #[arg(long = "where", visible_alias = "filter", value_name = "QUERY", add = complete::queries())]
    pub(crate) query: Option<String>,
    /// Sort by these fields; a minus before a name puts the largest first, such as -cpu,name.
    #[arg(long, value_name = "FIELDS", allow_hyphen_values = true, add = complete::orders())]
    sort: Option<String>,
}

impl Wanted {
    /// Those that a query holds for.
    pub(crate) fn by(query: Option<String>) -> Self {
        Self { query, sort: None }
    }

    /// The order, in the language's own names.
    pub(crate) fn sort(&self) -> Option<String> {
        self.sort.as_ref().map(|sort| sort.replace('_', "-"))
    }

    /// Is it right for this kind of objects?
    pub(crate) fn check<F: Fields>(&self) -> Result<(), Failure> {
        let wrong = |option: &str, text: &str, error: QueryError| {
            Failure::Usage(format!("{option} {text:?}: {error}"))
        };
        if let Some(query) = &self.query {
            Query::<F>::parse(query).map_err(|error| wrong("--where", query, error))?;
        }
        if let Some(sort) = self.sort() {
            Sort::<F>::parse(&sort).map_err(|error| wrong("--sort", &sort, error))?;
        }
        Ok(())
    }
}

/// All pages of a list, one after the other.
pub(crate) async fn pages<T>(
    ask: impl AsyncFn(Option<String>) -> Result<(Vec<T>, Option<String>), Failure>,
) -> Result<Vec<T>, Failure> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let (page, next) = ask(after).await?;
        all.extend(page);
        if next.is_none() {
            return Ok(all);
        }
        after = next;
    }
}

#[cfg(test)]
mod tests {
    use vmm_core::query::{HostField, VmField};

    use super::*;

    fn check<F: Fields>(query: Option<&str>, sort: Option<&str>, expect: Result<(), &str>) {
        let wanted = Wanted { query: query.map(str::to_owned), sort: sort.map(str::to_owned) };
        match (wanted.check::<F>(), expect) {
            (Ok(()), Ok(())) => {}
            (Err(failure), Err(words)) => {
                assert_eq!(failure.exit_code(), 2);
                assert!(failure.to_string().contains(words), "{failure}");
            }
            (outcome, expect) => panic!("{wanted:?}: {outcome:?}, not {expect:?}"),
        }
    }

    #[test]
    fn what_is_wrong_is_said_before_anybody_is_asked() {
        check::<VmField>(None, None, Ok(()));
        check::<VmField>(Some("status=running and cpu>80%"), Some("-memory_max,name"), Ok(()));
        check::<VmField>(Some("stats=running"), None, Err("status"));
        check::<HostField>(Some("status=running"), None, Err("a host has no field"));
        check::<VmField>(None, Some("size"), Err("--sort \"size\""));
    }
}
