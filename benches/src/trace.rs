//! VM arrivals: from a file, or synthetic from a seed.
//!
//! No public trace has disk and network demand of VMs. Both are drawn here for each seed: a *class* of VM has a log-normal demand a vCPU, and a VM's own demand
//! is its class's times a scatter with a coefficient of variation of 0.5. A policy that knows the demand sees the VM's; one that does not sees the class's.

use std::io::Read as _;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use flate2::read::GzDecoder;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Arrivals of a synthetic trace.
const SYNTHETIC: usize = 60_000;
const SEED: u64 = 20_26;
/// Arrivals of a batch are spread over the interval that the trace was binned by.
const BIN_S: f64 = 300.0;
/// A VM that outlives its trace.
const FOREVER_S: f64 = 1e9;
/// Mean demand of a vCPU in MB/s, and the spread of its logarithm over classes.
const DISK_MEAN: f64 = 6.0;
const NETWORK_MEAN: f64 = 8.0;
const CLASS_SIGMA: f64 = 1.2;
/// The most that a VM asks of its host's disks and network, in MB/s.
const DISK_MOST: f64 = 300.0;
const NETWORK_MOST: f64 = 600.0;
/// Of a VM's own demand around its class's.
const SCATTER_VARIATION: f64 = 0.5;

/// One VM that arrives and leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at_s: f64,
    pub(crate) life_s: f64,
    pub(crate) vcpus: u32,
    pub(crate) memory_mib: u64,
    /// What it asks of disks and network, in MB/s.
    pub(crate) real: [f64; 2],
    /// What its class does.
    pub(crate) class: [f64; 2],
}

/// A trace with its source, which is printed beside every figure.
pub(crate) struct Trace {
    pub(crate) source: String,
    rows: Vec<Row>,
}

/// As the file has it: the life within bounds, or beyond the trace's end.
#[derive(Clone, Copy)]
struct Row {
    at_s: f64,
    vcpus: u32,
    memory_mib: u64,
    life_s: (f64, f64),
    is_censored: bool,
}

impl Trace {
    /// Reads a CSV file, packed with gzip or not, or makes a synthetic trace.
    pub(crate) fn load(path: Option<&Path>) -> Result<Self> {
        let Some(path) = path else { return Ok(Self::synthetic()) };
        let text = read(path).with_context(|| format!("read {}", path.display()))?;
        let rows: Vec<Row> = text.lines().skip(1).filter_map(parse).collect();
        ensure!(!rows.is_empty(), "{} has no arrivals", path.display());
        let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
        Ok(Self { source: name, rows })
    }

    fn synthetic() -> Self {
        Self::drawn(SYNTHETIC, (5.0, 4.0 * 3600.0), format!("synthetic, seed {SEED}"))
    }

    /// VMs that live for half a day, arriving for so many days.
    pub(crate) fn days(days: f64) -> Self {
        let arrivals = usize::try_from(whole(days * 86_400.0 / 100.0)).unwrap_or(0);
        Self::drawn(arrivals, (100.0, 43_200.0), format!("{days} synthetic days, seed {SEED}"))
    }

    /// Arrivals at a mean distance, with a mean life, both in seconds.
    fn drawn(arrivals: usize, (distance_s, life_s): (f64, f64), source: String) -> Self {
        let mut rng = StdRng::seed_from_u64(SEED);
        let mut at_s = 0.0;
        let row = |_| {
            at_s += distance_s * exponential(&mut rng);
            let vcpus = [1, 1, 1, 1, 2, 2, 4, 8][rng.random_range(0..8)];
            let life_s = life_s * exponential(&mut rng);
            let memory_mib = u64::from(vcpus) * [1024, 1792, 1792, 4096][rng.random_range(0..4)];
            Row { at_s, vcpus, memory_mib, life_s: (life_s, life_s), is_censored: false }
        };
        let rows = (0..arrivals).map(row).collect();
        Self { source, rows }
    }

    /// The arrivals in their order, with the demand of one seed.
    pub(crate) fn arrivals(&self, seed: u64) -> Vec<Arrival> {
        let mut rng = StdRng::seed_from_u64(seed);
        let mut arrivals: Vec<Arrival> = self.rows.iter().map(|row| row.draw(&mut rng)).collect();
        arrivals.sort_by(|a, b| a.at_s.total_cmp(&b.at_s));
        arrivals
    }
}

impl Row {
    fn draw(&self, rng: &mut StdRng) -> Arrival {
        let (least, most) = self.life_s;
        let life_s = least + (most - least + 1.0) * rng.random::<f64>() + 1.0;
        let vcpus = f64::from(self.vcpus);
        let class =
            [DISK_MEAN, NETWORK_MEAN].map(|mean| mean * vcpus * log_normal(rng, CLASS_SIGMA));
        let scatter = (1.0 + SCATTER_VARIATION * SCATTER_VARIATION).ln().sqrt();
        let real = class.map(|class| class * log_normal(rng, scatter));
        let most = |of: [f64; 2]| [of[0].min(DISK_MOST), of[1].min(NETWORK_MOST)];
        Arrival {
            at_s: self.at_s + BIN_S * rng.random::<f64>(),
            life_s: if self.is_censored { FOREVER_S } else { life_s },
            vcpus: self.vcpus,
            memory_mib: self.memory_mib,
            real: most(real),
            class: most(class),
        }
    }
}

fn read(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path)?;
    if !bytes.starts_with(&[0x1f, 0x8b]) {
        return Ok(String::from_utf8(bytes)?);
    }
    let mut text = String::new();
    GzDecoder::new(bytes.as_slice()).read_to_string(&mut text)?;
    Ok(text)
}

fn parse(line: &str) -> Option<Row> {
    let fields: Vec<f64> = line.split(',').filter_map(|field| field.trim().parse().ok()).collect();
    let [at_s, _, vcpus, memory_gb, least, most, censored] = fields[..] else { return None };
    Some(Row {
        at_s,
        vcpus: u32::try_from(whole(vcpus.max(1.0))).ok()?,
        memory_mib: whole(memory_gb.max(0.25) * 1024.0),
        life_s: (least, most.max(least)),
        is_censored: censored > 0.0,
    })
}

/// With a mean of 1.
fn log_normal(rng: &mut StdRng, sigma: f64) -> f64 {
    (sigma * normal(rng) - sigma * sigma / 2.0).exp()
}

/// Box-Muller: one normal from two uniforms.
pub(crate) fn normal(rng: &mut StdRng) -> f64 {
    let (u, v) = (rng.random::<f64>().max(1e-12), rng.random::<f64>());
    (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos()
}

fn exponential(rng: &mut StdRng) -> f64 {
    -rng.random::<f64>().max(1e-12).ln()
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive and far below 2^53"
)]
pub(crate) fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}
