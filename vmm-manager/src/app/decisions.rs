//! What the scheduler decided, and all that it was made of: kept a while, so that any decision can be looked into and made again.
//!
//! A decision is stored just after it is acted upon, outside the lock: writing down what five hundred hosts had to offer takes longer than deciding.
//! A manager that dies in that moment has decided without a record. The oldest make room for the latest, by their number and by their size.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use vmm_core::id::{TaskId, VmId};
use vmm_core::scheduler::record::{BadRecord, Question, Record};
use vmm_proto::v1::{CarryOut, DecisionKind, Progress};

use super::App;
use crate::store::{DecisionRecord, Put};

/// Decisions that are kept.
const COUNT_MAX: usize = 1000;
/// What their records may take together.
const BYTES_MAX: usize = 16 << 20;

/// Those that are kept, by number.
#[derive(Debug, Default)]
pub(crate) struct Decisions {
    by_number: BTreeMap<u64, DecisionRecord>,
    bytes: usize,
    /// The next one's.
    next: u64,
}

impl Decisions {
    pub(super) fn take(&mut self, made: DecisionRecord) {
        self.next = self.next.max(made.number + 1);
        self.bytes += made.made_of.len();
        if let Some(before) = self.by_number.insert(made.number, made) {
            self.bytes -= before.made_of.len();
        }
    }

    pub(super) fn drop(&mut self, number: u64) {
        if let Some(gone) = self.by_number.remove(&number) {
            self.bytes -= gone.made_of.len();
        }
    }

    pub(crate) fn get(&self, number: u64) -> Option<&DecisionRecord> {
        self.by_number.get(&number)
    }

    /// Those before this one, the latest first.
    pub(crate) fn before(&self, number: u64) -> impl Iterator<Item = &DecisionRecord> {
        self.by_number.range(..number).rev().map(|(_, made)| made)
    }

    /// Those whose moves are being made, as far as is written down.
    pub(crate) fn under_way(&self) -> impl Iterator<Item = (u64, &CarryOut)> {
        self.by_number.iter().filter_map(|(number, made)| {
            let carried = made.carried.as_ref()?;
            (carried.progress == Progress::UnderWay).then_some((*number, carried))
        })
    }

    /// The oldest, as many as must go for one of this size.
    fn in_the_way(&self, bytes: usize) -> Vec<u64> {
        let (mut count, mut left) = (self.by_number.len() + 1, self.bytes + bytes);
        let too_many = |(number, made): (&u64, &DecisionRecord)| {
            let is_over = count > COUNT_MAX || left > BYTES_MAX;
            (count, left) = (count - 1, left - made.made_of.len());
            is_over.then_some(*number)
        };
        self.by_number.iter().map_while(too_many).collect()
    }
}

/// What was decided, before it is written down.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    pub(crate) record: Record,
    pub(crate) task: Option<TaskId>,
    /// In words.
    pub(crate) answer: String,
    /// Its moves, where the manager makes them by itself.
    pub(crate) carried: Option<CarryOut>,
}

impl Made {
    fn about(&self) -> Option<(VmId, String)> {
        let (Question::Place(id) | Question::Grow(id, _) | Question::Relocate(id)) =
            &self.record.question
        else {
            return None;
        };
        let vm = self.record.pool.vms.iter().find(|vm| vm.id == *id)?;
        Some((*id, vm.name.clone()))
    }

    fn written(&self, at_ms: u64) -> std::io::Result<DecisionRecord> {
        let (vm, vm_name) = self.about().unzip();
        Ok(DecisionRecord {
            number: 0,
            at_ms,
            question: kind_of(&self.record.question),
            vm,
            vm_name,
            task: self.task,
            answer: self.answer.clone(),
            made_of: packed(&self.record.write())?,
            carried: self.carried.clone(),
        })
    }
}

fn kind_of(question: &Question) -> DecisionKind {
    match question {
        Question::Place(_) => DecisionKind::Place,
        Question::Batch(..) => DecisionKind::Batch,
        Question::Rebalance(_) => DecisionKind::Rebalance,
        Question::Evacuate(_) => DecisionKind::Evacuate,
        Question::Grow(..) => DecisionKind::Grow,
        Question::Relocate(_) => DecisionKind::Migration,
    }
}

