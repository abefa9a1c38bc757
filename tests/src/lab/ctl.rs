//! `vmmctl`, run as an operator runs it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

/// The command line with its credentials.
#[derive(Clone)]
pub struct Ctl {
    program: PathBuf,
    manager: String,
    credentials: PathBuf,
}

/// A command that the product refused.
#[derive(Debug)]
pub struct Refused {
    /// Exit status.
    pub code: Option<i32>,
    /// What it said.
    pub message: String,
}

impl Ctl {
    /// `program` is the binary.
    #[must_use]
    pub fn new(program: PathBuf, manager: String, credentials: &Path) -> Self {
        Self { program, manager, credentials: credentials.to_owned() }
    }

    /// Where the manager is called.
    #[must_use]
    pub fn manager(&self) -> &str {
        &self.manager
    }

    /// Where the credentials are.
    #[must_use]
    pub fn credentials(&self) -> &Path {
        &self.credentials
    }

    /// The same, with other credentials.
    #[must_use]
    pub fn with_credentials(&self, credentials: &Path) -> Self {
        Self { credentials: credentials.to_owned(), ..self.clone() }
    }

    /// The same, to another manager, or what is taken for one.
    #[must_use]
    pub fn with_manager(&self, address: &str) -> Self {
        Self { manager: address.to_owned(), ..self.clone() }
    }

    /// Runs a command; standard output, or what it said when it failed.
    ///
    /// # Errors
    /// The program could not be started.
    pub fn run(&self, arguments: &[&str]) -> Result<std::result::Result<String, Refused>> {
        #[allow(clippy::disallowed_methods, reason = "a test drives real programs")]
        let output = Command::new(&self.program)
            .args(["--manager", &self.manager, "--credentials"])
            .arg(&self.credentials)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .with_context(|| format!("start {}", self.program.display()))?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok(if output.status.success() {
            Ok(text(&output.stdout))
        } else {
            Err(Refused {
                code: output.status.code(),
                message: text(&output.stderr) + &text(&output.stdout),
            })
        })
    }

    /// Runs a command that must succeed; its table or text.
    ///
    /// # Errors
    /// It failed; with its words.
    pub fn text(&self, arguments: &[&str]) -> Result<String> {
        self.run(arguments)?.map_err(|refused| {
            anyhow!(
                "vmmctl {} ended with {:?}: {}",
                arguments.join(" "),
                refused.code,
                refused.message
            )
        })
    }

    /// Runs a command that must succeed; its JSON.
    ///
    /// # Errors
    /// It failed, or did not print JSON.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let mut all = vec!["-o", "json"];
        all.extend(arguments);
        let text = self.text(&all)?;
        serde_json::from_str(&text)
            .with_context(|| format!("vmmctl {}: not JSON: {text}", arguments.join(" ")))
    }

    /// Runs a command that must be refused, with all of `words` in what it says.
    ///
    /// # Errors
    /// It succeeded, or said something else.
    pub fn refused(&self, arguments: &[&str], words: &[&str]) -> Result<Refused> {
        match self.run(arguments)? {
            Ok(text) => bail!("vmmctl {} was not refused: {text}", arguments.join(" ")),
            Err(refused) => {
                let said = refused.message.to_lowercase();
                match words.iter().find(|word| !said.contains(&word.to_lowercase())) {
                    Some(word) => {
                        bail!("vmmctl {}: no {word:?} in: {}", arguments.join(" "), refused.message)
                    }
                    None => Ok(refused),
                }
            }
        }
    }
}
