//! VM arrivals: from a file, or synthetic from a seed. Disk demand is in no public trace: it is a seeded log-normal a vCPU.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Arrivals used at most: enough for the figures to settle, and a bound on the time.
const ARRIVALS_MAX: usize = 20_000;
const SEED: u64 = 20_26;
/// Median disk throughput of a vCPU, and the spread of its logarithm.
const DISK_MEDIAN: f64 = 2.0e6;
const DISK_SIGMA: f64 = 1.2;

/// One VM that arrives and leaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Arrival {
    pub(crate) at_s: f64,
    pub(crate) life_s: f64,
    pub(crate) vcpus: u32,
    pub(crate) memory_mib: u64,
    pub(crate) disk_bytes_per_s: u64,
}

/// A trace with its source, which is printed beside every figure.
pub(crate) struct Trace {
    pub(crate) source: String,
    pub(crate) arrivals: Vec<Arrival>,
}

pub(crate) fn load(path: Option<&Path>) -> Result<Trace> {
    let mut rng = StdRng::seed_from_u64(SEED);
    match path {
        None => Ok(synthetic(&mut rng)),
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("read {} as text (unpack a .gz first)", path.display()))?;
            let arrivals: Vec<Arrival> = text
                .lines()
                .skip(1)
                .take(ARRIVALS_MAX)
                .filter_map(|line| parse(line, &mut rng))
                .collect();
            ensure!(!arrivals.is_empty(), "{} has no arrivals", path.display());
            let source = path
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned());
            Ok(Trace { source, arrivals })
        }
    }
}

fn parse(line: &str, rng: &mut StdRng) -> Option<Arrival> {
    let fields: Vec<f64> =
        line.split(',').map(|field| field.trim().parse().unwrap_or(0.0)).collect();
    let [at_s, _, vcpus, memory_gb, life_low, life_high, ..] = fields[..] else { return None };
    let vcpus = whole(vcpus.max(1.0));
    Some(Arrival {
        at_s,
        life_s: f64::midpoint(life_low, life_high.max(life_low)).max(1.0),
        vcpus: u32::try_from(vcpus).unwrap_or(1),
        memory_mib: whole(memory_gb.max(0.25) * 1024.0),
        disk_bytes_per_s: disk(vcpus, rng),
    })
}

fn synthetic(rng: &mut StdRng) -> Trace {
    let mut at_s = 0.0;
    let arrivals = (0..ARRIVALS_MAX)
        .map(|_| {
            at_s += -rng.random::<f64>().max(1e-9).ln();
            let vcpus = [1, 1, 2, 2, 4, 8][rng.random_range(0..6)];
            Arrival {
                at_s,
                life_s: -rng.random::<f64>().max(1e-9).ln() * 1800.0,
                vcpus,
                memory_mib: u64::from(vcpus) * [1024, 1792, 4096][rng.random_range(0..3)],
                disk_bytes_per_s: disk(u64::from(vcpus), rng),
            }
        })
        .collect();
    Trace { source: format!("synthetic, seed {SEED}"), arrivals }
}

#[allow(clippy::cast_precision_loss, reason = "a few vCPUs")]
fn disk(vcpus: u64, rng: &mut StdRng) -> u64 {
    // Box-Muller: one normal from two uniforms.
    let (u, v) = (rng.random::<f64>().max(1e-12), rng.random::<f64>());
    let normal = (-2.0 * u.ln()).sqrt() * (std::f64::consts::TAU * v).cos();
    whole(vcpus as f64 * DISK_MEDIAN * (DISK_SIGMA * normal).exp())
}

#[allow(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "positive and far below 2^53"
)]
fn whole(value: f64) -> u64 {
    value.max(0.0) as u64
}
