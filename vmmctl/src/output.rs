//! How answers look: one place for all commands.
//!
//! A table is for people and may change. JSON is for programs: the wire's own names in snake_case, lists as arrays.

use std::io::{ErrorKind, Write as _};

use clap::ValueEnum;
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    Table,
    /// For programs: stable.
    Json,
}

/// Prints an answer in the form that was asked for.
pub(crate) fn print<T: Serialize>(
    format: Format,
    answer: &T,
    table: impl FnOnce(&T) -> String,
) -> Result<(), Failure> {
    let text = match format {
        Format::Table => table(answer),
        Format::Json => json(answer)?,
    };
    write(text.as_bytes())
}

/// Writes to stdout; a reader that has gone away is no failure.
pub(crate) fn write(bytes: &[u8]) -> Result<(), Failure> {
    write_while_read(bytes).map(|_| ())
}

/// Writes to stdout; false when the reader has gone away.
pub(crate) fn write_while_read(bytes: &[u8]) -> Result<bool, Failure> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::Local(format!("writing to stdout failed: {error}"))),
    }
}

/// One line of JSON.
pub(crate) fn json_line<T: Serialize>(answer: &T) -> Result<String, Failure> {
    let failed = |error: serde_json::Error| Failure::Local(format!("no form in JSON: {error}"));
    let value = serde_json::to_value(answer).map(plain).map_err(failed)?;
    serde_json::to_string(&value).map_err(failed)
}

fn json<T: Serialize>(answer: &T) -> Result<String, Failure> {
    let failed = |error: serde_json::Error| Failure::Local(format!("no form in JSON: {error}"));
    let value = serde_json::to_value(answer).map(plain).map_err(failed)?;
    serde_json::to_string_pretty(&value).map(|text| text + "\n").map_err(failed)
}

/// `@vm-count` is `vm_count`, `Facts` is `facts`.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            fields.into_iter().map(|(name, value)| (snake(&name), plain(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(plain).collect(),
        other => other,
    }
}

fn snake(name: &str) -> String {
    let mut snake = String::with_capacity(name.len() + 2);
    for c in name.trim_start_matches('@').chars() {
        match c {
            '-' => snake.push('_'),
            c if c.is_ascii_uppercase() => {
                if !snake.is_empty() {
                    snake.push('_');
                }
                snake.push(c.to_ascii_lowercase());
            }
            c => snake.push(c),
        }
    }
    snake
}

/// Columns under headings. A heading that starts with `>` is of numbers: they stand to the right.
pub(crate) fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let titles: Vec<String> =
        headings.iter().map(|heading| heading.trim_start_matches('>').to_owned()).collect();
    let width = |column: usize| {
        let cells = std::iter::once(&titles).chain(rows).filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..headings.len()).map(width).collect();
    let mut text = String::new();
    for row in std::iter::once(&titles).chain(rows) {
        let cells = row.iter().zip(&widths).zip(headings).map(|((cell, width), heading)| {
            if heading.starts_with('>') {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        let line = cells.collect::<Vec<_>>().join("  ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// A table after an empty line, unless it has no rows.
pub(crate) fn section(text: &mut String, headings: &[&str], rows: &[Vec<String>]) {
    if !rows.is_empty() {
        text.push('\n');
        text.push_str(&table(headings, rows));
    }
}

/// Names and values, one a line; lines without a value are left out.
pub(crate) fn fields(fields: &[(&str, String)]) -> String {
    let shown = || fields.iter().filter(|(_, value)| !value.is_empty());
    let width = shown().map(|(name, _)| name.len()).max().unwrap_or(0);
    shown().map(|(name, value)| format!("{name:<width$}  {value}\n")).collect()
}

/// Memory for people.
pub(crate) fn mib(kib: u64) -> String {
    format!("{} MiB", kib / 1024)
}

/// A size in bytes for people, in the largest unit that it is a multiple of.
pub(crate) fn size_of(bytes: u64) -> String {
    let units = [(40, "TiB"), (30, "GiB"), (20, "MiB"), (10, "KiB")];
    let fits = |shift: &u32| bytes > 0 && bytes.is_multiple_of(1 << *shift);
    match units.iter().find(|(shift, _)| fits(shift)) {
        Some((shift, unit)) => format!("{} {unit}", bytes >> shift),
        None => format!("{bytes} bytes"),
    }
}

/// Processor time for people.
pub(crate) fn cpus(milli: u64) -> String {
    format!("{}.{:02}", milli / 1000, milli % 1000 / 10)
}

/// Throughput for people.
pub(crate) fn rate(bytes_per_s: u64) -> String {
    let tenths = bytes_per_s.saturating_mul(10) / (1 << 20);
    format!("{}.{} MiB/s", tenths / 10, tenths % 10)
}

/// What is not known is a dash.
pub(crate) fn or_dash<T>(value: Option<T>, show: impl FnOnce(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), show)
}

#[cfg(test)]
mod tests {
    use vmm_proto::v1;

    use super::*;

    #[test]
    fn json_has_the_wires_names_in_snake_case() {
        let host = v1::Host {
            host: "id".into(),
            name: "a".into(),
            address: "a:1".into(),
            health: v1::HostHealth::Up,
            heard_ms_ago: None,
            maintenance: false,
            vm_count: 2,
            memory_reserved_kib: 1,
            cpu_reserved_milli: 1,
            disk_reserved_bytes_per_s: 1,
            pool: "default".into(),
            site: "default".into(),
            notes: String::new(),
            tags: Vec::new(),
            facts: Some(v1::HostFacts::default()),
            load: None,
        };
        let text = json(&[host]).expect("JSON");
        for name in
            ["\"vm_count\": 2", "\"memory_reserved_kib\"", "\"facts\": {", "\"xen_version\""]
        {
            assert!(text.contains(name), "{name} in {text}");
        }
        assert!(!text.contains('@') && !text.contains("heard_ms_ago"));
    }

    #[test]
    fn columns_are_aligned_and_lines_end_without_spaces() {
        let rows = [
            vec!["a".into(), "7".into(), "x".into()],
            vec!["bcd".into(), "12".into(), String::new()],
        ];
        assert_eq!(
            table(&["N", ">COUNT", "Z"], &rows),
            "N    COUNT  Z\na        7  x\nbcd     12\n"
        );
    }

    #[test]
    fn figures_are_for_people() {
        assert_eq!(
            (mib(131_072), cpus(1250), rate(10 << 20)),
            ("128 MiB".into(), "1.25".into(), "10.0 MiB/s".into())
        );
        let sizes = [20 << 30, 1536 << 20, 512, 0].map(size_of);
        assert_eq!(sizes, ["20 GiB", "1536 MiB", "512 bytes", "0 bytes"]);
    }
}
