//! What is forgotten: finished tasks and idempotency keys beyond their number or their age, the oldest first.
//!
//! The parts of a task stay as long as it is open. What an older manager stored without a date goes by its number alone.

use std::sync::Arc;
use std::time::Duration;

use super::{Reconciler, Turn};
use crate::app::{App, State};
use crate::store::Put;

/// Records of a kind that one turn forgets.
const DROPS_MAX: usize = 512;

pub(super) struct Retention;

impl Reconciler for Retention {
    fn name(&self) -> &'static str {
        "retention"
    }

    fn every(&self) -> Duration {
        Duration::from_secs(60)
    }

    fn turn(&mut self, app: &Arc<App>) -> Turn {
        let mut state = app.lock();
        let looked = state.finished.len() + state.keys_by_age.len();
        let mut batch = old_tasks(app, &state);
        batch.extend(old_keys(app, &state));
        let changed = batch.len();
        if changed > 0 {
            state.commit_facts(batch);
        }
        Turn { looked, changed }
    }
}

fn millis(age: Duration) -> u64 {
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

fn old_tasks(app: &App, state: &State) -> Vec<Put> {
    let before = app.now_ms().saturating_sub(millis(app.config.finished_tasks_age));
    let too_many = state.finished.len().saturating_sub(app.config.finished_tasks_max);
    let is_old = |task| {
        let entry = state.tasks.get(task);
        entry.and_then(|entry| entry.record.shown.finished_ms).is_some_and(|at| at < before)
    };
    let oldest = state.finished.values().enumerate();
    let old = oldest.take_while(|(place, task)| *place < too_many || is_old(task));
    let old = old.map(|(_, task)| *task).filter(|task| !state.is_part_of_open(*task));
    old.take(DROPS_MAX).map(Put::DropTask).collect()
}

fn old_keys(app: &App, state: &State) -> Vec<Put> {
    let before = app.now_ms().saturating_sub(millis(app.config.idempotency_keys_age));
    let too_many = state.keys_by_age.len().saturating_sub(app.config.idempotency_keys_max);
    let is_old = |key: &String| {
        state.keys.get(key).is_some_and(|record| record.at_ms > 0 && record.at_ms < before)
    };
    let oldest = state.keys_by_age.values().enumerate();
    let old = oldest.take_while(|(place, key)| *place < too_many || is_old(key));
    old.take(DROPS_MAX).map(|(_, key)| Put::DropKey(key.clone())).collect()
}
