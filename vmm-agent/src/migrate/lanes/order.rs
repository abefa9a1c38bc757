//! Pieces of several lanes in their order, and everything that must not be. Pure: it is told what a lane brings, and says what is next.

use super::error::LaneError;
use super::format::{Item, Piece, Preamble};
use super::{AHEAD_BYTES_MAX, LANES_MAX};

/// What is to be done.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// The next bytes of the whole.
    Bytes(Vec<u8>),
    /// A lane that is waited for has to bring more, or to come.
    Wait,
    /// All is here.
    Over,
}

/// What a lane has brought and nobody has taken.
#[derive(Debug)]
enum Head {
    Nothing,
    Piece(Piece),
    End(u64),
}

/// A lane.
#[derive(Debug)]
struct Seat {
    number: u32,
    is_admitted: bool,
    head: Head,
    taken: u64,
}

/// The lanes, and how far the whole is.
#[derive(Debug, Default)]
pub(crate) struct Order {
    seats: Vec<Seat>,
    /// As the first preamble said.
    lanes: Option<u8>,
    next: u64,
}

impl Order {
    /// A stream has come, and is no lane yet. Its place.
    ///
    /// # Errors
    /// [`LaneError`]: it cannot be one.
    pub(crate) fn seat(&mut self, number: u32) -> Result<usize, LaneError> {
        if number as usize >= LANES_MAX {
            return Err(LaneError::Number { number });
        }
        if self.seats.iter().any(|seat| seat.number == number) {
            return Err(LaneError::Twice { lane: number });
        }
        self.seats.push(Seat { number, is_admitted: false, head: Head::Nothing, taken: 0 });
        Ok(self.seats.len() - 1)
    }

    /// The number of the stream at that place.
    pub(super) fn number(&self, seat: usize) -> u32 {
        self.seats[seat].number
    }

    /// What that lane has brought. Asked only when it [wants](Self::wants) something.
    ///
    /// # Errors
    /// [`LaneError`].
    pub(crate) fn put(&mut self, seat: usize, item: Item) -> Result<(), LaneError> {
        match item {
            Item::Preamble(preamble) => return self.admit(seat, preamble),
            Item::Piece(piece) => self.seats[seat].head = Head::Piece(piece),
            Item::End(end) => self.seats[seat].head = Head::End(end),
        }
        Ok(())
    }

    fn admit(&mut self, seat: usize, preamble: Preamble) -> Result<(), LaneError> {
        let Preamble { lanes, lane } = preamble;
        let before = *self.lanes.get_or_insert(lanes);
        let number = self.seats[seat].number;
        if u32::from(lane) != number {
            return Err(LaneError::Misnamed { number, lane });
        }
        if lanes != before {
            return Err(LaneError::Disagree { lane: number, lanes, before });
        }
        self.seats[seat].is_admitted = true;
        Ok(())
    }

    /// Whether something more of that lane can be looked at.
    pub(crate) fn wants(&self, seat: usize) -> bool {
        matches!(self.seats[seat].head, Head::Nothing)
    }

    /// Whether all lanes are here that there are.
    pub(crate) fn is_complete(&self) -> bool {
        let come = self.seats.iter().all(|seat| seat.is_admitted);
        come && self.lanes.is_some_and(|lanes| self.seats.len() == usize::from(lanes))
    }

    /// Whether some lane waits for another one.
    pub(super) fn is_held_up(&self) -> bool {
        self.seats.iter().any(|seat| !matches!(seat.head, Head::Nothing))
    }

    /// How many lanes have come, and how many there are as far as anybody has said.
    pub(super) fn come(&self) -> (usize, usize) {
        let come = self.seats.iter().filter(|seat| seat.is_admitted).count();
        (come, self.lanes.map_or(self.seats.len(), usize::from))
    }

    /// The next byte of the whole that was not answered.
    pub(super) fn position(&self) -> u64 {
        self.next
    }

    /// The offset of that lane up to which it was answered.
    pub(super) fn taken(&self, seat: usize) -> u64 {
        self.seats[seat].taken
    }

    /// What is next.
    ///
    /// # Errors
    /// [`LaneError`]: there is none, or there are two.
    pub(crate) fn next(&mut self) -> Result<Next, LaneError> {
        let next = self.next;
        let (mut found, mut waits) = (None, !self.is_complete());
        for (index, seat) in self.seats.iter().enumerate() {
            let lane = seat.number;
            match &seat.head {
                Head::Nothing => waits = true,
                Head::Piece(Piece { position, .. }) if *position < next => {
                    return Err(LaneError::Overlap { lane, position: *position, next });
                }
                Head::Piece(Piece { position, .. }) if position - next > AHEAD_BYTES_MAX => {
                    return Err(LaneError::Far { lane, position: *position, next });
                }
                Head::Piece(Piece { position, .. }) if *position == next => {
                    if found.replace(index).is_some() {
                        return Err(LaneError::Overlap { lane, position: next, next });
                    }
                }
                Head::End(end) if *end < next => {
                    return Err(LaneError::End { lane, end: *end, next });
                }
                Head::Piece(_) | Head::End(_) => {}
            }
        }
        match found {
            Some(index) => Ok(Next::Bytes(self.take(index))),
            None if waits => Ok(Next::Wait),
            None => self.over(),
        }
    }

    fn take(&mut self, index: usize) -> Vec<u8> {
        let seat = &mut self.seats[index];
        match std::mem::replace(&mut seat.head, Head::Nothing) {
            Head::Piece(piece) => {
                seat.taken = piece.lane_end;
                self.next += piece.bytes.len() as u64;
                piece.bytes
            }
            other => {
                seat.head = other;
                Vec::new()
            }
        }
    }

    /// Every lane has brought what comes next on it, and nothing of that is next.
    fn over(&self) -> Result<Next, LaneError> {
        let next = self.next;
        for seat in &self.seats {
            match seat.head {
                Head::End(end) if end == next => {}
                Head::End(end)
                    if self.seats.iter().all(|seat| matches!(seat.head, Head::End(_))) =>
                {
                    return Err(LaneError::End { lane: seat.number, end, next });
                }
                _ => return Err(LaneError::Gap { next }),
            }
        }
        Ok(Next::Over)
    }
}
