//! Starting other programs: with their exit status, their output, or both while they run, and with a time limit.
//!
//! Fails when the program cannot be started, ends badly, or passes its limit; the error shows the command.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::workspace::Workspace;

const POLL: Duration = Duration::from_millis(50);

#[expect(
    clippy::disallowed_methods,
    reason = "automation is made of other programs; the product starts none"
)]
pub(crate) fn command(program: impl AsRef<OsStr>) -> Command {
    Command::new(program)
}

/// A command that the kernel ends when this program does, however it does: by an interrupt or a kill as well.
pub(crate) fn tied(program: impl AsRef<OsStr>) -> Command {
    let mut tied = command("setpriv");
    tied.args(["--pdeathsig", "KILL", "--"]).arg(program);
    tied
}

/// Cargo itself, in the workspace.
pub(crate) fn cargo(workspace: &Workspace) -> Command {
    in_workspace(command(cargo_program()), workspace)
}

/// Cargo, and by `exec` the program that it runs, ended when this program ends.
pub(crate) fn tied_cargo(workspace: &Workspace) -> Command {
    in_workspace(tied(cargo_program()), workspace)
}

fn in_workspace(mut command: Command, workspace: &Workspace) -> Command {
    command.current_dir(&workspace.root);
    command
}

fn cargo_program() -> std::ffi::OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs it with our own input and output.
pub(crate) fn status(command: &mut Command) -> Result<ExitStatus> {
    command.status().with_context(|| format!("start {}", shown(command)))
}

/// Runs it with our own output and fails unless it succeeds.
pub(crate) fn success(command: &mut Command) -> Result<()> {
    let status = status(command)?;
    if status.success() { Ok(()) } else { bail!("{} ended with {status}", shown(command)) }
}

/// Its standard output; on failure the error carries what it wrote to standard error.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("start {}", shown(command)))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let complaint = String::from_utf8_lossy(&output.stderr);
    bail!("{} ended with {}: {}", shown(command), output.status, complaint.trim())
}

/// Runs it, passes each line of its standard output on, shows it as well, and ends it at the limit.
pub(crate) fn stream(
    command: &mut Command,
    limit: Duration,
    mut on_line: impl FnMut(&str),
) -> Result<ExitStatus> {
    let deadline = Instant::now() + limit;
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("start {}", shown(command)))?;
    let lines = read_lines(&mut child)?;
    loop {
        match lines.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(line) => {
                println!("{line}");
                std::io::stdout().flush()?;
                on_line(&line);
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) => return Err(overdue(&mut child, command, limit)),
        }
    }
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() >= deadline {
            return Err(overdue(&mut child, command, limit));
        }
        thread::sleep(POLL);
    }
}

fn read_lines(child: &mut Child) -> Result<Receiver<String>> {
    let stdout = child.stdout.take().context("standard output is piped")?;
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut reader = BufReader::new(stdout);
        let mut line = Vec::new();
        while matches!(reader.read_until(b'\n', &mut line), Ok(1..)) {
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            if sender.send(text).is_err() {
                return;
            }
            line.clear();
        }
    });
    Ok(receiver)
}

fn overdue(child: &mut Child, command: &Command, limit: Duration) -> anyhow::Error {
    let ended = child.kill().and_then(|()| child.wait());
    anyhow::anyhow!("{} passed its limit of {} s ({ended:?})", shown(command), limit.as_secs())
}

fn shown(command: &Command) -> String {
    let mut words = vec![command.get_program().to_string_lossy()];
    words.extend(command.get_args().map(OsStr::to_string_lossy));
    words.join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_outlives_its_limit_is_ended() {
        let error =
            stream(command("sleep").arg("30"), Duration::from_millis(100), |_| {}).unwrap_err();
        assert!(error.to_string().contains("limit"));
    }

    #[test]
    fn lines_and_status_come_through() {
        let mut lines = Vec::new();
        let status = stream(
            command("sh").args(["-c", "echo one; echo two; exit 3"]),
            Duration::from_secs(10),
            |line| lines.push(line.to_owned()),
        )
        .unwrap();
        assert_eq!((status.code(), lines.join(",").as_str()), (Some(3), "one,two"));
    }
}
