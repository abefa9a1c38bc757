//! House rules that a look at the text decides: how files open, how long they are, where `unsafe` stands, and what must
//! not be left behind.
//!
//! Fails when a file cannot be read; everything else is a finding with the file and the line.

use anyhow::Result;

use super::lex::{code_of, lines_with_word};
use crate::workspace::Workspace;

const LINES_MAX: usize = 500;
/// An attribute or two may come before the opening comment.
const OPENING_LINES: usize = 5;
const UNSAFE_HOME: &str = "xen-bindings/src/libxc/";

// Put together here, so that this file does not find itself.
const MARKER: &str = concat!("FIX", "ME");
const IGNORED: &str = concat!("#[", "ignore");
const UNFINISHED: &[&str] = &[concat!("todo", "!"), concat!("unimplemented", "!")];
const KEY_BEGIN: &str = concat!("-----", "BEGIN ");
const KEY_END: &str = concat!("PRIVATE", " KEY-----");

struct Source {
    path: String,
    text: String,
    code: String,
}

/// Every Rust file of the workspace.
pub(crate) struct Sources(Vec<Source>);

impl Sources {
    pub(crate) fn read(workspace: &Workspace) -> Result<Self> {
        let mut sources = Vec::new();
        for path in workspace.files()? {
            if path.extension().is_some_and(|ext| ext == "rs") {
                let text = String::from_utf8_lossy(&workspace.read(&path)?).into_owned();
                let code = code_of(&text);
                sources.push(Source { path: path.display().to_string(), text, code });
            }
        }
        Ok(Self(sources))
    }

    pub(crate) fn opening(&self) -> Vec<String> {
        let opens =
            |text: &str| text.lines().take(OPENING_LINES).any(|line| line.starts_with("//!"));
        let closed = self.0.iter().filter(|source| !opens(&source.text));
        closed.map(|source| format!("{}: no //! at the top", source.path)).collect()
    }

    pub(crate) fn length(&self) -> Vec<String> {
        let lengths = self.0.iter().map(|source| (&source.path, source.text.lines().count()));
        let long = lengths.filter(|(_, lines)| *lines > LINES_MAX);
        long.map(|(path, lines)| format!("{path}: {lines} lines, {LINES_MAX} at most")).collect()
    }

    pub(crate) fn unsafe_code(&self) -> Vec<String> {
        let outside = self.0.iter().filter(|source| !source.path.starts_with(UNSAFE_HOME));
        outside
            .flat_map(|source| {
                let lines = lines_with_word(&source.code, "unsafe");
                lines.into_iter().map(|line| format!("{}:{line}: unsafe", source.path))
            })
            .collect()
    }

    pub(crate) fn leftovers(&self) -> Vec<String> {
        let mut findings = Vec::new();
        for source in &self.0 {
            for (number, (line, code)) in (1..).zip(source.text.lines().zip(source.code.lines())) {
                let left = UNFINISHED.iter().chain([&IGNORED]).find(|word| code.contains(**word));
                let left = left.copied().or_else(|| line.contains(MARKER).then_some(MARKER));
                if let Some(word) = left {
                    findings.push(format!("{}:{number}: {word}", source.path));
                }
            }
        }
        findings
    }
}

/// Keys are made at run time and never lie among the sources, not even for tests.
pub(crate) fn private_keys(workspace: &Workspace) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for path in workspace.files()? {
        let bytes = workspace.read(&path)?;
        let text = String::from_utf8_lossy(&bytes);
        let header = |line: &str| line.trim().starts_with(KEY_BEGIN) && line.contains(KEY_END);
        if text.lines().any(header) {
            findings.push(format!("{}: a private key", path.display()));
        }
    }
    Ok(findings)
}
