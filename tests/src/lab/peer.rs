//! A guest's peer on the network, in a dom0: asks its `echo` all the time, and says how long it was away.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};
use serde::Deserialize;

/// Asks until it is told to stop; ended when dropped.
pub struct Peer(Option<Child>);

/// What it has seen.
#[derive(Clone, Debug, Deserialize)]
pub struct Away {
    /// Questions.
    pub sent: u64,
    /// Answers.
    pub answered: u64,
    /// The longest time between two answers, to within the 20 ms between two questions.
    pub gap_ms: u64,
    /// When the five longest ones began, and how long they were.
    pub gaps_ms: Vec<(u64, u64)>,
    /// Questions before or after that one which were never answered.
    pub lost_outside_gap: u64,
    /// How many of those of each second were never answered.
    pub lost_at_s: BTreeMap<u64, u64>,
}

impl Peer {
    pub(super) fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Ok(Self(Some(command.spawn().context("start ssh")?)))
    }

    /// Ends it; what it has seen.
    ///
    /// # Errors
    /// It ended badly, or said nothing.
    pub fn stop(mut self) -> Result<Away> {
        let mut child = self.0.take().context("it was stopped before")?;
        drop(child.stdin.take());
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let words = String::from_utf8_lossy(&output.stderr).into_owned();
            bail!("the guest's peer ended with {}: {text}{words}", output.status);
        }
        serde_json::from_str(&text).with_context(|| format!("not what a peer says: {text}"))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        if let Some(mut child) = self.0.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
