//! Layers: how hot a page is, by how soon it is written again after it was seen written.
//!
//! A page of layer `l` counts as quiet after `need(l) = 2^l - 1` epochs without a write: 0, 1, 3, 7, 15, 31, 63. Written again sooner,
//! it rises a layer, so that each disappointment doubles the wait (the debounce: a page that is written all the time is looked at
//! `log2` as often as there are epochs). Written again later, it first falls by `floor(log2((quiet + 1) / (need + 1)))`: the decay.

/// The hottest layer.
pub const LAYER_MAX: u8 = 6;

/// For how many epochs a page of this layer must be left alone to count as quiet.
#[must_use]
pub fn need(layer: u8) -> u8 {
    (1 << layer.min(LAYER_MAX)) - 1
}

/// The layer that `quiet` epochs without a write leave of `layer`.
#[must_use]
pub fn decayed(layer: u8, quiet: u8) -> u8 {
    if quiet < need(layer) {
        return layer;
    }
    let doublings = ((u16::from(quiet) + 1) / (u16::from(need(layer)) + 1)).ilog2();
    layer.saturating_sub(u8::try_from(doublings).unwrap_or(LAYER_MAX))
}

/// The layer after a write that came after `quiet` epochs without one.
#[must_use]
pub fn after_write(layer: u8, quiet: u8) -> u8 {
    (decayed(layer, quiet) + 1).min(LAYER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_rises_when_it_disappoints_and_falls_by_doublings() {
        let check = |layer, quiet, expect| assert_eq!(after_write(layer, quiet), expect);
        check(0, 200, 1);
        check(1, 0, 2);
        check(5, 30, 6);
        check(6, 0, 6);
        check(3, 7, 4);
        check(3, 15, 3);
        check(3, 31, 2);
        check(6, 127, 6);
        check(2, 255, 1);
    }

    #[test]
    fn a_page_that_waits_as_long_as_its_layer_asks_is_sent_log_often() {
        // A page written in every epoch is tried after 1, 2, 4, … epochs: the layers' needs add up to no more than twice the time.
        let tries: u32 = (0..=LAYER_MAX).map(|layer| u32::from(need(layer)) + 1).sum();
        assert_eq!(tries, 127);
    }
}
