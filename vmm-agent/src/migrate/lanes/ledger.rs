//! How much of the whole has arrived: what was put on each lane, and how much of each lane has been acknowledged.

use std::collections::VecDeque;

use super::format::HEAD_BYTES;

/// A piece that may be on its way.
#[derive(Clone, Copy, Debug)]
struct Sent {
    /// Where it begins in the whole.
    position: u64,
    /// The offset of its lane behind it.
    lane_end: u64,
}

/// The pieces of all lanes.
#[derive(Debug)]
pub(super) struct Ledger {
    lanes: Vec<Row>,
    /// All that was handed over.
    handed: u64,
}

#[derive(Debug)]
struct Row {
    sent: VecDeque<Sent>,
    lane_end: u64,
}

impl Ledger {
    /// Lanes that have a preamble, and nothing else.
    pub(super) fn new(lanes: usize) -> Self {
        let row = || Row { sent: VecDeque::new(), lane_end: HEAD_BYTES as u64 };
        Self { lanes: (0..lanes).map(|_| row()).collect(), handed: 0 }
    }

    /// All that was handed over.
    pub(super) fn handed(&self) -> u64 {
        self.handed
    }

    /// So many bytes go over that lane. Where they begin.
    pub(super) fn put(&mut self, lane: usize, bytes: usize) -> u64 {
        let (row, position) = (&mut self.lanes[lane], self.handed);
        row.lane_end += (HEAD_BYTES + bytes) as u64;
        row.sent.push_back(Sent { position, lane_end: row.lane_end });
        self.handed += bytes as u64;
        position
    }

    /// All before this has arrived, when so much of each lane was acknowledged.
    pub(super) fn arrived(&self, acknowledged: &[u64]) -> u64 {
        let open = |(row, told): (&Row, &u64)| {
            let first = row.sent.partition_point(|sent| sent.lane_end <= *told);
            row.sent.get(first).map(|sent| sent.position)
        };
        let lanes = self.lanes.iter().zip(acknowledged);
        lanes.filter_map(open).min().unwrap_or(self.handed)
    }

    /// Forgets what was acknowledged.
    pub(super) fn forget(&mut self, acknowledged: &[u64]) {
        for (row, told) in self.lanes.iter_mut().zip(acknowledged) {
            while row.sent.front().is_some_and(|sent| sent.lane_end <= *told) {
                row.sent.pop_front();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_arrived_ends_where_a_lane_is_behind() {
        const HEAD: u64 = HEAD_BYTES as u64;
        let mut ledger = Ledger::new(2);
        assert_eq!(ledger.arrived(&[0, 0]), 0);
        assert_eq!([ledger.put(0, 100), ledger.put(1, 50), ledger.put(0, 7)], [0, 100, 150]);
        assert_eq!(ledger.handed(), 157);
        let (first, second) = (HEAD + HEAD + 100, HEAD + HEAD + 50);
        for (acknowledged, arrived) in [
            ([0, 0], 0),
            ([first - 1, second], 0),
            ([first, 0], 100),
            ([first, second], 150),
            ([first + HEAD + 7, 0], 100),
            ([first + HEAD + 7, second], 157),
            ([u64::MAX, u64::MAX], 157),
        ] {
            assert_eq!(ledger.arrived(&acknowledged), arrived, "{acknowledged:?}");
        }
        ledger.forget(&[first, second]);
        assert_eq!(ledger.arrived(&[first, second]), 150);
        assert_eq!(ledger.put(1, 3), 157);
        assert_eq!(ledger.arrived(&[u64::MAX, second]), 157);
    }
}
