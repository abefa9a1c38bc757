//! Pages of a batch, encoded: by several threads when there are many.

use std::ops::Range;

use tokio::runtime::Handle;
use tokio::time::Instant;
use vmm_core::migration::codec::{self, Against, Copies, Packer, Page};
use vmm_core::migration::{Encoding, Item, Tricks};

/// Fewer than this are not worth a thread.
const SHARE_MIN: usize = 32;

/// One page to be encoded.
#[derive(Clone, Copy, Debug)]
pub(super) struct Job<'a> {
    pub(super) item: &'a Item,
    pub(super) page: &'a Page,
}

/// What became of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Packed {
    pub(super) encoding: Encoding,
    /// Where its body is in its share's bytes.
    pub(super) body: Range<usize>,
    pub(super) nanos: u32,
}

/// Jobs that one thread did, in their order.
#[derive(Debug, Default)]
pub(super) struct Share {
    pub(super) packed: Vec<Packed>,
    pub(super) bytes: Vec<u8>,
}

impl Share {
    /// Each job's encoding, body and time.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Encoding, &[u8], u32)> {
        self.packed.iter().map(|of| (of.encoding, &self.bytes[of.body.clone()], of.nanos))
    }
}

/// Encodes all jobs, as many at once as there are packers. The same whatever their number is.
pub(super) fn pack(
    packers: &mut [Packer],
    jobs: &[Job<'_>],
    copies: &Copies,
    tricks: Tricks,
) -> Vec<Share> {
    let share = jobs.len().div_ceil(packers.len().max(1)).max(SHARE_MIN);
    if jobs.len() <= share {
        let packer = packers.first_mut();
        return packer.map(|packer| alone(packer, jobs, copies, tricks)).into_iter().collect();
    }
    let clock = Handle::try_current().ok();
    std::thread::scope(|scope| {
        let work = |(packer, jobs)| {
            let clock = clock.clone();
            scope.spawn(move || {
                let _time = clock.as_ref().map(Handle::enter);
                alone(packer, jobs, copies, tricks)
            })
        };
        let threads: Vec<_> = packers.iter_mut().zip(jobs.chunks(share)).map(work).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Share>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    })
}

fn alone(packer: &mut Packer, jobs: &[Job<'_>], copies: &Copies, tricks: Tricks) -> Share {
    let mut share = Share::default();
    for Job { item, page } in jobs {
        let (began, start) = (Instant::now(), share.bytes.len());
        let against = copies.get(item.page).map_or(Against::Nothing, Against::Copy);
        let how = (item.pack, tricks);
        let encoding = codec::encode(packer, page, against, how, &mut share.bytes);
        let nanos = u32::try_from(began.elapsed().as_nanos()).unwrap_or(u32::MAX);
        share.packed.push(Packed { encoding, body: start..share.bytes.len(), nanos });
    }
    share
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;
    use vmm_core::migration::codec::{Key, PAGE};
    use vmm_core::migration::{Keep, Pack, Pfn};

    use super::*;

    fn page(seed: u8) -> Page {
        std::array::from_fn(|at| match seed % 4 {
            0 => 0,
            1 => seed,
            2 => (at / 7).to_le_bytes()[0] ^ seed,
            _ => (at.wrapping_mul(at + usize::from(seed)) >> 3).to_le_bytes()[0],
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

        #[test]
        fn however_many_pack_it_comes_out_the_same(seeds in vec(any::<(u8, u8)>(), 0..256), packers in 2_usize..9) {
            let pages: Vec<Page> = seeds.iter().map(|(seed, _)| page(*seed)).collect();
            let mut copies = Copies::within(64 * PAGE);
            let packs = [Pack::Raw, Pack::Lz4, Pack::Zstd];
            let items: Vec<Item> = seeds
                .iter()
                .zip(0_u32..)
                .map(|((_, how), number)| {
                    let pack = packs[usize::from(*how) % 3];
                    Item { page: Pfn(number), pack, keep: Keep::Nothing }
                })
                .collect();
            for (item, contents) in items.iter().zip(&pages).step_by(3) {
                let mut older = *contents;
                older[9] ^= 1;
                copies.keep(item.page, &older);
            }
            let jobs: Vec<Job<'_>> =
                items.iter().zip(&pages).map(|(item, page)| Job { item, page }).collect();
            let tricks = Tricks { zero: true, same: true, delta: true };
            let bodies = |packers: usize| {
                let packer = || Packer::new(Key::new([1, 2])).unwrap();
                let mut packers: Vec<Packer> = (0..packers).map(|_| packer()).collect();
                let shares = pack(&mut packers, &jobs, &copies, tricks);
                let all = shares.iter().flat_map(|share| share.iter());
                all.map(|(encoding, body, _)| (encoding, body.to_vec())).collect::<Vec<_>>()
            };
            let one = bodies(1);
            prop_assert_eq!(one.len(), jobs.len());
            prop_assert_eq!(bodies(packers), one);
        }
    }
}
