//! How answers look: one function for all commands.
//!
//! ```text
//!   rows or one object ─────────────────► columns ─┬─► table, wide   columns under headings, or what is told ─► people
//!        (typed)                                      ├─► csv, name     plain values of the columns
//!   the wire's own value ─────────────────────────────┴─► json, yaml    all of it, or the columns that were named
//! ```
//!
//! A command gives an [`Answer`]: rows with typed [`Column`]s, and where a sentence or several tables say more to people, what is
//! [`Told`]. [`Look::print`] does the rest, so that all commands have all forms, and the same options.
//!
//! Tables are for people and may change; on a terminal they have colours and are cut to its width. The others are for programs: JSON
//! and YAML have the protocol's names in snake_case, CSV and name the plain values of columns. Whatever others wrote is shown so that
//! it cannot drive a terminal (`text`).
//!
//! Fails when a column is named that does not exist (wrong usage), or stdout cannot be written.

mod answer;
mod column;
mod csv;
mod grid;
mod quantity;
mod select;
mod stdout;
mod text;
mod told;
mod tone;
mod wire;
mod yaml;

use clap::ValueEnum;
use grid::Grid;
use serde::Serialize;
use serde_json::Value;

use crate::failure::Failure;
use crate::screen::Screen;

pub(crate) use answer::{Answer, Named};
pub(crate) use column::{Column, Unit};
pub(crate) use quantity::{cpus, mib, or_dash, rate, seconds, size_of};
pub(crate) use stdout::{write, write_while_read};
pub(crate) use text::{cut, is_hostile, visible, visible_lines, width};
pub(crate) use told::Told;
pub(crate) use tone::Tone;

/// An answer on one line, for those who read answers as they come.
pub(crate) fn json_line<T: Serialize>(answer: &T) -> Result<String, Failure> {
    wire::json_line(&wire::value(answer)?)
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    Table,
    /// For people: all columns.
    Wide,
    /// For programs: everything, stable.
    Json,
    /// The same as YAML.
    Yaml,
    /// For programs and spreadsheets: all columns, plain (RFC 4180).
    Csv,
    /// Only what each is called, one a line.
    Name,
}

/// How an answer shall look.
#[derive(Clone, Debug, Default)]
pub(crate) struct Look {
    pub(crate) format: Format,
    /// Those that were named; none: the usual.
    pub(crate) columns: Vec<String>,
    pub(crate) no_headers: bool,
    pub(crate) screen: Screen,
}

impl Look {
    /// Does a person read it? Then it may be worth asking for more.
    pub(crate) fn is_for_people(&self) -> bool {
        matches!(self.format, Format::Table | Format::Wide)
    }

    /// Prints an answer.
    pub(crate) fn print<T: Serialize>(&self, answer: &Answer<'_, T>) -> Result<(), Failure> {
        write(self.render(answer)?.as_bytes())
    }

    /// The answer on one line of JSON.
    pub(crate) fn json_line<T: Serialize>(
        &self,
        answer: &Answer<'_, T>,
    ) -> Result<String, Failure> {
        let rows: Vec<&T> = answer.items.iter().collect();
        let columns = self.columns_of(answer.columns)?;
        wire::json_line(&self.value(answer, &columns, &rows)?)
    }

    /// The text of an answer.
    pub(crate) fn render<T: Serialize>(&self, answer: &Answer<'_, T>) -> Result<String, Failure> {
        let rows: Vec<&T> = answer.items.iter().collect();
        let columns = self.columns_of(answer.columns)?;
        Ok(match self.format {
            Format::Table | Format::Wide => self.for_people(answer, &columns, &rows),
            Format::Json => wire::json(&self.value(answer, &columns, &rows)?)?,
            Format::Yaml => yaml::yaml(&self.value(answer, &columns, &rows)?),
            Format::Csv => self.csv(&columns, &rows),
            Format::Name => names(answer.columns, &rows),
        })
    }

    fn columns_of<'a, T>(&self, all: &'a [Column<T>]) -> Result<Vec<&'a Column<T>>, Failure> {
        let with_wide = !matches!(self.format, Format::Table);
        let usual = || all.iter().filter(|column| with_wide || !column.is_wide()).collect();
        if self.columns.is_empty() { Ok(usual()) } else { select::choose(all, &self.columns) }
    }

    fn for_people<T>(&self, answer: &Answer<'_, T>, columns: &[&Column<T>], rows: &[&T]) -> String {
        match (&answer.told, rows) {
            (Some(told), _) if self.columns.is_empty() => {
                told().lay_out(self.screen, !self.no_headers)
            }
            (_, [one]) if answer.is_single => {
                let field = |column: &&Column<T>| (column.name(), column.show(one));
                let fields = Told::fields(columns.iter().map(field).collect());
                fields.lay_out(self.screen, !self.no_headers)
            }
            _ => Grid::of(columns, rows.iter().copied()).lay_out(self.screen, !self.no_headers),
        }
    }

    /// The wire's own value; with `--columns`, those columns and nothing else.
    fn value<T: Serialize>(
        &self,
        answer: &Answer<'_, T>,
        columns: &[&Column<T>],
        rows: &[&T],
    ) -> Result<Value, Failure> {
        let of_row = |row: &&T| {
            let fields = columns.iter().map(|column| (column.key(), column.plain(row)));
            Value::Object(fields.collect())
        };
        let mut items: Vec<Value> = match (&answer.whole, self.columns.is_empty()) {
            (Some(whole), true) => return Ok(whole.clone()),
            (None, true) => rows.iter().map(wire::value).collect::<Result<_, _>>()?,
            (_, false) => rows.iter().map(of_row).collect(),
        };
        match (answer.is_single, items.pop()) {
            (true, Some(one)) => Ok(one),
            (_, last) => Ok(Value::Array(items.into_iter().chain(last).collect())),
        }
    }

    fn csv<T>(&self, columns: &[&Column<T>], rows: &[&T]) -> String {
        // A terminal is not to be driven by a field; a file gets it as it is.
        let shown = |text: String| {
            if self.screen.is_terminal { visible_lines(&text).into_owned() } else { text }
        };
        let keys = (!self.no_headers).then(|| csv::record(columns.iter().map(|c| c.key())));
        let record = |row: &&T| {
            csv::record(columns.iter().map(|column| shown(csv::text(&column.plain(row)))))
        };
        keys.into_iter().chain(rows.iter().map(record)).collect()
    }
}

/// The first column is what a row is called.
fn names<T>(columns: &[Column<T>], rows: &[&T]) -> String {
    let called = columns.first();
    let name = |row: &&T| called.map(|column| csv::text(&column.plain(row))).unwrap_or_default();
    rows.iter().map(|row| format!("{}\n", visible(&name(row)))).collect()
}

#[cfg(test)]
mod tests;
