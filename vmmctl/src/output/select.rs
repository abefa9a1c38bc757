//! Which columns, which rows, in which order.
//!
//! `--columns`, `--filter` and `--sort` name columns; a name that is none is refused with the names that there are.

use std::cmp::Ordering;
use std::str::FromStr;

use serde_json::Value;

use super::column::Column;
use crate::failure::Failure;

/// Sort by this column.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SortKey {
    name: String,
    is_descending: bool,
}

impl FromStr for SortKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, is_descending) = match text.strip_prefix('-') {
            Some(name) => (name, true),
            None => (text, false),
        };
        if name.is_empty() {
            return Err("name a column, such as name or -memory".to_owned());
        }
        Ok(Self { name: name.to_owned(), is_descending })
    }
}

/// Keep rows whose column is, is not, or contains this.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Filter {
    name: String,
    test: Test,
    value: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Is,
    IsNot,
    Contains,
}

impl FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "{text:?} is no filter: write COLUMN=VALUE, COLUMN!=VALUE or COLUMN~PART, such as state=running"
            )
        };
        let at = text.find(['=', '~', '!']).filter(|at| *at > 0).ok_or_else(wrong)?;
        let (name, rest) = text.split_at(at);
        let tests = [("!=", Test::IsNot), ("=", Test::Is), ("~", Test::Contains)];
        let (sign, test) =
            tests.into_iter().find(|(sign, _)| rest.starts_with(sign)).ok_or_else(wrong)?;
        let value = rest[sign.len()..].to_owned();
        Ok(Self { name: name.trim().to_owned(), test, value })
    }
}

impl Filter {
    fn keeps<T>(&self, column: &Column<T>, row: &T) -> bool {
        let plain = super::csv::text(&column.plain(row));
        let forms = [plain, column.show(row)];
        let is = |text: &String| {
            *text == self.value || (column.is_state() && words(text) == words(&self.value))
        };
        match self.test {
            Test::Is => forms.iter().any(is),
            Test::IsNot => !forms.iter().any(is),
            Test::Contains => {
                let part = self.value.to_lowercase();
                forms.iter().any(|text| text.to_lowercase().contains(&part))
            }
        }
    }
}

/// `Powered-Off` is `powered off`.
fn words(text: &str) -> String {
    text.to_lowercase().replace(['-', '_'], " ")
}

/// The columns of these names, in this order.
pub(crate) fn choose<'a, T>(
    columns: &'a [Column<T>],
    names: &[String],
) -> Result<Vec<&'a Column<T>>, Failure> {
    names.iter().map(|name| find(columns, name)).collect()
}

/// The rows that pass all filters, sorted; those that are equal stay in the order in which they came.
pub(crate) fn select<'a, T>(
    items: &'a [T],
    columns: &[Column<T>],
    filters: &[Filter],
    sort: &[SortKey],
) -> Result<Vec<&'a T>, Failure> {
    let mut rows: Vec<&T> = items.iter().collect();
    for filter in filters {
        let column = find(columns, &filter.name)?;
        rows.retain(|row| filter.keeps(column, row));
    }
    // The last key first, because sorting keeps the order of what is equal.
    for key in sort.iter().rev() {
        let column = find(columns, &key.name)?;
        rows.sort_by_cached_key(|row| Sorted {
            value: column.plain(row),
            is_descending: key.is_descending,
        });
    }
    Ok(rows)
}

/// Does this word keep the row? It is a condition on a column, or a part of what any column shows.
pub(crate) fn keeps_word<T>(columns: &[Column<T>], row: &T, word: &str) -> bool {
    let condition = word.parse::<Filter>().ok();
    let column = condition.as_ref().and_then(|filter| find(columns, &filter.name).ok());
    match (condition, column) {
        (Some(filter), Some(column)) => filter.keeps(column, row),
        _ => {
            let part = word.to_lowercase();
            columns.iter().any(|column| column.show(row).to_lowercase().contains(&part))
        }
    }
}

/// Sorts by one column; those that are equal stay in the order in which they came.
pub(crate) fn sort_by<T>(rows: &mut [T], column: &Column<T>, is_descending: bool) {
    rows.sort_by_cached_key(|row| Sorted { value: column.plain(row), is_descending });
}

fn find<'a, T>(columns: &'a [Column<T>], name: &str) -> Result<&'a Column<T>, Failure> {
    let found = columns.iter().find(|column| column.name() == name || column.key() == name);
    found.ok_or_else(|| {
        let names: Vec<&str> = columns.iter().map(Column::name).collect();
        Failure::Usage(format!("there is no column {name:?}; there are: {}", names.join(", ")))
    })
}

