//! A column: what one property of a row is called, and how it looks to people and to programs.
//!
//! A column is made of a plain value and a unit. The unit says how people see it (`128 MiB`), what programs call it
//! (`memory_kib`), and on which side it stands. Where people see more than the plain value (`2/4`), [`Column::shown`] says what.

use serde_json::Value;

use super::quantity::{cpus, mib, milliseconds, percent, rate, seconds};
use super::tone::Tone;

/// What a number counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    None,
    Kib,
    Milli,
    Permille,
    BytesPerS,
    Bytes,
    Ns,
    Us,
}

impl Unit {
    /// How programs know it by the name.
    fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Kib => "_kib",
            Self::Milli | Self::Permille => "_milli",
            Self::BytesPerS => "_bytes_per_s",
            Self::Bytes => "_bytes",
            Self::Ns => "_ns",
            Self::Us => "_us",
        }
    }

    fn show(self, number: u64) -> String {
        match self {
            Self::None | Self::Bytes => number.to_string(),
            Self::Kib => mib(number),
            Self::Milli => cpus(number),
            Self::Permille => percent(number),
            Self::BytesPerS => rate(number),
            Self::Ns => seconds(number),
            Self::Us => milliseconds(number),
        }
    }
}

/// Where the plain value comes from.
enum Source<T> {
    Text(fn(&T) -> String),
    Number(Unit, fn(&T) -> Option<u64>),
    Decimal(fn(&T) -> Option<f64>),
    Flag(fn(&T) -> bool),
}

/// A property of a row.
pub(crate) struct Column<T> {
    name: &'static str,
    heading: Option<&'static str>,
    source: Source<T>,
    shown: Option<fn(&T) -> String>,
    tone: Option<fn(&T) -> Tone>,
    is_wide: bool,
}

impl<T> Column<T> {
    const fn new(name: &'static str, source: Source<T>) -> Self {
        Self { name, heading: None, source, shown: None, tone: None, is_wide: false }
    }

    pub(crate) const fn text(name: &'static str, text: fn(&T) -> String) -> Self {
        Self::new(name, Source::Text(text))
    }

    pub(crate) const fn count(name: &'static str, count: fn(&T) -> Option<u64>) -> Self {
        Self::new(name, Source::Number(Unit::None, count))
    }

    pub(crate) const fn number(
        name: &'static str,
        unit: Unit,
        number: fn(&T) -> Option<u64>,
    ) -> Self {
        Self::new(name, Source::Number(unit, number))
    }

    /// Three decimals for people.
    pub(crate) const fn decimal(name: &'static str, decimal: fn(&T) -> Option<f64>) -> Self {
        Self::new(name, Source::Decimal(decimal))
    }

    pub(crate) const fn flag(name: &'static str, flag: fn(&T) -> bool) -> Self {
        Self::new(name, Source::Flag(flag))
    }

    /// What stands above it, where that is not the name in capitals.
    pub(crate) const fn heading(mut self, heading: &'static str) -> Self {
        self.heading = Some(heading);
        self
    }

    /// What people see instead.
    pub(crate) const fn shown(mut self, shown: fn(&T) -> String) -> Self {
        self.shown = Some(shown);
        self
    }

    /// Coloured.
    pub(crate) const fn toned(mut self, tone: fn(&T) -> Tone) -> Self {
        self.tone = Some(tone);
        self
    }

    /// For those who ask for more (`-o wide`).
    pub(crate) const fn wide(mut self) -> Self {
        self.is_wide = true;
        self
    }

    pub(crate) fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn is_wide(&self) -> bool {
        self.is_wide
    }

    pub(crate) fn is_number(&self) -> bool {
        matches!(self.source, Source::Number(..) | Source::Decimal(_))
    }

    /// What programs call it: with its unit.
    pub(crate) fn key(&self) -> String {
        match self.source {
            Source::Number(unit, _) => format!("{}{}", self.name, unit.suffix()),
            _ => self.name.to_owned(),
        }
    }

    /// What stands above it.
    pub(crate) fn title(&self) -> String {
        let spaced = || self.name.replace('_', " ").to_uppercase();
        self.heading.map_or_else(spaced, str::to_owned)
    }

    /// Missing is null.
    pub(crate) fn plain(&self, row: &T) -> Value {
        match self.source {
            Source::Text(text) => text(row).into(),
            Source::Number(_, number) => number(row).into(),
            Source::Decimal(decimal) => decimal(row).into(),
            Source::Flag(flag) => flag(row).into(),
        }
    }

    /// As people see it; missing is a dash, so that columns can be counted.
    pub(crate) fn show(&self, row: &T) -> String {
        let shown = match (self.shown, &self.source) {
            (Some(shown), _) => Some(shown(row)),
            (None, Source::Text(text)) => Some(text(row)),
            (None, Source::Number(unit, number)) => number(row).map(|n| unit.show(n)),
            (None, Source::Decimal(decimal)) => decimal(row).map(|n| format!("{n:.3}")),
            (None, Source::Flag(flag)) => Some(if flag(row) { "yes" } else { "no" }.to_owned()),
        };
        shown.filter(|text| !text.is_empty()).unwrap_or_else(|| "-".to_owned())
    }

    pub(crate) fn tone(&self, row: &T) -> Tone {
        self.tone.map_or(Tone::Plain, |tone| tone(row))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const MEMORY: Column<u64> = Column::number("memory_free", Unit::Kib, |n| Some(*n));
    const VCPUS: Column<u64> =
        Column::count("vcpus", |n| Some(*n)).shown(|n| format!("{n}/4")).heading("CPUS").wide();
    const NONE: Column<u64> = Column::decimal("cost", |_| None);

    fn check(column: &Column<u64>, expect: [&str; 3], plain: Value) {
        assert_eq!([column.key(), column.title(), column.show(&2048)], expect);
        assert_eq!(column.plain(&2048), plain);
    }

    #[test]
    fn a_column_looks_one_way_to_people_and_another_to_programs() {
        check(&MEMORY, ["memory_free_kib", "MEMORY FREE", "2 MiB"], json!(2048));
        check(&VCPUS, ["vcpus", "CPUS", "2048/4"], json!(2048));
        check(&NONE, ["cost", "COST", "-"], json!(null));
        check(&Column::flag("odd", |n| n % 2 == 1), ["odd", "ODD", "no"], json!(false));
    }
}
