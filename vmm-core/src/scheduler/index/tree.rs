//! Rows of costs, and rows of their minima above.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::LANES;

/// Rows that one row of the level above stands for.
const FAN: usize = 16;

/// Sums of the same parts in another order differ by less.
const SLACK: f64 = 1e-9;

type Row = [f64; LANES];

const NOWHERE: Row = [f64::INFINITY; LANES];

/// What a question makes of a host.
pub(super) enum Judged {
    /// It may take the VM, at this cost.
    Costs(f64),
    /// It may not.
    Barred,
    /// The walk is given up.
    Enough,
}

impl From<Option<f64>> for Judged {
    fn from(cost: Option<f64>) -> Self {
        cost.map_or(Self::Barred, Self::Costs)
    }
}

/// Level 0 has a row a host; the last level has at most [`FAN`] rows.
#[derive(Clone, Debug, Default)]
pub(super) struct Tree {
    levels: Vec<Vec<Row>>,
}

impl Tree {
    /// Makes room for `hosts`; what is new costs infinitely much.
    pub(super) fn grow(&mut self, hosts: usize) {
        let (mut rows, levels) = (hosts, self.levels.len());
        for level in 0.. {
            if level == self.levels.len() {
                self.levels.push(Vec::new());
            }
            self.levels[level].resize(rows, NOWHERE);
            if rows <= FAN {
                break;
            }
            rows = rows.div_ceil(FAN);
        }
        // A new level stands for all rows below, not only for the new ones, which cost infinitely much and change no minimum.
        if self.levels.len() > levels {
            self.rebuild();
        }
    }

    /// Sets a host's row without the rows above.
    pub(super) fn set_leaf(&mut self, host: usize, costs: Row) {
        self.levels[0][host] = costs;
    }

    /// Sets a host's row and those above.
    pub(super) fn update(&mut self, host: usize, costs: Row) {
        self.levels[0][host] = costs;
        self.rebuild_from(host);
    }

    fn rebuild_from(&mut self, host: usize) {
        let mut row = host;
        for level in 1..self.levels.len() {
            row /= FAN;
            let least = least_of(children(&self.levels[level - 1], row));
            // Whatever stands above depends on nothing else below.
            if self.levels[level][row] == least {
                return;
            }
            self.levels[level][row] = least;
        }
    }

    /// All rows above the hosts', anew.
    pub(super) fn rebuild(&mut self) {
        for level in 1..self.levels.len() {
            for row in 0..self.levels[level].len() {
                self.levels[level][row] = least_of(children(&self.levels[level - 1], row));
            }
        }
    }

    /// The first host of the least cost.
    pub(super) fn least(&self, lane: usize) -> Option<(usize, f64)> {
        let top = self.levels.last()?;
        let (mut row, cost) = first_least(top, lane)?;
        for level in self.levels.iter().rev().skip(1) {
            row = row * FAN + first_least(children(level, row), lane)?.0;
        }
        Some((row, cost))
    }

    /// The first host of the least cost, where the cost of a host is what `judge` makes of its row's, never less.
    pub(super) fn walk(
        &self,
        lane: usize,
        mut judge: impl FnMut(usize, f64) -> Judged,
    ) -> Option<(usize, f64)> {
        let mut ahead = BinaryHeap::new();
        let top = self.levels.len().checked_sub(1)?;
        let push = |ahead: &mut BinaryHeap<Ahead>, level: usize, first: usize, rows: &[Row]| {
            for (offset, row) in
                rows.iter().enumerate().filter(|(_, row)| row[lane] < f64::INFINITY)
            {
                ahead.push(Ahead { cost: row[lane], level, row: first + offset });
            }
        };
        push(&mut ahead, top, 0, &self.levels[top]);
        let mut best: Option<(usize, f64)> = None;
        while let Some(Ahead { cost, level, row }) = ahead.pop() {
            if best.is_some_and(|(_, least)| cost - SLACK > least) {
                break;
            }
            if level > 0 {
                push(&mut ahead, level - 1, row * FAN, children(&self.levels[level - 1], row));
                continue;
            }
            let cost = match judge(row, cost) {
                Judged::Costs(cost) => cost,
                Judged::Barred => continue,
                Judged::Enough => return None,
            };
            let is_better = |(host, least): (usize, f64)| (cost, row) < (least, host);
            if best.is_none_or(is_better) {
                best = Some((row, cost));
            }
        }
        best
    }
}

/// A row that has not been looked into. The cheapest comes first, then the one of the lower number.
struct Ahead {
    cost: f64,
    level: usize,
    row: usize,
}

impl Ord for Ahead {
    fn cmp(&self, other: &Self) -> Ordering {
        let by_cost = other.cost.total_cmp(&self.cost);
        by_cost.then(other.level.cmp(&self.level)).then(other.row.cmp(&self.row))
    }
}

impl PartialOrd for Ahead {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Ahead {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Ahead {}

fn children(below: &[Row], row: usize) -> &[Row] {
    let end = below.len().min((row + 1) * FAN);
    &below[(row * FAN).min(end)..end]
}

fn least_of(rows: &[Row]) -> Row {
    let mut least = NOWHERE;
    for row in rows {
        for (least, cost) in least.iter_mut().zip(row) {
            *least = if *cost < *least { *cost } else { *least };
        }
    }
    least
}

fn first_least(rows: &[Row], lane: usize) -> Option<(usize, f64)> {
    let mut best: Option<(usize, f64)> = None;
    for (offset, row) in rows.iter().enumerate() {
        if row[lane] < best.map_or(f64::INFINITY, |(_, least)| least) {
            best = Some((offset, row[lane]));
        }
    }
    best
}
