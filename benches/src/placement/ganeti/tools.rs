//! Runs hbal and hail on a cluster, and reads what they say.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::cluster::{Cluster, NEW};

const HAIL: &str = "/usr/lib/ganeti/iallocators/hail";

/// What hbal did.
pub(super) struct Ran {
    pub(super) initial: f64,
    pub(super) last: f64,
    /// VM and node, in their order.
    pub(super) moves: Vec<(usize, usize)>,
    pub(super) seconds: f64,
}

pub(super) fn are_installed() -> bool {
    Path::new(HAIL).exists() && Path::new("/usr/bin/hbal").exists()
}

pub(super) fn hbal(cluster: &Cluster, moves_max: usize) -> Result<Ran> {
    let directory = tempfile::tempdir()?;
    let file = write(directory.path(), cluster)?;
    let moves_max = moves_max.min(1_000_000).to_string();
    let (text, seconds) = run("/usr/bin/hbal", &["-t", &file, "-l", &moves_max])?;
    let after = |words: &str| -> Result<f64> {
        let rest =
            text.split(words).nth(1).with_context(|| format!("hbal does not say {words:?}"))?;
        let figure = rest.split_whitespace().next().unwrap_or_default();
        figure.parse().with_context(|| format!("hbal says {figure:?} after {words:?}"))
    };
    let moves: Vec<(usize, usize)> = text.lines().filter_map(read_move).collect();
    let initial = after("Initial score: ")?;
    // A balanced cluster is not improved, and it says so in other words.
    let last = if moves.is_empty() { initial } else { after(&format!("from {initial:.8} to "))? };
    Ok(Ran { initial, last, moves, seconds })
}

/// `    1. inst000004 node00015           => node00041            16.88211640 a=fa:node00041`
fn read_move(line: &str) -> Option<(usize, usize)> {
    let (before, after) = line.split_once("=>")?;
    let vm = before.split_whitespace().find_map(|word| word.strip_prefix("inst"))?;
    let node = after.split_whitespace().find_map(|word| word.strip_prefix("node"))?;
    Some((vm.parse().ok()?, node.parse().ok()?))
}

/// The score after one more VM, and the time.
pub(super) fn hail(cluster: &Cluster) -> Result<(f64, f64)> {
    let directory = tempfile::tempdir()?;
    let file = write(directory.path(), cluster)?;
    let request = json!({
        "request": {
            "type": "allocate", "name": "new", "disk_space_total": NEW.disk_mib,
            "disks": [{"size": NEW.disk_mib, "mode": "rw", "spindles": 1}],
            "memory": NEW.memory_mib, "vcpus": NEW.vcpus, "required_nodes": 1,
            "disk_template": "ext", "nics": [], "tags": [], "os": "debian",
            "hypervisor": "xen-pvm", "spindle_use": 1
        },
        "version": 2, "cluster_name": "c", "cluster_tags": [],
        "enabled_hypervisors": ["xen-pvm"], "ipolicy": {},
        "nodegroups": {}, "nodes": {}, "instances": {}
    });
    let request_file = directory.path().join("request.json");
    std::fs::write(&request_file, request.to_string())?;
    let request_file = request_file.to_string_lossy().into_owned();
    let (text, seconds) = run(HAIL, &["-t", &file, "--ignore-soft-errors", &request_file])?;
    let answer: Value = serde_json::from_str(text.trim()).context("hail's answer")?;
    let info = answer["info"].as_str().unwrap_or_default();
    let score = info.split("score: ").nth(1).and_then(|rest| rest.split(',').next());
    let score = score.and_then(|score| score.parse().ok());
    Ok((score.with_context(|| format!("hail names no score: {info}"))?, seconds))
}

fn write(directory: &Path, cluster: &Cluster) -> Result<String> {
    let file = directory.join("cluster.data");
    std::fs::write(&file, cluster.text())?;
    Ok(file.to_string_lossy().into_owned())
}

#[allow(clippy::disallowed_methods, reason = "a competitor is another program")]
fn run(program: &str, arguments: &[&str]) -> Result<(String, f64)> {
    let clock = Instant::now();
    let output = Command::new(program).args(arguments).output();
    let output = output.with_context(|| format!("running {program}"))?;
    if !output.status.success() {
        bail!("{program} failed: {}", String::from_utf8_lossy(&output.stderr));
    }
    Ok((String::from_utf8_lossy(&output.stdout).into_owned(), clock.elapsed().as_secs_f64()))
}
