//! Which columns: those that `--columns` names. A name that is none is refused with the names that there are.

use super::column::Column;
use crate::failure::Failure;

/// The columns of these names, in this order.
pub(crate) fn choose<'a, T>(
    columns: &'a [Column<T>],
    names: &[String],
) -> Result<Vec<&'a Column<T>>, Failure> {
    names.iter().map(|name| find(columns, name)).collect()
}

/// By its name, with or without its unit, its words joined as they are here or as they are in queries.
fn find<'a, T>(columns: &'a [Column<T>], name: &str) -> Result<&'a Column<T>, Failure> {
    let wanted = name.replace('-', "_");
    let found = columns.iter().find(|column| column.name() == wanted || column.key() == wanted);
    found.ok_or_else(|| {
        let names: Vec<&str> = columns.iter().map(Column::name).collect();
        Failure::Usage(format!("there is no column {name:?}; there are: {}", names.join(", ")))
    })
}

#[cfg(test)]
mod tests {
    use super::super::column::Unit;
    use super::*;

    type OfNumber = Column<u64>;
    const COLUMNS: &[OfNumber] = &[
        OfNumber::text("name", |_| String::new()),
        OfNumber::number("memory_max", Unit::Kib, |n| Some(*n)),
    ];

    fn check(names: &[&str], expect: Result<&[&str], &str>) {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        match (choose(COLUMNS, &names), expect) {
            (Ok(chosen), Ok(names)) => {
                assert_eq!(chosen.iter().map(|column| column.name()).collect::<Vec<_>>(), names);
            }
            (Err(failure), Err(words)) => {
                assert_eq!(failure.exit_code(), 2);
                assert!(failure.to_string().contains(words), "{failure}");
            }
            (chosen, _) => panic!("{names:?}: {:?}", chosen.map(|chosen| chosen.len())),
        }
    }

    #[test]
    fn columns_have_names_with_and_without_units() {
        check(&["memory_max", "name"], Ok(&["memory_max", "name"]));
        check(&["memory-max", "memory_max_kib"], Ok(&["memory_max", "memory_max"]));
        check(&["colour"], Err("no column \"colour\"; there are: name, memory_max"));
    }
}
