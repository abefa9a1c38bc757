//! What was measured, a line a sample.

use std::time::Duration;

use anyhow::Error;
use serde_json::json;

/// Whose time it is, and under which conditions.
pub(crate) type Who<'a> = &'a str;

pub(crate) fn seconds(measure: &str, who: Who<'_>, time: Duration) {
    println!("{}", json!({ "measure": measure, "who": who, "seconds": time.as_secs_f64() }));
}

pub(crate) fn count(measure: &str, who: Who<'_>, count: u64) {
    println!("{}", json!({ "measure": measure, "who": who, "count": count }));
}

pub(crate) fn left_out(measure: &str, who: Who<'_>, why: &Error) {
    println!("{}", json!({ "measure": measure, "who": who, "left_out": format!("{why:#}") }));
}
