//! What goes in comes out, and no bytes of a stranger do harm.

use proptest::prelude::*;

use super::*;
use crate::migration::Pfn;

const KEY: [u64; 2] = [0x9e37_79b9_7f4a_7c15, 0xbf58_476d_1ce4_e5b9];

fn packer() -> Packer {
    Packer::new(Key::new(KEY)).expect("there is memory")
}

fn page_of(seed: u64, kind: u8) -> Page {
    let mut random = seed | 1;
    let mut page = [0; PAGE];
    for (index, byte) in page.iter_mut().enumerate() {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        *byte = match kind {
            0 => 0,
            1 => random.to_le_bytes()[0],
            2 => random.to_le_bytes()[0] & 3,
            _ => (index / 64).to_le_bytes()[0],
        };
    }
    page
}

fn changed(page: &Page, writes: &[(usize, u8)]) -> Page {
    let mut after = *page;
    writes.iter().for_each(|(at, byte)| after[at % PAGE] = *byte);
    after
}

prop_compose! {
    fn tricks()(zero in any::<bool>(), delta in any::<bool>()) -> Tricks { Tricks { zero, same: false, delta } }
}

proptest! {
    #[test]
    fn what_goes_in_comes_out(
        seed in any::<u64>(), kind in 0_u8..4, writes in prop::collection::vec((0..PAGE, any::<u8>()), 0..300),
        pack in prop::sample::select(vec![Pack::Raw, Pack::Lz4, Pack::Zstd]), tricks in tricks(), against in 0_u8..3,
    ) {
        let mut packer = packer();
        let before = page_of(seed, kind);
        let page = changed(&before, &writes);
        let sums = packer.sums(&before);
        let against = match against { 0 => Against::Nothing, 1 => Against::Copy(&before), _ => Against::Sums(&sums) };
        let mut body = vec![7, 7];
        let encoding = encode(&mut packer, &page, against, (pack, tricks), &mut body);
        prop_assert_eq!(&body[..2], &[7, 7], "what was there stays");
        prop_assert!(body.len() <= PAGE + 2);
        let mut there = before;
        prop_assert_eq!(decode(&mut packer, encoding, &body[2..], &mut there), Ok(()));
        prop_assert!(there == page);
    }

    #[test]
    fn a_few_writes_make_a_small_delta(seed in any::<u64>(), writes in prop::collection::vec((0..PAGE, any::<u8>()), 0..20)) {
        let (before, mut packer) = (page_of(seed, 1), packer());
        let page = changed(&before, &writes);
        let mut body = Vec::new();
        prop_assert!(delta::encode(&before, &page, PAGE, &mut body));
        prop_assert!(body.len() <= writes.len() * 8, "{} bytes of {} writes", body.len(), writes.len());
        let mut blocks = Vec::new();
        let sums = packer.sums(&before);
        if packer.blocks(&sums, &page, &mut blocks) {
            prop_assert!(blocks.len() <= 2 + writes.len() * sums::BLOCK);
        }
    }

    #[test]
    fn a_strangers_bytes_give_a_page_or_an_error(encoding in 0_usize..7, body in prop::collection::vec(any::<u8>(), 0..600), seed in any::<u64>()) {
        let mut page = page_of(seed, 1);
        let _ = decode(&mut packer(), Encoding::ALL[encoding], &body, &mut page);
    }

    #[test]
    fn a_broken_body_gives_a_page_or_an_error(
        seed in any::<u64>(), writes in prop::collection::vec((0..PAGE, any::<u8>()), 1..60), pack in 0_u8..2,
        at in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>(), against in 0_u8..3,
    ) {
        let mut packer = packer();
        let before = page_of(seed, 2);
        let page = changed(&before, &writes);
        let sums = packer.sums(&before);
        let against = match against { 0 => Against::Nothing, 1 => Against::Copy(&before), _ => Against::Sums(&sums) };
        let pack = if pack == 0 { Pack::Lz4 } else { Pack::Zstd };
        let tricks = Tricks { zero: true, same: false, delta: true };
        let mut body = Vec::new();
        let encoding = encode(&mut packer, &page, against, (pack, tricks), &mut body);
        if !body.is_empty() {
            let index = at.index(body.len());
            body[index] ^= byte;
            body.truncate(cut.index(body.len()) + 1);
        }
        let mut there = before;
        let _ = decode(&mut packer, encoding, &body, &mut there);
    }
}

