//! What was asked of the machine, in order: for tests that care about order and counts.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use super::ops::Op;
use crate::domid::DomId;

/// Calls kept; older ones are forgotten.
pub const CALLS_MAX: usize = 65_536;

/// One call of a trait method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Call {
    /// Which method.
    pub op: Op,
    /// The domain it was about, when it was about one.
    pub domid: Option<DomId>,
    /// The xenstore path, when it was about one.
    pub path: Option<String>,
}

/// The calls made since the last [`Recorder::clear`], those that were made to fail included.
#[derive(Debug, Default)]
pub struct Recorder {
    calls: Mutex<VecDeque<Call>>,
}

impl Recorder {
    pub(crate) fn record(&self, call: Call) {
        let mut calls = self.calls.lock().unwrap_or_else(PoisonError::into_inner);
        if calls.len() == CALLS_MAX {
            calls.pop_front();
        }
        calls.push_back(call);
    }

    /// All of them, oldest first.
    #[must_use]
    pub fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// The operations alone, oldest first.
    #[must_use]
    pub fn ops(&self) -> Vec<Op> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|c| c.op).collect()
    }

    /// How often one was called.
    #[must_use]
    pub fn count(&self, op: Op) -> usize {
        self.ops().into_iter().filter(|called| *called == op).count()
    }

    /// Forgets all.
    pub fn clear(&self) {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
