//! The screen.
//!
//! ```text
//!   the pool in a line
//!   ┌ hosts ────┐   as many lines as there are hosts, two fifths of the screen at most
//!   ┌ VMs ──────┐   the rest
//!   keys, the filter that is typed, or what went wrong
//! ```

use ratatui::Frame;
use ratatui::layout::{Alignment, Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Text};
use ratatui::widgets::{Block, Cell, Clear, Paragraph, Row, Table};

use super::columns::{HOSTS, VMS};
use super::keys::KEYS;
use super::state::{Focus, Pane, State};
use crate::output::{Column, Tone, cpus, cut, mib, visible, width};

/// Two lines of border and one of headings.
const FRAME: u16 = 3;
/// A text is not cut to less.
const TEXT_WIDTH_MIN: usize = 8;
const SHORT_KEYS: &str =
    "Tab table  c m d n a sort  r reverse  / filter  Enter host  Space stop  ? keys  q end";

pub(super) fn draw(frame: &mut Frame<'_>, state: &mut State) {
    let all = frame.area();
    let wanted = u16::try_from(state.hosts.len()).unwrap_or(u16::MAX).saturating_add(FRAME);
    let hosts = wanted.min(all.height.saturating_mul(2) / 5).max(FRAME + 1);
    let rows = [
        Constraint::Length(1),
        Constraint::Length(hosts),
        Constraint::Min(FRAME),
        Constraint::Length(1),
    ];
    let [head, hosts, vms, foot] = Layout::vertical(rows).areas(all);
    frame.render_widget(Paragraph::new(summary(state)), head);
    let colours = state.colours;
    let is_focused = |focus| state.focus == focus;
    let (host_style, vm_style) = (
        Pen { colours, is_focused: is_focused(Focus::Hosts) },
        Pen { colours, is_focused: is_focused(Focus::Vms) },
    );
    let vm_title = title_of_vms(state);
    fit(&mut state.host_pane, hosts, state.hosts.len());
    fit(&mut state.vm_pane, vms, state.vms.len());
    let title = format!(" hosts ({}) ", state.hosts.len());
    frame.render_widget(
        host_style.table((title, hosts), HOSTS, &state.hosts, state.host_pane),
        hosts,
    );
    frame.render_widget(vm_style.table((vm_title, vms), VMS, &state.vms, state.vm_pane), vms);
    frame.render_widget(Paragraph::new(footer(state)), foot);
    if state.shows_help {
        help(frame, all);
    }
}

fn fit(pane: &mut Pane, area: Rect, rows: usize) {
    pane.height = usize::from(area.height.saturating_sub(FRAME));
    pane.select(pane.selected, rows);
}

fn summary(state: &State) -> String {
    let totals = state.totals();
    format!(
        "{} of {} hosts up   {} of {} VMs run   CPU {} of {}   memory {} of {} reserved{}",
        totals.hosts_up,
        state.hosts.len(),
        totals.vms.running_count,
        totals.vms.vm_count,
        cpus(totals.cpu_milli),
        totals.cpus,
        totals.memory_reserved_kib / 1024,
        mib(totals.memory_kib),
        if state.is_paused() { "   STOPPED" } else { "" },
    )
}

fn title_of_vms(state: &State) -> String {
    let on = state.only_host.as_ref().map(|host| format!(" on {host}")).unwrap_or_default();
    let filter =
        if state.filter.is_empty() { String::new() } else { format!(" with {}", state.filter) };
    let shown = u64::try_from(state.vms.len()).unwrap_or(u64::MAX);
    let count = match state.wanted.vm_count {
        all if all > shown => format!("the first {shown} of {all}"),
        _ => shown.to_string(),
    };
    format!(" VMs{on}{filter} ({count}) ")
}

fn footer(state: &State) -> Line<'static> {
    if state.is_typing {
        let wrong = state.wrong.as_ref().map(|wrong| format!("   {wrong}")).unwrap_or_default();
        return Line::raw(visible(&format!("filter: {}_{wrong}", state.filter)).into_owned());
    }
    match state.noted() {
        Some(why) => {
            let style = if state.colours { Style::new().fg(Color::Red) } else { Style::new() };
            Line::styled(format!("out of date: {}", visible(why)), style)
        }
        None => Line::raw(SHORT_KEYS),
    }
}

