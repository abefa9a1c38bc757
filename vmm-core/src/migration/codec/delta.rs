//! What differs from the last sent copy, byte by byte; in the way of XBZRLE, a format of our own.
//!
//! ```text
//!   body  = run*
//!   run   = skip length bytes[length]          skip bytes are as they were, length (at least 1) are these
//!   skip, length = u7, or u14 as (low 7 bits | 0x80), high 7 bits
//! ```
//!
//! After the last run the page is as it was. Runs that are nearer than `GAP` are one. An empty body is a page that did not change.

use super::{DecodeError, PAGE, Page};

/// Fewer equal bytes than this cost less than another run.
const GAP: usize = 4;
const MORE: u8 = 0x80;

/// Appends what `page` has that `copy` has not. False, and nothing appended, when that takes more than `most` bytes.
pub fn encode(copy: &Page, page: &Page, most: usize, out: &mut Vec<u8>) -> bool {
    let start = out.len();
    let mut at = 0;
    loop {
        let skip = equal(&copy[at..], &page[at..]);
        let from = at + skip;
        if from == PAGE {
            return true;
        }
        let length = differing(&copy[from..], &page[from..]);
        put(skip, out);
        put(length, out);
        out.extend_from_slice(&page[from..from + length]);
        at = from + length;
        if out.len() - start > most {
            out.truncate(start);
            return false;
        }
    }
}

/// Changes `page`, which is the copy.
///
/// # Errors
/// [`DecodeError::Delta`].
pub fn decode(body: &[u8], page: &mut Page) -> Result<(), DecodeError> {
    let (mut at, mut to) = (0, 0);
    while at < body.len() {
        let wrong = DecodeError::Delta { at };
        let skip = get(body, &mut at).ok_or(wrong)?;
        let length = get(body, &mut at).filter(|length| *length > 0).ok_or(wrong)?;
        let bytes = body.get(at..at + length).ok_or(wrong)?;
        let from = to + skip;
        page.get_mut(from..from + length).ok_or(wrong)?.copy_from_slice(bytes);
        (at, to) = (at + length, from + length);
    }
    Ok(())
}

/// How many bytes are equal, eight at a time as long as that goes.
fn equal(a: &[u8], b: &[u8]) -> usize {
    let words = a.chunks_exact(8).zip(b.chunks_exact(8)).take_while(|(a, b)| a == b).count() * 8;
    words + a[words..].iter().zip(&b[words..]).take_while(|(a, b)| a == b).count()
}

/// How many bytes there are until [`GAP`] equal ones, or the end.
fn differing(a: &[u8], b: &[u8]) -> usize {
    let mut same = 0;
    for (index, (a, b)) in a.iter().zip(b).enumerate() {
        same = if a == b { same + 1 } else { 0 };
        if same == GAP {
            return index + 1 - GAP;
        }
    }
    a.len() - same
}

fn put(value: usize, out: &mut Vec<u8>) {
    let low = (value & 0x7f).try_into().unwrap_or(0_u8);
    let high: u8 = (value >> 7).try_into().unwrap_or(0);
    if high == 0 {
        out.push(low);
    } else {
        out.extend([low | MORE, high]);
    }
}

fn get(body: &[u8], at: &mut usize) -> Option<usize> {
    let low = *body.get(*at)?;
    *at += 1;
    if low & MORE == 0 {
        return Some(low.into());
    }
    let high = *body.get(*at)?;
    *at += 1;
    Some(usize::from(low & !MORE) | usize::from(high) << 7)
}