/// A value in its order: what is missing, flags, numbers, texts.
#[derive(PartialEq)]
struct Sorted {
    value: Value,
    is_descending: bool,
}

impl Eq for Sorted {}

impl Ord for Sorted {
    fn cmp(&self, other: &Self) -> Ordering {
        let order = compare(&self.value, &other.value);
        if self.is_descending { order.reverse() } else { order }
    }
}

impl PartialOrd for Sorted {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

fn compare(a: &Value, b: &Value) -> Ordering {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => match (a.as_u64(), b.as_u64()) {
            (Some(a), Some(b)) => a.cmp(&b),
            _ => a.as_f64().unwrap_or(0.0).total_cmp(&b.as_f64().unwrap_or(0.0)),
        },
        (Value::String(a), Value::String(b)) => a.cmp(b),
        (Value::Bool(a), Value::Bool(b)) => a.cmp(b),
        _ => kind(a).cmp(&kind(b)),
    }
}

fn kind(value: &Value) -> u8 {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 1,
        Value::Number(_) => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::super::column::Unit;
    use super::super::tone::Tone;
    use super::*;

    type Row = (&'static str, &'static str, Option<u64>);
    type OfRow = Column<Row>;

    const COLUMNS: &[OfRow] = &[
        OfRow::text("name", |row| row.0.into()),
        OfRow::text("state", |row| row.1.into()).toned(|_| Tone::Plain),
        OfRow::number("memory", Unit::Kib, |row| row.2),
    ];
    const ROWS: &[Row] = &[
        ("web-2", "running", Some(2048)),
        ("web-1", "powered off", None),
        ("db", "running", Some(10_240)),
    ];

    fn check(filters: &[&str], sort: &[&str], expect: Result<&[&str], &str>) {
        let filters: Vec<Filter> = filters.iter().map(|f| f.parse().expect(f)).collect();
        let sort: Vec<SortKey> = sort.iter().map(|key| key.parse().expect(key)).collect();
        match (select(ROWS, COLUMNS, &filters, &sort), expect) {
            (Ok(rows), Ok(names)) => {
                assert_eq!(rows.iter().map(|row| row.0).collect::<Vec<_>>(), names);
            }
            (Err(failure), Err(words)) => {
                assert_eq!(failure.exit_code(), 2);
                assert!(failure.to_string().contains(words), "{failure}");
            }
            (rows, _) => panic!("{filters:?} {sort:?}: {rows:?}"),
        }
    }

    #[test]
    fn rows_are_kept_that_pass_all_filters() {
        check(&[], &[], Ok(&["web-2", "web-1", "db"]));
        check(&["state=running"], &[], Ok(&["web-2", "db"]));
        check(&["state=powered-off"], &[], Ok(&["web-1"]));
        check(&["state=Running", "name~WEB"], &[], Ok(&["web-2"]));
        check(&["name!=db"], &[], Ok(&["web-2", "web-1"]));
        check(&["name=web_1"], &[], Ok(&[]));
        check(&["memory_kib=2048"], &[], Ok(&["web-2"]));
        check(&["memory=2 MiB"], &[], Ok(&["web-2"]));
        check(&["memory="], &[], Ok(&["web-1"]));
        check(&["colour=red"], &[], Err("no column \"colour\"; there are: name, state, memory"));
    }

    #[test]
    fn numbers_are_sorted_as_numbers_and_equals_stay() {
        check(&[], &["name"], Ok(&["db", "web-1", "web-2"]));
        check(&[], &["memory"], Ok(&["web-1", "web-2", "db"]));
        check(&[], &["-memory_kib"], Ok(&["db", "web-2", "web-1"]));
        check(&[], &["-state"], Ok(&["web-2", "db", "web-1"]));
        check(&[], &["state", "name"], Ok(&["web-1", "db", "web-2"]));
        check(&[], &["size"], Err("no column \"size\""));
    }

    #[test]
    fn filters_and_sort_keys_are_strict() {
        for text in ["", "state", "=running", "!state", "state!running"] {
            assert!(text.parse::<Filter>().is_err(), "{text:?}");
        }
        assert!("cmdline=root=/dev/xvda".parse::<Filter>().is_ok());
        assert!("-".parse::<SortKey>().is_err() && "".parse::<SortKey>().is_err());
    }
}
