//! `fuzz`: each fuzz target for some minutes, from the kept corpus and the golden messages, with nightly and cargo-fuzz.
//!
//! What reaches something new is kept in the corpus. Fails when a target crashed; its input is then in `fuzz/artifacts`.

use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};

use crate::args::Args;
use crate::run;
use crate::workspace::Workspace;

const TARGETS: &[&str] = &["gate", "envelope", "verb", "bulk"];
/// Longer inputs find nothing that shorter ones do not.
const BYTES_MAX: u32 = 4096;

pub(crate) fn main(workspace: &Workspace, mut args: Args) -> Result<ExitCode> {
    let minutes: u64 = args.value("--minutes")?.context("say how long: --minutes N")?;
    let only = args.positional();
    args.finish()?;
    if let Some(target) = only.as_deref().filter(|target| !TARGETS.contains(target)) {
        bail!("no target {target}: there are {}", TARGETS.join(", "));
    }
    let wanted = |target: &&&str| only.as_deref().is_none_or(|only| only == **target);
    let (mut passed, mut failed) = (0, 0);
    for target in TARGETS.iter().filter(wanted) {
        let mut fuzz = run::command("cargo");
        fuzz.args(["+nightly", "fuzz", "run", "--fuzz-dir", "fuzz", target])
            .arg(format!("fuzz/corpus/{target}"))
            .args(["docs/schema/xvmp-1.0/golden", "docs/schema/xvmp-1.0/golden/request"])
            .arg("docs/schema/xvmp-1.0/golden/response")
            .arg("--")
            .arg(format!("-max_total_time={}", minutes * 60))
            .arg(format!("-max_len={BYTES_MAX}"))
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
