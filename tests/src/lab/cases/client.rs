//! A client that nobody here wrote in Rust: the Python one, run as its users run it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

use super::{LabPool, Table};
use crate::lab::Guest;
use crate::lab::pool::{INITRAMFS, KERNEL};

pub(super) const CASES: Table =
    &[("a_client_in_another_language_creates_grows_and_destroys_a_vm", python)];

const NAME: &str = "pythonic";

fn python(pool: &mut LabPool) -> Result<()> {
    let hosts = run(pool, &["hosts"])?;
    ensure!(pool.hosts.iter().all(|host| hosts.contains(&host.name)), "{hosts}");
    create(pool)?;
    run(pool, &["vcpus", NAME, "2"])?;
    Guest::until(&pool.ctl, NAME, "the guest has the vCPU", |g| g.number("cpus_online") == 2)?;
    let before = pool.xl_row(NAME)?.memory_mib;
    run(pool, &["memory", NAME, "192M"])?;
    let after = pool.xl_row(NAME)?;
    ensure!(after.memory_mib > before + 32 && after.vcpus == 2, "{before} MiB, then {after:?}");
    let console = run(pool, &["console", NAME])?;
    ensure!(console.contains("cpus_online"), "its console says {console:?}");
    run(pool, &["destroy", NAME])?;
    ensure!(pool.xl_row(NAME).is_err(), "xl still has it");
    run(pool, &["delete", NAME]).map(drop)
}

fn create(pool: &mut LabPool) -> Result<()> {
    let cmdline = "console=hvc0 quiet memhp_default_state=online workload=idle";
    let made = ["create", NAME, "--kernel", KERNEL, "--initramfs", INITRAMFS, "--cmdline", cmdline];
    let made = [&made[..], &["--vcpus", "1", "--vcpus-max", "2"]].concat();
    let made = [&made[..], &["--memory", "128M", "--memory-max", "256M"]].concat();
    run(pool, &made)?;
    Guest::until(&pool.ctl, NAME, "the guest speaks", |guest| guest.number("cpus_online") > 0)
        .map(drop)
}

fn run(pool: &LabPool, words: &[&str]) -> Result<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let python = std::env::var_os("XVMP_PYTHON")
        .map_or_else(|| root.join("target/interop/venv/bin/python3"), PathBuf::from);
    #[allow(clippy::disallowed_methods, reason = "a test drives real programs")]
    let output = Command::new(&python)
        .env("PYTHONPATH", root.join("clients/python/src"))
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .args(["-m", "xvmp", "--manager", pool.ctl.manager(), "--credentials"])
        .arg(pool.ctl.credentials())
        .args(words)
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", python.display()))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    if !output.status.success() {
        bail!("xvmp {}: {}{}", words.join(" "), text(&output.stderr), text(&output.stdout));
    }
    Ok(text(&output.stdout))
}
