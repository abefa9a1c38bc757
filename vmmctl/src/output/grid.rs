//! Columns under headings, for people.
//!
//! Widths are those of a terminal's cells. In a pipe nothing is ever cut. On a terminal that is too narrow the widest texts are,
//! never numbers and never the first column, because that names the row; where that does not help, nothing is, and lines go on below.

use super::column::Column;
use super::text::{cut, visible, width};
use super::tone::{Tone, bold};
use crate::screen::Screen;

const GAP: &str = "  ";
/// A text is not cut to less.
const TEXT_WIDTH_MIN: usize = 10;

/// A table, not yet laid out.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Grid {
    headings: Vec<Heading>,
    rows: Vec<Vec<Cell>>,
}

#[derive(Debug, PartialEq, Eq)]
struct Heading {
    title: String,
    is_number: bool,
}

#[derive(Debug, PartialEq, Eq)]
struct Cell {
    text: String,
    tone: Tone,
}

impl Grid {
    pub(crate) fn of<'a, T: 'a>(
        columns: &[&Column<T>],
        rows: impl IntoIterator<Item = &'a T>,
    ) -> Self {
        let heading =
            |column: &&Column<T>| Heading { title: column.title(), is_number: column.is_number() };
        let cell = |column: &&Column<T>, row: &T| Cell {
            text: visible(&column.show(row)).into_owned(),
            tone: column.tone(row),
        };
        Self {
            headings: columns.iter().map(heading).collect(),
            rows: rows
                .into_iter()
                .map(|row| columns.iter().map(|column| cell(column, row)).collect())
                .collect(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Lines end without spaces.
    pub(crate) fn lay_out(&self, screen: Screen, with_headings: bool) -> String {
        let widths = self.widths(screen.width, with_headings);
        let mut text = String::new();
        if with_headings {
            let titles = self.headings.iter().map(|heading| heading.title.as_str());
            let line = self.line(titles.map(|title| (title, Tone::Plain)), &widths, false);
            text.push_str(&if screen.colours { bold(&line) } else { line });
            text.push('\n');
        }
        for row in &self.rows {
            let cells = row.iter().map(|cell| (cell.text.as_str(), cell.tone));
            text.push_str(&self.line(cells, &widths, screen.colours));
            text.push('\n');
        }
        text
    }

    fn line<'a>(
        &self,
        cells: impl Iterator<Item = (&'a str, Tone)>,
        widths: &[usize],
        colours: bool,
    ) -> String {
        let mut line = String::new();
        // Spaces are written when something comes behind them.
        let mut owed = 0;
        for ((text, tone), (heading, room)) in cells.zip(self.headings.iter().zip(widths)) {
            let text = cut(text, *room);
            let spare = room.saturating_sub(width(&text));
            let (before, after) = if heading.is_number { (spare, 0) } else { (0, spare) };
            if !text.is_empty() {
                line.push_str(&" ".repeat(owed + before));
                line.push_str(&if colours { tone.paint(&text) } else { text.into_owned() });
                owed = 0;
            } else {
                owed += before;
            }
            owed += after + GAP.len();
        }
        line
    }

    fn widths(&self, screen: Option<usize>, with_headings: bool) -> Vec<usize> {
        let natural = |(index, heading): (usize, &Heading)| {
            let cells = self.rows.iter().filter_map(|row| row.get(index));
            let title = if with_headings { width(&heading.title) } else { 0 };
            cells.map(|cell| width(&cell.text)).max().unwrap_or(0).max(title)
        };
        let widths: Vec<usize> = self.headings.iter().enumerate().map(natural).collect();
        screen.and_then(|screen| self.narrowed(&widths, screen)).unwrap_or(widths)
    }

    /// None when no cut would make them fit.
    fn narrowed(&self, widths: &[usize], screen: usize) -> Option<Vec<usize>> {
        let mut widths = widths.to_vec();
        let gaps = GAP.len() * widths.len().saturating_sub(1);
        while widths.iter().sum::<usize>() + gaps > screen {
            let texts = widths.iter_mut().zip(&self.headings).skip(1);
            let wide = texts.filter(|(width, heading)| {
                !heading.is_number && **width > TEXT_WIDTH_MIN.max(heading.title.len())
            });
            let (widest, _) = wide.max_by_key(|(width, _)| **width)?;
            *widest -= 1;
        }
        Some(widths)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Row = (&'static str, u64, &'static str);
    type OfRow = Column<Row>;

    const COLUMNS: &[OfRow] = &[
        OfRow::text("n", |row| row.0.into()),
        OfRow::count("count", |row| Some(row.1)),
        OfRow::text("z", |row| row.2.into()).toned(|_| Tone::Bad),
    ];

    fn check(rows: &[Row], screen: Screen, with_headings: bool, expect: &str) {
        let grid = Grid::of(&COLUMNS.iter().collect::<Vec<_>>(), rows);
        assert_eq!(grid.lay_out(screen, with_headings), expect);
    }

    const NARROW: Screen =
        Screen { is_terminal: true, width: Some(24), height: None, colours: false };

    #[test]
    fn columns_are_aligned_and_lines_end_without_spaces() {
        let rows = [("a", 7, "x"), ("bcd", 12, "")];
        check(&rows, Screen::PIPE, true, "N    COUNT  Z\na        7  x\nbcd     12  -\n");
        check(&rows, Screen::PIPE, false, "a     7  x\nbcd  12  -\n");
        check(&[], Screen::PIPE, true, "N  COUNT  Z\n");
        check(&[("日本", 1, "x"), ("b", 2, "y")], Screen::PIPE, false, "日本  1  x\nb     2  y\n");
    }

    #[test]
    fn only_a_terminal_cuts_texts_and_never_the_first_column_or_a_number() {
        let rows = [("long-name", 1, "a reason that goes on and on")];
        let whole = "long-name  1  a reason that goes on and on\n";
        check(&rows, Screen::PIPE, false, whole);
        check(&rows, Screen { width: None, ..NARROW }, false, whole);
        check(&rows, NARROW, false, "long-name  1  a reason …\n");
        let least = Screen { width: Some(5), ..NARROW };
        check(&rows, least, false, whole);
    }

    #[test]
    fn colours_do_not_move_columns() {
        let screen = Screen { colours: true, ..NARROW };
        let expect = "\x1b[1mN  COUNT  Z\x1b[0m\na      7  \x1b[31mx\x1b[0m\n";
        check(&[("a", 7, "x")], screen, true, expect);
    }

    #[test]
    fn what_others_wrote_stays_in_its_cell() {
        check(&[("a\nb", 1, "\x1b[2J")], Screen::PIPE, false, "a\\nb  1  \\x1b[2J\n");
    }
}
