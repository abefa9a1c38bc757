//! The one format of all results.

use anyhow::Result;
use serde::Serialize;

/// One figure.
#[derive(Serialize)]
pub(crate) struct Row {
    name: String,
    value: f64,
    unit: &'static str,
    /// What it should be, in words; `null` for a figure that is only told.
    goal: Option<String>,
    /// `null` without a goal.
    met: Option<bool>,
}

/// A suite's figures.
#[derive(Serialize)]
pub(crate) struct Report {
    suite: &'static str,
    rows: Vec<Row>,
}

impl Report {
    pub(crate) fn new(suite: &'static str) -> Self {
        Self { suite, rows: Vec::new() }
    }

    /// A figure without a goal.
    pub(crate) fn tell(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.rows.push(Row { name: name.into(), value, unit, goal: None, met: None });
    }

    /// A figure that should be at most `limit`.
    pub(crate) fn at_most(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        limit: f64,
    ) {
        let (goal, met) = (Some(format!("<= {limit}")), Some(value <= limit));
        self.rows.push(Row { name: name.into(), value, unit, goal, met });
    }

    /// A figure that should be at least `limit`.
    pub(crate) fn at_least(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        limit: f64,
    ) {
        let (goal, met) = (Some(format!(">= {limit}")), Some(value >= limit));
        self.rows.push(Row { name: name.into(), value, unit, goal, met });
    }

    pub(crate) fn print(&self, json: bool) -> Result<()> {
        for row in &self.rows {
            let verdict = match (&row.goal, row.met) {
                (Some(goal), Some(true)) => format!("goal {goal}: met"),
                (Some(goal), _) => format!("goal {goal}: MISSED"),
                (None, _) => String::new(),
            };
            println!("{:<44} {:>14.4} {:<10} {verdict}", row.name, row.value, row.unit);
        }
        if json {
            println!("{}", serde_json::to_string(self)?);
        }
        Ok(())
    }
}
