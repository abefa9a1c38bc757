//! A guest that writes: which pages, how often, how much of each, and how well its pages pack. Synthetic: directions, not absolutes.
//!
//! A page has no bytes here but a version; what a delta of `k` writes of `w` bytes takes is that of writes at random places. Sizes and costs of packers are
//! those that the suite's own rates measured on pages of this machine ([`Costs`]), and the same for every policy.

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};
use vmm_core::migration::{Bitmap, PAGE_BYTES, Pfn};

/// Free pages come in runs of so many: a guest's allocator keeps them together.
const RUN: usize = 64;
const PAGE: f64 = PAGE_BYTES as f64;
const BLOCKS: f64 = 16.0;
const BLOCK: f64 = PAGE / BLOCKS;

/// Where writes go.
#[derive(Clone, Copy)]
pub(crate) enum Pattern {
    /// A few pages, again and again.
    Few(usize),
    /// By Zipf's law over a share of what is used.
    Zipf { share: f64, exponent: f64 },
    /// A hot heap, a window of allocations that moves on, and some of everything.
    Build,
    /// A hot share takes nearly all.
    Hot { share: f64, of_writes: f64 },
    /// Everywhere alike.
    Uniform,
    /// Two seconds of a hot share, three of nearly nothing.
    Bursty { share: f64 },
}

/// What a trace is like.
#[derive(Clone, Copy)]
pub(crate) struct Workload {
    pub(crate) name: &'static str,
    /// Of all pages.
    pub(crate) used: f64,
    pub(crate) writes_per_s: f64,
    pub(crate) write_bytes: f64,
    pub(crate) pattern: Pattern,
    /// Pages that no packer makes smaller, of those in use.
    pub(crate) hard: f64,
}

const fn of(name: &'static str, used: f64, rate: f64, bytes: f64, pattern: Pattern) -> Workload {
    Workload { name, used, writes_per_s: rate, write_bytes: bytes, pattern, hard: 0.25 }
}

pub(crate) const WORKLOADS: [Workload; 9] = [
    of("idle", 0.35, 60.0, 200.0, Pattern::Few(400)),
    of("kernel build", 0.70, 16e3, 900.0, Pattern::Build),
    of("ycsb", 0.80, 24e3, 160.0, Pattern::Zipf { share: 0.5, exponent: 0.99 }),
    of("memcached", 0.85, 40e3, 120.0, Pattern::Zipf { share: 0.6, exponent: 0.9 }),
    of("hot set", 0.40, 60e3, 300.0, Pattern::Hot { share: 0.05, of_writes: 0.97 }),
    of("muncher", 0.90, 400e3, 64.0, Pattern::Uniform),
    of("bursty", 0.60, 60e3, 400.0, Pattern::Bursty { share: 0.2 }),
    of("page cache", 0.92, 3e3, 1500.0, Pattern::Hot { share: 0.04, of_writes: 0.9 }),
    Workload {
        hard: 1.0,
        ..of("incompressible", 0.70, 8e3, 2000.0, Pattern::Hot { share: 0.05, of_writes: 0.9 })
    },
];

/// What the encoders take and give: the same for every policy.
#[derive(Clone, Copy)]
pub(crate) struct Costs {
    pub(crate) scan_ns: u32,
    pub(crate) raw_ns: u32,
    pub(crate) delta_ns: u32,
    pub(crate) sums_ns: u32,
    pub(crate) lz4_ns: u32,
    pub(crate) zstd_ns: u32,
    /// How much smaller Zstandard makes a page than LZ4.
    pub(crate) zstd_gain: f64,
}

pub(crate) const COSTS: Costs = Costs {
    scan_ns: 150,
    raw_ns: 300,
    delta_ns: 1_500,
    sums_ns: 1_000,
    lz4_ns: 6_000,
    zstd_ns: 16_000,
    zstd_gain: 1.25,
};

/// What a page holds.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Content {
    Free,
    Zero,
    Twin,
    Data,
}

pub(crate) struct Guest {
    pub(crate) workload: Workload,
    content: Vec<Content>,
    ratio: Vec<f32>,
    pub(crate) version: Vec<u32>,
    /// Written since the last harvest.
    pub(crate) dirty: Bitmap,
    /// When last written, in seconds of the trace.
    pub(crate) written_at: Vec<f32>,
    used: Vec<u32>,
    zipf: Vec<f64>,
    rng: SmallRng,
    owed: f64,
    lived_s: f64,
}

impl Guest {
    pub(crate) fn new(pages: u32, workload: Workload, scale: f64, seed: u64) -> Self {
        let mut rng = SmallRng::seed_from_u64(seed);
        let count = pages as usize;
        let runs: Vec<bool> =
            (0..count.div_ceil(RUN)).map(|_| rng.random::<f64>() < workload.used).collect();
        let mut content = Vec::with_capacity(count);
        let mut ratio = Vec::with_capacity(count);
        for page in 0..count {
            let (one, kind) = Self::page(runs[page / RUN], &workload, &mut rng);
            ratio.push(one);
            content.push(kind);
        }
        let mut used: Vec<u32> = (0..pages).filter(|page| runs[*page as usize / RUN]).collect();
        shuffle(&mut used, &mut rng);
        let zipf = match workload.pattern {
            Pattern::Zipf { share, exponent } => zipf(used.len() as f64 * share, exponent),
            Pattern::Build => zipf(used.len() as f64 / 20.0, 0.8),
            _ => Vec::new(),
        };
        let workload = Workload { writes_per_s: workload.writes_per_s * scale, ..workload };
        Self {
            workload,
            content,
            ratio,
            version: vec![0; count],
            dirty: Bitmap::empty(pages),
            written_at: vec![0.0; count],
            used,
            zipf,
            rng,
            owed: 0.0,
            lived_s: 0.0,
        }
    }