#[test]
fn a_body_that_is_none_is_refused_by_its_reason() {
    let check = |encoding, body: &[u8], expect| {
        let mut page = page_of(1, 1);
        assert_eq!(decode(&mut packer(), encoding, body, &mut page), Err(expect), "{encoding:?}");
    };
    check(Encoding::Zero, &[0], DecodeError::Length { encoding: Encoding::Zero, length: 1 });
    check(Encoding::Raw, &[1, 2], DecodeError::Length { encoding: Encoding::Raw, length: 2 });
    check(Encoding::Same, &[0, 0], DecodeError::Length { encoding: Encoding::Same, length: 2 });
    check(Encoding::Delta, &[1], DecodeError::Delta { at: 0 });
    check(Encoding::Delta, &[0, 0], DecodeError::Delta { at: 0 });
    check(Encoding::Delta, &[0xff, 0x7f, 1, 9], DecodeError::Delta { at: 0 });
    check(Encoding::Delta, &[0, 1, 5, 3, 9, 1], DecodeError::Delta { at: 3 });
    check(Encoding::Blocks, &[1], DecodeError::Blocks);
    check(Encoding::Blocks, &[1, 0, 3], DecodeError::Blocks);
    check(Encoding::Lz4, &[], DecodeError::Packed { encoding: Encoding::Lz4 });
    check(Encoding::Zstd, &[1, 2, 3], DecodeError::Packed { encoding: Encoding::Zstd });
}

#[test]
fn each_content_gets_the_encoding_that_suits_it() {
    let all = Tricks { zero: true, same: true, delta: true };
    let check = |page: Page, against: Against<'_>, pack, expect| {
        let mut body = Vec::new();
        assert_eq!(encode(&mut packer(), &page, against, (pack, all), &mut body), expect);
    };
    let noise = page_of(9, 1);
    let sums = packer().sums(&noise);
    let near = changed(&noise, &[(5, 1), (6, 2), (4000, 3)]);
    check(page_of(1, 0), Against::Nothing, Pack::Zstd, Encoding::Zero);
    check(page_of(1, 2), Against::Nothing, Pack::Zstd, Encoding::Zstd);
    check(page_of(1, 3), Against::Nothing, Pack::Lz4, Encoding::Lz4);
    check(noise, Against::Nothing, Pack::Zstd, Encoding::Raw);
    check(near, Against::Copy(&noise), Pack::Zstd, Encoding::Delta);
    check(near, Against::Sums(&sums), Pack::Zstd, Encoding::Blocks);
    check(page_of(10, 1), Against::Copy(&noise), Pack::Zstd, Encoding::Raw);
    check(page_of(10, 1), Against::Sums(&sums), Pack::Zstd, Encoding::Raw);
}

#[test]
fn twins_are_found_by_contents_and_told_by_number() {
    let batch = [page_of(1, 1), page_of(4, 1), page_of(1, 1), page_of(8, 1)];
    let mut twins = twins::Twins::new(batch.len());
    let found: Vec<_> = (0..4)
        .map(|index| twins.find(Key::new(KEY), index, |at| batch.get(usize::from(at))))
        .collect();
    assert_eq!(found, [None, None, Some(0), None]);
    assert_eq!(twins::resolve(&[0, 0], 2), Ok(0));
    assert_eq!(twins::resolve(&[2, 0], 2), Err(DecodeError::Twin { of: 2 }));
    assert!(twins::resolve(&[2], 2).is_err());
}

#[test]
fn copies_stay_within_their_bytes() {
    let mut copies = Copies::within(2 * PAGE + 100);
    let page = page_of(1, 1);
    let kept: Vec<_> = (0..3).map(|at| copies.keep(Pfn(at), &page)).collect();
    assert_eq!(kept, [true, true, false]);
    assert!(copies.keep(Pfn(0), &page_of(2, 1)));
    assert_eq!(copies.get(Pfn(0)), Some(&page_of(2, 1)));
    copies.forget(Pfn(1));
    assert!(copies.keep(Pfn(2), &page) && copies.get(Pfn(1)).is_none());
}

#[test]
fn every_bit_of_a_block_is_in_its_sum() {
    let (page, packer) = (page_of(4, 1), packer());
    let sums = packer.sums(&page);
    for bit in (0..PAGE * 8).step_by(7) {
        let mut other = page;
        other[bit / 8] ^= 1 << (bit % 8);
        let expect = 1 << (bit / 8 / sums::BLOCK);
        assert_eq!(sums.differing(&packer.sums(&other)), expect, "bit {bit}");
    }
}
