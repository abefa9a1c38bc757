//! How fast the parts are: a harvest of 64 GiB, the encoders on one core, and what a page's state takes.

use std::hint::black_box;
use std::time::{Duration, Instant};

use anyhow::Result;
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use vmm_core::migration::codec::{Against, Key, PAGE, Packer, Page, Sums, decode, encode, zero};
use vmm_core::migration::{
    Bitmap, EPOCH, Event, Guest, Layered, Limits, Options, Pack, Pfn, Policy, Tricks,
};
use vmm_core::units::Kib;

use crate::report::Report;

const PAGES_64_GIB: u32 = 16 << 20;
const HARVESTS: u32 = 40;
const SPARSE: u32 = 10_000;
const MEMORY_PAGES: usize = 16_384;
const ROUNDS: usize = 5;
const KEY: [u64; 2] = [0x243f_6a88_85a3_08d3, 0x1319_8a2e_0370_7344];

pub(super) fn run(report: &mut Report) -> Result<()> {
    harvest(report);
    encoders(report)
}

fn harvest(report: &mut Report) {
    let guest = Guest {
        pages: PAGES_64_GIB,
        held: Kib(u64::from(PAGES_64_GIB) * 4),
        used: None,
        floor: Kib::ZERO,
        gives_hints: false,
        link_bytes_per_s: 1_170_000_000,
        threads: 2,
        fixed: Duration::from_millis(20),
    };
    let mut policy = Layered::new(guest, Limits::default(), Options::default());
    let bytes = policy.state_bytes() as f64 / f64::from(PAGES_64_GIB);
    report.at_most("rates: state of a page", bytes, "bytes", 4.0);
    let clean = Bitmap::empty(PAGES_64_GIB);
    policy.observe(Duration::ZERO, &Event::Logging { absent: &clean });
    report.at_most(
        "rates: harvest of 64 GiB, clean",
        harvest_ms(&mut policy, &clean, 0),
        "ms",
        1.0,
    );
    let mut sparse = Bitmap::empty(PAGES_64_GIB);
    let mut rng = SmallRng::seed_from_u64(1);
    (0..SPARSE).for_each(|_| {
        sparse.insert(Pfn(rng.random_range(0..PAGES_64_GIB)));
    });
    let sparse_ms = harvest_ms(&mut policy, &sparse, HARVESTS);
    report.tell("rates: harvest of 64 GiB, 10 000 dirty", sparse_ms, "ms");
}

/// The median of some, each an epoch after the other.
fn harvest_ms(policy: &mut Layered, dirty: &Bitmap, from: u32) -> f64 {
    median((1..=HARVESTS).map(|epoch| {
        let now = EPOCH * (from + epoch);
        let begin = Instant::now();
        policy.observe(now, &Event::Harvested { dirty });
        begin.elapsed().as_secs_f64() * 1e3
    }))
}