    /// How well it packs, and what it holds. Free pages hold what was there before, a quarter of them zeros.
    fn page(is_used: bool, workload: &Workload, rng: &mut SmallRng) -> (f32, Content) {
        let (kind, hard) = (rng.random::<f64>(), rng.random::<f64>() < workload.hard);
        let ratio = if hard { 1.0 } else { rng.random_range(1.6..4.0) };
        match kind {
            _ if !is_used => (2.2, Content::Free),
            kind if kind < 0.06 => (ratio, Content::Zero),
            kind if kind < 0.10 => (ratio, Content::Twin),
            _ => (ratio, Content::Data),
        }
    }

    pub(crate) fn pages(&self) -> u32 {
        self.dirty.pages()
    }

    pub(crate) fn content(&self, page: Pfn) -> Content {
        self.content[page.0 as usize]
    }

    /// Whether a free page happens to hold zeros.
    pub(crate) fn is_zero(&self, page: Pfn) -> bool {
        match self.content(page) {
            Content::Zero => true,
            Content::Free => page.0.is_multiple_of(4),
            _ => false,
        }
    }

    pub(crate) fn free(&self) -> Bitmap {
        let mut free = Bitmap::empty(self.pages());
        for page in (0..self.pages()).map(Pfn).filter(|page| self.content(*page) == Content::Free) {
            free.insert(page);
        }
        free
    }

    pub(crate) fn lz4_bytes(&self, page: Pfn) -> f64 {
        PAGE / f64::from(self.ratio[page.0 as usize])
    }

    pub(crate) fn zstd_bytes(&self, page: Pfn) -> f64 {
        let ratio = f64::from(self.ratio[page.0 as usize]);
        PAGE / if ratio > 1.05 { ratio * COSTS.zstd_gain } else { ratio }
    }

    /// What a delta of so many writes takes.
    pub(crate) fn delta_bytes(&self, writes: u32) -> f64 {
        let clean = (1.0 - self.workload.write_bytes / PAGE).powf(f64::from(writes));
        (1.0 - clean) * PAGE * 1.05 + 12.0
    }

    /// What the blocks take that so many writes change: they pack less well than whole pages.
    pub(crate) fn blocks_bytes(&self, page: Pfn, writes: u32) -> f64 {
        let touched = (1.0 + (self.workload.write_bytes - 1.0) / BLOCK).min(BLOCKS) / BLOCKS;
        let changed = BLOCKS * (1.0 - (1.0 - touched).powf(f64::from(writes)));
        let ratio = (f64::from(self.ratio[page.0 as usize]) * 0.85).max(1.0);
        if changed > BLOCKS * 0.75 { PAGE } else { 2.0 + changed * BLOCK / ratio }
    }

    /// It runs for so long with this share of its time.
    pub(crate) fn run(&mut self, seconds: f64, share: f64) {
        self.lived_s += seconds;
        let is_calm =
            matches!(self.workload.pattern, Pattern::Bursty { .. }) && self.lived_s % 5.0 > 2.0;
        let rate = self.workload.writes_per_s * if is_calm { 0.01 } else { 1.0 };
        self.owed += rate * seconds * share;
        while self.owed >= 1.0 {
            self.owed -= 1.0;
            let page = self.next_page();
            self.write(page);
        }
    }

    fn write(&mut self, page: u32) {
        let at = page as usize;
        self.version[at] += 1;
        self.written_at[at] = self.lived_s as f32;
        self.content[at] = Content::Data;
        self.dirty.insert(Pfn(page));
    }

    fn below(&mut self, share: f64) -> u32 {
        let end = ((self.used.len() as f64 * share) as usize).max(1);
        self.used[self.rng.random_range(0..end)]
    }

    fn next_page(&mut self) -> u32 {
        let dice: f64 = self.rng.random();
        match self.workload.pattern {
            Pattern::Few(count) => self.used[self.rng.random_range(0..count)],
            Pattern::Zipf { .. } => self.by_zipf(),
            Pattern::Uniform => self.below(1.0),
            Pattern::Bursty { share } => self.below(share),
            Pattern::Hot { share, of_writes } => {
                self.below(if dice < of_writes { share } else { 1.0 })
            }
            Pattern::Build if dice < 0.45 => self.by_zipf(),
            Pattern::Build if dice < 0.9 => {
                let start = (self.lived_s * 3000.0) as usize + self.rng.random_range(0..1500);
                self.used[self.used.len() - 1 - start % self.used.len()]
            }
            Pattern::Build => self.below(1.0),
        }
    }

    fn by_zipf(&mut self) -> u32 {
        let dice: f64 = self.rng.random();
        self.used[self.zipf.partition_point(|up_to| *up_to < dice).min(self.zipf.len() - 1)]
    }
}

fn zipf(count: f64, exponent: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let mut sums: Vec<f64> = (1..=count as u32)
        .map(|rank| {
            sum += f64::from(rank).powf(-exponent);
            sum
        })
        .collect();
    sums.iter_mut().for_each(|up_to| *up_to /= sum);
    sums
}

fn shuffle(of: &mut [u32], rng: &mut SmallRng) {
    for at in (1..of.len()).rev() {
        of.swap(at, rng.random_range(0..=at));
    }
}
