//! What is said to people where a table of rows is not the best: a sentence, names and values, several tables.

use super::column::Column;
use super::grid::Grid;
use super::text::visible;
use crate::screen::Screen;

/// Parts, one below the other.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Told {
    parts: Vec<Part>,
}

#[derive(Debug, PartialEq, Eq)]
enum Part {
    Line(String),
    Fields(Vec<(&'static str, String)>),
    Table(Grid),
}

impl Told {
    /// A sentence, without its end.
    pub(crate) fn line(text: impl Into<String>) -> Self {
        Self::default().and_line(text)
    }

    pub(crate) fn and_line(mut self, text: impl Into<String>) -> Self {
        self.parts.push(Part::Line(text.into()));
        self
    }

    /// Names and values, one a line; what has no value is left out.
    pub(crate) fn fields(fields: Vec<(&'static str, String)>) -> Self {
        Self { parts: vec![Part::Fields(fields)] }
    }

    /// A table after an empty line, unless it has no rows; of a wide one the columns that are always shown.
    pub(crate) fn table<T>(mut self, columns: &[Column<T>], rows: &[T]) -> Self {
        let narrow: Vec<&Column<T>> = columns.iter().filter(|column| !column.is_wide()).collect();
        let grid = Grid::of(&narrow, rows);
        if !grid.is_empty() {
            self.parts.push(Part::Table(grid));
        }
        self
    }

    /// What another says, behind it.
    pub(crate) fn and(mut self, other: Self) -> Self {
        self.parts.extend(other.parts);
        self
    }

    /// Several, with an empty line between them.
    pub(crate) fn apart(several: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for told in several {
            if !all.parts.is_empty() {
                all.parts.push(Part::Line(String::new()));
            }
            all.parts.extend(told.parts);
        }
        all
    }

    pub(crate) fn lay_out(&self, screen: Screen, with_headings: bool) -> String {
        let mut text = String::new();
        for (index, part) in self.parts.iter().enumerate() {
            match part {
                Part::Line(line) => text.push_str(&format!("{}\n", visible(line))),
                Part::Fields(fields) => text.push_str(&names_and_values(fields)),
                Part::Table(grid) => {
                    let apart = if index > 0 { "\n" } else { "" };
                    text.push_str(apart);
                    text.push_str(&grid.lay_out(screen, with_headings));
                }
            }
        }
        text
    }
}

fn names_and_values(fields: &[(&'static str, String)]) -> String {
    let shown = || fields.iter().filter(|(_, value)| !value.is_empty());
    let width = shown().map(|(name, _)| name.len()).max().unwrap_or(0);
    shown().map(|(name, value)| format!("{name:<width$}  {}\n", visible(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_stand_apart_and_what_is_empty_is_left_out() {
        let column = [Column::count("n", |n: &u64| Some(*n))];
        let told = Told::fields(vec![("name", "w\x1b".into()), ("reason", String::new())])
            .table(&column, &[7])
            .table(&column, &[])
            .and_line("that is all");
        let two = Told::apart([Told::line("a"), Told::line("b")]);
        assert_eq!(two.lay_out(Screen::PIPE, true), "a\n\nb\n");
        assert_eq!(told.lay_out(Screen::PIPE, true), "name  w\\x1b\n\nN\n7\nthat is all\n");
    }
}