fn median(of: impl Iterator<Item = f64>) -> f64 {
    let mut sorted: Vec<f64> = of.collect();
    sorted.sort_by(f64::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Like a program's memory: small numbers, pointers into one region, words that come again, and bytes that are not predictable.
fn data(rng: &mut SmallRng) -> Page {
    let mut page = [0; PAGE];
    let words: Vec<u64> =
        (0..24).map(|_| 0x7f3a_0000_0000 | rng.random_range(0..1_u64 << 24)).collect();
    for chunk in page.chunks_exact_mut(8) {
        let word = match rng.random_range(0..10) {
            0..=2 => 0,
            3..=4 => rng.random_range(0..256),
            5..=7 => words[rng.random_range(0..words.len())],
            8 => 0x7f3a_0000_0000 | rng.random_range(0..1_u64 << 24),
            _ => rng.random::<u64>(),
        };
        chunk.copy_from_slice(&word.to_le_bytes());
    }
    page
}

fn encoders(report: &mut Report) -> Result<()> {
    let mut rng = SmallRng::seed_from_u64(2);
    let mut packer = Packer::new(Key::new(KEY))?;
    // Three of four are zeros.
    let memory: Vec<Page> =
        (0..MEMORY_PAGES).map(|at| if at % 4 == 0 { data(&mut rng) } else { [0; PAGE] }).collect();
    let all = Tricks { zero: true, same: false, delta: true };
    for (name, pack, goal) in [("LZ4", Pack::Lz4, true), ("Zstandard", Pack::Zstd, false)] {
        let mut out = Vec::with_capacity(PAGE * 2);
        let seconds = median((0..ROUNDS).map(|_| {
            let begin = Instant::now();
            for page in &memory {
                out.clear();
                black_box(encode(&mut packer, page, Against::Nothing, (pack, all), &mut out));
            }
            begin.elapsed().as_secs_f64()
        }));
        let rate = (MEMORY_PAGES * PAGE) as f64 / seconds / 1e9;
        let row = format!("rates: encode, 3 of 4 pages zeros, {name}, a core");
        if goal { report.at_least(row, rate, "GB/s", 1.5) } else { report.tell(row, rate, "GB/s") }
    }
    let pages: Vec<Page> = memory.iter().step_by(4).copied().collect();
    costs(&mut packer, &pages, report)
}

/// What the simulator's costs are taken from.
fn costs(packer: &mut Packer, pages: &[Page], report: &mut Report) -> Result<()> {
    let per_page = |of: &mut dyn FnMut(&Page)| {
        let ns = median((0..ROUNDS).map(|_| {
            let begin = Instant::now();
            pages.iter().for_each(&mut *of);
            begin.elapsed().as_secs_f64() * 1e9
        }));
        ns / pages.len() as f64
    };
    let nothing = [0; PAGE];
    report.tell(
        "rates: zero page",
        per_page(&mut |_| {
            black_box(zero::is_zero(black_box(&nothing)));
        }),
        "ns",
    );
    report.tell(
        "rates: sums of a page",
        per_page(&mut |page| {
            black_box(Sums::of(Key::new(KEY), page));
        }),
        "ns",
    );
    let plain = Tricks { zero: true, same: false, delta: true };
    let mut out = Vec::with_capacity(PAGE * 2);
    for (name, pack) in [("raw", Pack::Raw), ("LZ4", Pack::Lz4), ("Zstandard", Pack::Zstd)] {
        let mut bytes = 0;
        let ns = per_page(&mut |page| {
            out.clear();
            encode(packer, page, Against::Nothing, (pack, plain), &mut out);
            bytes += out.len();
        });
        report.tell(format!("rates: {name}, a page of data"), ns, "ns");
        report.tell(
            format!("rates: {name}, bytes of a page of data"),
            bytes as f64 / ROUNDS as f64 / pages.len() as f64,
            "bytes",
        );
    }
    changed(packer, pages, report);
    Ok(())
}

/// Two words of each page were written.
fn changed(packer: &mut Packer, pages: &[Page], report: &mut Report) {
    let tricks = Tricks { zero: true, same: false, delta: true };
    let (mut out, mut back) = (Vec::new(), [0; PAGE]);
    for is_copy in [true, false] {
        let (mut encode_s, mut decode_s, mut bytes) = (0.0, 0.0, 0);
        for before in pages {
            let mut after = *before;
            (after[1000], after[3000]) = (!after[1000], !after[3000]);
            let sums = packer.sums(before);
            let against = if is_copy { Against::Copy(before) } else { Against::Sums(&sums) };
            out.clear();
            let begin = Instant::now();
            let encoding = encode(packer, &after, against, (Pack::Zstd, tricks), &mut out);
            encode_s += begin.elapsed().as_secs_f64();
            back.copy_from_slice(before);
            let begin = Instant::now();
            let decoded = decode(packer, encoding, &out, &mut back);
            decode_s += begin.elapsed().as_secs_f64();
            assert!(decoded.is_ok() && back == after, "what was encoded must come back");
            bytes += out.len();
        }
        let name = if is_copy { "delta to a copy" } else { "delta to sums" };
        let count = pages.len() as f64;
        report.tell(
            format!("rates: {name}, two words written, encode"),
            encode_s / count * 1e9,
            "ns",
        );
        report.tell(
            format!("rates: {name}, two words written, decode"),
            decode_s / count * 1e9,
            "ns",
        );
        report.tell(
            format!("rates: {name}, two words written, bytes"),
            bytes as f64 / count,
            "bytes",
        );
    }
}
