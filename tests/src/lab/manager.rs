//! The manager as a process of its own, ended when dropped.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, Result, bail};

use vmm_proto::credentials::Credentials;

use super::eventually;

/// A manager with its directory.
pub struct ManagerProcess {
    program: PathBuf,
    directory: PathBuf,
    address: String,
    child: Option<Child>,
}

impl ManagerProcess {
    /// Makes a pool in `directory`: certificate authority, credentials, configuration.
    ///
    /// # Errors
    /// `vmm-manager init` failed.
    pub fn init(program: PathBuf, directory: &Path) -> Result<Self> {
        let address = format!("127.0.0.1:{}", free_port()?);
        let manager = Self { program, directory: directory.to_owned(), address, child: None };
        manager.command(&["init", "--listen", &manager.address])?;
        Ok(manager)
    }

    /// Where a lab host's dom0 reaches it: QEMU's network has this machine's loopback there.
    #[must_use]
    pub fn address_in_dom0(&self) -> String {
        self.address.replace("127.0.0.1", "10.0.2.2")
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Credentials for `role` (`agent` or `user`) with this name.
    ///
    /// # Errors
    /// `vmm-manager issue` failed.
    pub fn issue(&self, role: &str, name: &str) -> Result<PathBuf> {
        let bundle = self.directory.join(format!("bundle-{role}-{name}"));
        self.command(&["issue", role, name, "--out", &bundle.to_string_lossy()])?;
        Ok(bundle)
    }

    /// The words of the command that the invited run, without the program.
    ///
    /// # Errors
    /// `vmm-manager invite` failed.
    pub fn invite(&self, guest: &[&str], manager: &str) -> Result<Vec<String>> {
        let mut words = vec!["invite"];
        words.extend(guest);
        words.extend(["--manager", manager]);
        let line = self.command(&words)?;
        Ok(line.split_whitespace().skip(1).map(str::to_owned).collect())
    }

    /// The manager's own credentials; only a test that plays its thief reads them.
    ///
    /// # Errors
    /// They cannot be read.
    pub fn credentials(&self) -> Result<Credentials> {
        Ok(Credentials::load(&self.credentials_directory())?)
    }

    /// Where they are.
    #[must_use]
    pub fn credentials_directory(&self) -> PathBuf {
        self.directory.join("credentials")
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// It ended, or does not listen in time.
    pub fn start(&mut self) -> Result<()> {
        let log = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(self.directory.join("manager.log"))?;
        #[allow(clippy::disallowed_methods, reason = "a test drives real programs")]
        // It ends when this program does, however it does.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.program)
            .args(["run", "--dir"])
            .arg(&self.directory)
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        self.child = Some(child);
        let address = self.address.clone();
        eventually("the manager listens", || Ok(std::net::TcpStream::connect(&address).is_ok()))
            .with_context(|| self.log())
    }

    /// Ends it at once, as a crash would.
    ///
    /// # Errors
    /// It cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// The end of its log.
    #[must_use]
    pub fn log(&self) -> String {
        let log = std::fs::read_to_string(self.directory.join("manager.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(8)..].join("\n")
    }

    /// What it printed.
    fn command(&self, arguments: &[&str]) -> Result<String> {
        #[allow(clippy::disallowed_methods, reason = "a test drives real programs")]
        let output = Command::new(&self.program)
            .args(arguments)
            .arg("--dir")
            .arg(&self.directory)
            .output()?;
        if !output.status.success() {
            bail!(
                "vmm-manager {}: {}",
                arguments.join(" "),
                String::from_utf8_lossy(&output.stderr)
            );
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for ManagerProcess {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// A port that was free a moment ago.
fn free_port() -> Result<u16> {
    Ok(std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}
