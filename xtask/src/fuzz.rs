//! `fuzz`: each fuzz target for some minutes, from the kept corpus and, for the wire's, the golden messages, with nightly and cargo-fuzz.
//!
//! What reaches something new is kept in the corpus. Fails when a target crashed; its input is then in `fuzz/artifacts`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::args::Args;
use crate::run;
use crate::workspace::Workspace;

/// What each reads, and the longest input: longer ones find nothing that shorter ones do not.
const TARGETS: &[Target] = &[
    Target { name: "gate", seeds: GOLDEN, bytes_max: 4096 },
    Target { name: "envelope", seeds: GOLDEN, bytes_max: 4096 },
    Target { name: "verb", seeds: GOLDEN, bytes_max: 4096 },
    Target { name: "bulk", seeds: GOLDEN, bytes_max: 4096 },
    // A page of memory and what stands around it.
    Target { name: "stream", seeds: &[], bytes_max: 3 * 4096 },
    Target { name: "migration", seeds: &[], bytes_max: 3 * 4096 },
];
const GOLDEN: &[&str] = &[
    "docs/schema/xvmp-1.0/golden",
    "docs/schema/xvmp-1.0/golden/request",
    "docs/schema/xvmp-1.0/golden/response",
];

struct Target {
    name: &'static str,
    /// Folders of inputs besides its corpus.
    seeds: &'static [&'static str],
    bytes_max: u32,
}

pub(crate) fn main(workspace: &Workspace, mut args: Args) -> Result<ExitCode> {
    let minutes: u64 = args.value("--minutes")?.context("say how long: --minutes N")?;
    let only = args.positional();
    args.finish()?;
    let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
    if let Some(target) = only.as_deref().filter(|target| !names.contains(target)) {
        bail!("no target {target}: there are {}", names.join(", "));
    }
    let wanted = |target: &&Target| only.as_deref().is_none_or(|only| only == target.name);
    let (mut passed, mut failed) = (0, 0);
    for target in TARGETS.iter().filter(wanted) {
        let mut fuzz = run::command("cargo");
        fuzz.args(["+nightly", "fuzz", "run", "--fuzz-dir", "fuzz", target.name])
            .arg(format!("fuzz/corpus/{}", target.name))
            .args(target.seeds)
            .arg("--")
            .arg(format!("-max_total_time={}", minutes * 60))
            .arg(format!("-max_len={}", target.bytes_max))
            .args(["-timeout=10", "-print_final_stats=1"])
            .current_dir(&workspace.root);
        match run::status(&mut fuzz)?.success() {
            true => passed += 1,
            false => failed += 1,
        }
    }
    println!("fuzz: {passed} passed, {failed} failed");
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