fn help(frame: &mut Frame<'_>, all: Rect) {
    let key_width = KEYS.iter().map(|(key, _)| width(key)).max().unwrap_or(0);
    let line = |(key, does): &(&str, &str)| {
        Line::raw(format!("{key}{}  {does}", " ".repeat(key_width - width(key))))
    };
    let lines: Vec<Line<'_>> = KEYS.iter().map(line).collect();
    let wide = lines.iter().map(Line::width).max().unwrap_or(0) + 2;
    let wide = u16::try_from(wide).unwrap_or(u16::MAX).min(all.width);
    let high = u16::try_from(lines.len() + 2).unwrap_or(u16::MAX).min(all.height);
    let area = all.centered(Constraint::Length(wide), Constraint::Length(high));
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(" keys ")), area);
}

/// How a table is drawn.
#[derive(Clone, Copy)]
struct Pen {
    colours: bool,
    is_focused: bool,
}

impl Pen {
    /// Only the rows on the screen are made, whatever the pool's size.
    fn table<T>(
        self,
        (title, area): (String, Rect),
        columns: &[Column<T>],
        rows: &[T],
        pane: Pane,
    ) -> Table<'static> {
        let shown = pane.window(rows);
        let Widths { widths, spacing } =
            widths(columns, shown, usize::from(area.width.saturating_sub(2)));
        let columns = &columns[..widths.len()];
        let selected = pane.selected.saturating_sub(pane.offset);
        let lines = shown.iter().enumerate().map(|(index, row)| {
            let style = if self.is_focused && index == selected {
                Style::new().add_modifier(Modifier::REVERSED)
            } else {
                Style::new()
            };
            let cells = columns.iter().zip(&widths);
            Row::new(cells.map(|(column, width)| self.cell(column, row, *width))).style(style)
        });
        let headings =
            columns.iter().enumerate().map(|(index, column)| heading(column, index, pane));
        let bold = Style::new().add_modifier(Modifier::BOLD);
        let border = if self.is_focused { bold } else { Style::new() };
        let lengths = widths
            .iter()
            .map(|width| Constraint::Length(u16::try_from(*width).unwrap_or(u16::MAX)));
        Table::new(lines.collect::<Vec<_>>(), lengths)
            .header(Row::new(headings).style(bold))
            .column_spacing(spacing)
            .block(Block::bordered().border_style(border).title(visible(&title).into_owned()))
    }

    fn cell<T>(self, column: &Column<T>, row: &T, width: usize) -> Cell<'static> {
        let text = cut(&visible(&column.show(row)), width).into_owned();
        let style = if self.colours { style(column.tone(row)) } else { Style::new() };
        Cell::new(Text::styled(text, style).alignment(alignment(column)))
    }
}

/// The sorted one has a mark.
fn heading<T>(column: &Column<T>, index: usize, pane: Pane) -> Text<'static> {
    let mark = match (index == pane.sort, pane.is_descending) {
        (false, _) => "",
        (true, true) => "▼",
        (true, false) => "▲",
    };
    Text::raw(format!("{}{mark}", column.title())).alignment(alignment(column))
}

fn alignment<T>(column: &Column<T>) -> Alignment {
    if column.is_number() { Alignment::Right } else { Alignment::Left }
}

/// The columns that are shown, from the first on.
struct Widths {
    widths: Vec<usize>,
    spacing: u16,
}

/// Where there is too little room, columns move together, then texts are cut, then the last columns are left out; figures are never cut.
fn widths<T>(columns: &[Column<T>], rows: &[T], room: usize) -> Widths {
    let mut widths: Vec<usize> = columns.iter().map(|column| natural(column, rows)).collect();
    let needs = |widths: &[usize], spacing: usize| {
        widths.iter().sum::<usize>() + spacing * widths.len().saturating_sub(1)
    };
    if needs(&widths, 2) <= room {
        return Widths { widths, spacing: 2 };
    }
    while needs(&widths, 1) > room && widths.len() > 1 {
        let texts = widths.iter_mut().zip(columns).filter(|(width, column)| {
            !column.is_number() && **width > TEXT_WIDTH_MIN.max(column.title().len() + 1)
        });
        match texts.max_by_key(|(width, _)| **width) {
            Some((width, _)) => *width -= 1,
            None => {
                widths.pop();
            }
        }
    }
    Widths { widths, spacing: 1 }
}

fn natural<T>(column: &Column<T>, rows: &[T]) -> usize {
    let cells = rows.iter().map(|row| width(&visible(&column.show(row))));
    // Room for the mark.
    cells.max().unwrap_or(0).max(width(&column.title()) + 1)
}

fn style(tone: Tone) -> Style {
    match tone {
        Tone::Plain => Style::new(),
        Tone::Good => Style::new().fg(Color::Green),
        Tone::Moving => Style::new().fg(Color::Yellow),
        Tone::Quiet => Style::new().add_modifier(Modifier::DIM),
        Tone::Bad => Style::new().fg(Color::Red),
    }
}
