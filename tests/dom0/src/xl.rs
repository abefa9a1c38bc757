//! `xl` and `xentop`, as an operator runs them: a process each.
//!
//! Fails with what the program said.

use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::guest::Guest;

fn config_path(name: &str) -> String {
    format!("/tmp/lab-dom0-{name}.cfg")
}

#[allow(clippy::disallowed_methods, reason = "what is measured against is a program")]
pub(crate) fn command(program: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null());
    command
}

fn run(program: &str, arguments: &[&str]) -> Result<Duration> {
    let mut command = command(program, arguments);
    let start = Instant::now();
    let output = command.output().with_context(|| format!("start {program}"))?;
    let time = start.elapsed();
    said_well(program, arguments, &output)?;
    Ok(time)
}

fn said_well(program: &str, arguments: &[&str], output: &Output) -> Result<()> {
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{program} {} ended with {}: {words}", arguments.join(" "), output.status);
    }
    Ok(())
}

/// Writes the configuration, which is not timed.
pub(crate) fn prepare(guest: &Guest, name: &str) -> Result<()> {
    std::fs::write(config_path(name), guest.xl_config(name)).context("write xl's configuration")
}

pub(crate) fn create(name: &str) -> Result<Duration> {
    run("xl", &["create", "-q", &config_path(name)])
}

pub(crate) fn destroy(name: &str) -> Result<Duration> {
    run("xl", &["destroy", name])
}

pub(crate) fn list() -> Result<Duration> {
    run("xl", &["list"])
}

/// Several at once; until the last has ended.
pub(crate) fn create_together(names: &[String]) -> Result<Duration> {
    let mut commands: Vec<_> =
        names.iter().map(|name| command("xl", &["create", "-q", &config_path(name)])).collect();
    let start = Instant::now();
    let children: Vec<_> = commands
        .iter_mut()
        .map(|command| command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn())
        .collect::<std::io::Result<_>>()
        .context("start xl")?;
    let outputs: Vec<_> = children
        .into_iter()
        .map(std::process::Child::wait_with_output)
        .collect::<std::io::Result<_>>()?;
    let time = start.elapsed();
    outputs.iter().try_for_each(|output| said_well("xl", &["create"], output))?;
    Ok(time)
}
