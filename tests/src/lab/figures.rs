//! What the bench's half in dom0 measured, brought to rows: medians, ratios, goals.
//!
//! A ratio whose sides were not both measured is left out, and its reason is kept; nothing is guessed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Value, json};

/// A line of `lab-dom0`.
#[derive(Deserialize)]
struct Sample {
    measure: String,
    who: String,
    seconds: Option<f64>,
    count: Option<u64>,
    left_out: Option<String>,
}

/// Samples by measure and by whose they are.
#[derive(Default)]
pub struct Figures {
    samples: BTreeMap<(String, String), Vec<f64>>,
    reasons: BTreeSet<String>,
}

/// A ratio to be met: the measure, ours, theirs, at most this.
pub type Goal = (&'static str, &'static str, &'static str, f64);

impl Figures {
    /// Takes what `lab-dom0` printed.
    ///
    /// # Errors
    /// A line that is none of its.
    pub fn read(&mut self, text: &str) -> Result<()> {
        for line in text.lines() {
            let sample: Sample =
                serde_json::from_str(line).with_context(|| format!("not a sample: {line}"))?;
            if let Some(why) = &sample.left_out {
                self.reasons.insert(format!("{}, {}: {why}", sample.measure, sample.who));
            }
            #[allow(clippy::cast_precision_loss, reason = "counts of a short run")]
            let value = sample.seconds.or(sample.count.map(|count| count as f64));
            if let Some(value) = value {
                self.add(&sample.measure, &sample.who, value);
            }
        }
        Ok(())
    }

    /// One sample.
    pub fn add(&mut self, measure: &str, who: &str, value: f64) {
        let key = (measure.to_owned(), who.to_owned());
        self.samples.entry(key).or_default().push(value);
    }

    /// Why samples are missing.
    pub fn reasons(&self) -> impl Iterator<Item = &str> {
        self.reasons.iter().map(String::as_str)
    }

    fn median(&self, measure: &str, who: &str) -> Option<f64> {
        let mut values = self.samples.get(&(measure.to_owned(), who.to_owned()))?.clone();
        values.sort_by(f64::total_cmp);
        let (low, high) = (values.len().checked_sub(1)? / 2, values.len() / 2);
        Some(f64::midpoint(*values.get(low)?, *values.get(high)?))
    }

    /// Medians of everything, without goals.
    #[must_use]
    pub fn medians(&self) -> Vec<Value> {
        let rows = self.samples.iter().filter_map(|((measure, who), samples)| {
            let value = self.median(measure, who)?;
            let name = format!("{measure}: {who} (median of {})", samples.len());
            Some(json!({ "name": name, "value": value, "unit": unit(measure), "goal": null, "met": null }))
        });
        rows.collect()
    }

    /// The ratios that can be formed.
    #[must_use]
    pub fn ratios(&self, goals: &[Goal]) -> Vec<Value> {
        let rows = goals.iter().filter_map(|(measure, ours, theirs, most)| {
            let ratio = self.median(measure, ours)? / self.median(measure, theirs)?;
            let name = format!("{measure}: {ours}, to {theirs}");
            Some(json!({
                "name": name, "value": ratio, "unit": "ratio", "goal": format!("<= {most}"), "met": ratio <= *most
            }))
        });
        rows.collect()
    }
}

fn unit(measure: &str) -> &'static str {
    if measure.starts_with("xenstore requests") {
        "requests"
    } else if measure.starts_with("CPU ns") {
        "ns (emulated)"
    } else if measure.ends_with("to RAM") {
        "of RAM"
    } else if measure.ends_with("rounds") || measure.ends_with("beside the gap") {
        "count"
    } else {
        "s (emulated)"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINES: &str = r#"{"measure":"create PV","who":"ours","seconds":1.0}
{"measure":"create PV","who":"ours","seconds":9.0}
{"measure":"create PV","who":"ours","seconds":2.0}
{"measure":"create PV","who":"xl","seconds":8.0}
{"measure":"create PV","who":"xl","seconds":4.0}
{"measure":"create PVH","who":"ours","left_out":"refused"}"#;

    #[test]
    fn a_ratio_is_of_medians_and_says_whether_its_goal_is_met() {
        let mut figures = Figures::default();
        figures.read(LINES).unwrap();
        for (most, met) in [(0.5, true), (0.3, false)] {
            let rows = figures.ratios(&[("create PV", "ours", "xl", most)]);
            assert_eq!(rows[0]["met"], met);
            assert!((rows[0]["value"].as_f64().unwrap() - 2.0 / 6.0).abs() < 1e-9);
        }
        assert!(figures.ratios(&[("create PVH", "ours", "xl", 1.0)]).is_empty());
        assert_eq!(figures.reasons().collect::<Vec<_>>(), ["create PVH, ours: refused"]);
    }
}