fn packed(text: &str) -> std::io::Result<String> {
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(text.as_bytes())?;
    Ok(BASE64.encode(gzip.finish()?))
}

/// A record that is not what was written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unreadable {
    #[error("it is not base64: {0}")]
    Base64(#[from] base64::DecodeError),
    #[error("it cannot be unpacked: {0}")]
    Gzip(#[from] std::io::Error),
    #[error(transparent)]
    Record(#[from] BadRecord),
}

impl DecisionRecord {
    /// What it was made of.
    pub(crate) fn text(&self) -> Result<String, Unreadable> {
        let mut text = String::new();
        GzDecoder::new(BASE64.decode(&self.made_of)?.as_slice()).read_to_string(&mut text)?;
        Ok(text)
    }

    pub(crate) fn record(&self) -> Result<Record, Unreadable> {
        Ok(Record::read(&self.text()?)?)
    }
}

impl App {
    /// Writes a decision down, soon. The caller may hold the lock.
    pub(crate) fn keep_decision(self: &Arc<Self>, made: Made) {
        let app = Arc::clone(self);
        let at_ms = self.now_ms();
        self.jobs.spawn(async move {
            match made.written(at_ms) {
                Ok(record) => drop(app.store_decision(record)),
                Err(error) => tracing::error!(%error, "a decision could not be written down"),
            }
        });
    }

    /// As [`App::keep_decision`], at once: who goes on with it must know its number.
    pub(crate) fn keep_decision_now(&self, made: &Made) -> std::io::Result<u64> {
        let record = made.written(self.now_ms())?;
        Ok(self.store_decision(record))
    }

    /// Writes down what came of its moves, if it is still kept.
    pub(crate) fn note_carried(&self, number: u64, carried: &CarryOut) {
        let mut state = self.lock();
        let Some(made) = state.decisions.get(number) else { return };
        let record = DecisionRecord { carried: Some(carried.clone()), ..made.clone() };
        state.commit_facts(vec![Put::Decision(Box::new(record))]);
    }

    fn store_decision(&self, mut record: DecisionRecord) -> u64 {
        let mut state = self.lock();
        record.number = state.decisions.next;
        let old = state.decisions.in_the_way(record.made_of.len());
        let mut batch: Vec<Put> = old.into_iter().map(Put::DropDecision).collect();
        let number = record.number;
        batch.push(Put::Decision(Box::new(record)));
        state.commit_facts(batch);
        number
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn made(number: u64, bytes: usize) -> DecisionRecord {
        DecisionRecord {
            number,
            at_ms: 0,
            question: DecisionKind::Place,
            vm: None,
            vm_name: None,
            task: None,
            answer: String::new(),
            made_of: "x".repeat(bytes),
            carried: None,
        }
    }

    #[test]
    fn the_oldest_make_room_by_number_and_by_size() {
        let check = |sizes: &[usize], next: usize, gone: &[u64]| {
            let mut decisions = Decisions::default();
            for (number, bytes) in (0..).zip(sizes) {
                decisions.take(made(number, *bytes));
            }
            assert_eq!(decisions.in_the_way(next), gone, "{next} more");
            gone.iter().for_each(|number| decisions.drop(*number));
            assert!(decisions.in_the_way(next).is_empty(), "enough went");
        };
        check(&[], BYTES_MAX, &[]);
        check(&[1, 1, 1], BYTES_MAX - 3, &[]);
        check(&[1, 1, 1], BYTES_MAX - 2, &[0]);
        check(&[1, BYTES_MAX / 2, 1], BYTES_MAX / 2 + 1, &[0, 1]);
        check(&[0; COUNT_MAX], 1, &[0]);
    }

    #[test]
    fn a_number_is_used_once() {
        let mut decisions = Decisions::default();
        decisions.take(made(7, 3));
        decisions.take(made(7, 5));
        assert_eq!((decisions.next, decisions.bytes), (8, 5));
        decisions.drop(7);
        assert_eq!((decisions.next, decisions.bytes), (8, 0));
    }
}
