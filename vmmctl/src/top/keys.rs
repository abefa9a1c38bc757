//! Keys, and what they do. What is shown by `?` is this table.

use std::ops::ControlFlow;

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::columns::{HOST_FIELDS, HOSTS, VM_FIELDS, VMS};
use super::state::{Focus, Pane, State};
use crate::output::Column;

/// Each key and what it does.
pub(super) const KEYS: &[(&str, &str)] = &[
    ("↑ ↓ PgUp PgDn Home End, j k", "move"),
    ("Tab", "the other table"),
    ("c m d n a", "sort by CPU, memory, disk, network, name"),
    ("< >", "sort by the column beside"),
    ("r", "turn the order around"),
    ("/", "filter VMs: a query such as web status=running; Esc drops it"),
    ("Enter", "on a host: only its VMs, and all again"),
    ("Space", "stop, and go on"),
    ("?", "these keys"),
    ("q, Ctrl-C", "end"),
];

/// Breaks when somebody wants to end it.
pub(super) fn press(state: &mut State, key: KeyEvent) -> ControlFlow<()> {
    let is_ctrl_c = key.code == KeyCode::Char('c') && key.modifiers.contains(KeyModifiers::CONTROL);
    if is_ctrl_c {
        return ControlFlow::Break(());
    }
    if key.kind == KeyEventKind::Release {
        return ControlFlow::Continue(());
    }
    if state.shows_help {
        state.shows_help = false;
    } else if state.is_typing {
        type_filter(state, key.code);
    } else {
        return command(state, key.code);
    }
    ControlFlow::Continue(())
}

fn command(state: &mut State, key: KeyCode) -> ControlFlow<()> {
    match key {
        KeyCode::Char('q') => return ControlFlow::Break(()),
        KeyCode::Char('?' | 'h') => state.shows_help = true,
        KeyCode::Char('/') => state.is_typing = true,
        KeyCode::Char(' ') => state.pause_or_go_on(),
        KeyCode::Esc => {
            state.filter.clear();
            state.only_host = None;
            state.want();
        }
        KeyCode::Tab | KeyCode::BackTab => {
            state.focus = if state.focus == Focus::Vms { Focus::Hosts } else { Focus::Vms };
        }
        KeyCode::Enter if state.focus == Focus::Hosts => only_this_host(state),
        other => sort_or_move(state, other),
    }
    ControlFlow::Continue(())
}

fn type_filter(state: &mut State, key: KeyCode) {
    match key {
        KeyCode::Enter => state.is_typing = false,
        KeyCode::Esc => {
            state.is_typing = false;
            state.filter.clear();
        }
        KeyCode::Backspace => {
            state.filter.pop();
        }
        KeyCode::Char(c) => state.filter.push(c),
        _ => {}
    }
    state.want();
}

fn only_this_host(state: &mut State) {
    let host = state.hosts.get(state.host_pane.selected).map(|row| row.host.name.clone());
    state.only_host = if state.only_host == host { None } else { host };
    state.want();
}

fn sort_or_move(state: &mut State, key: KeyCode) {
    let names: Vec<&str> = match state.focus {
        Focus::Hosts => sortable(HOSTS, HOST_FIELDS),
        Focus::Vms => sortable(VMS, VM_FIELDS),
    };
    let (rows, pane) = match state.focus {
        Focus::Hosts => (state.hosts.len(), &mut state.host_pane),
        Focus::Vms => (state.vms.len(), &mut state.vm_pane),
    };
    if sort(pane, &names, key) {
        state.want();
    } else {
        let page = pane.height.max(1);
        let to = match key {
            KeyCode::Up | KeyCode::Char('k') => pane.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => pane.selected + 1,
            KeyCode::PageUp => pane.selected.saturating_sub(page),
            KeyCode::PageDown => pane.selected + page,
            KeyCode::Home => 0,
            KeyCode::End => rows,
            _ => return,
        };
        pane.select(to, rows);
    }
}

/// Columns without a field stand last, so that an index among the others is one among all.
fn sortable<T>(columns: &[Column<T>], fields: &[Option<&str>]) -> Vec<&'static str> {
    let with_field = columns.iter().zip(fields).filter(|(_, field)| field.is_some());
    with_field.map(|(column, _)| column.name()).collect()
}

/// False when the key has nothing to do with order. Figures begin with the largest, names with the first.
fn sort(pane: &mut Pane, names: &[&str], key: KeyCode) -> bool {
    let named = |name| names.iter().position(|known| *known == name);
    let column = match key {
        KeyCode::Char('r') => {
            pane.is_descending = !pane.is_descending;
            return true;
        }
        KeyCode::Char('<') => Some((pane.sort + names.len() - 1) % names.len()),
        KeyCode::Char('>') => Some((pane.sort + 1) % names.len()),
        KeyCode::Char('c') => named("cpu"),
        KeyCode::Char('m') => named("memory"),
        KeyCode::Char('d') => named("disk"),
        KeyCode::Char('n') => named("network"),
        KeyCode::Char('a') => named("name"),
        _ => None,
    };
    let Some(column) = column else {
        return false;
    };
    let is_text = ["name", "status", "health", "host"].contains(&names[column]);
    (pane.sort, pane.is_descending) = (column, !is_text);
    true
}
