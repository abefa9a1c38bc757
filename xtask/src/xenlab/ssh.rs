//! ssh into a dom0 over its loopback port, with the lab's key and none of the user's settings.
//!
//! Fails as ssh does: status 255 when there is no answer.

use std::process::{Command, Stdio};

use anyhow::Result;

use super::paths::Lab;

/// Seconds, for one attempt.
const CONNECT_LIMIT: &str = "ConnectTimeout=5";

/// `ssh` is the program, tied to us or not; the caller adds the destination `root@127.0.0.1` and the words.
pub(crate) fn command(lab: &Lab<'_>, port: u16, mut ssh: Command) -> Command {
    ssh.args(["-q", "-F", "/dev/null", "-p", &port.to_string(), "-i"]).arg(lab.ssh_key());
    for option in [
        "IdentitiesOnly=yes",
        "BatchMode=yes",
        // The host's key is new with each lab and reaches us over loopback.
        "StrictHostKeyChecking=no",
        "UserKnownHostsFile=/dev/null",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=8",
        CONNECT_LIMIT,
    ] {
        ssh.args(["-o", option]);
    }
    ssh
}

/// Whether a command runs in that dom0 now.
pub(crate) fn answers(lab: &Lab<'_>, port: u16) -> Result<bool> {
    let mut ssh = command(lab, port, crate::run::command("ssh"));
    ssh.args(["root@127.0.0.1", "true"])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(ssh.status()?.success())
}
