//! `check`: what must hold of the sources before anyone reads them, a check each, all run even when one fails.
//!
//! ```text
//!  cargo:       format, lints (with the real backend too, where its headers are), doc links, no libxen in portable binaries
//!  directions:  which crate may depend on which
//!  tidy:        how a file opens, how long it is, where `unsafe` is, what is not left behind, a README a crate
//!  links:       relative links of Markdown files lead somewhere
//!  units:       the services' sandboxes are as tight as they were meant, by systemd's own reckoning
//! ```
//!
//! Fails with the names of the checks that failed; what each found is shown where it ran.

mod directions;
mod lex;
mod links;
mod tidy;
mod tools;
mod units;

use std::process::ExitCode;

use anyhow::Result;

use crate::args::Args;
use crate::workspace::Workspace;

/// What the checks found.
#[derive(Default)]
struct Report {
    passed: u32,
    failed: Vec<&'static str>,
}

impl Report {
    /// A check ends with what it found, or with an error when it could not look; neither passes.
    fn check(&mut self, name: &'static str, run: impl FnOnce() -> Result<Vec<String>>) {
        let findings = run().unwrap_or_else(|error| vec![format!("{error:#}")]);
        if findings.is_empty() {
            println!("ok {name}");
            self.passed += 1;
            return;
        }
        for finding in findings {
            println!("  {finding}");
        }
        println!("FAIL {name}");
        self.failed.push(name);
    }
}

pub(crate) fn main(workspace: &Workspace, args: Args) -> Result<ExitCode> {
    args.finish()?;
    let mut report = Report::default();
    let sources = tidy::Sources::read(workspace)?;
    report.check("every file opens with //!", || Ok(sources.opening()));
    report.check("no file is too long", || Ok(sources.length()));
    report.check("unsafe is under xen-bindings/src/libxc", || Ok(sources.unsafe_code()));
    report.check("nothing is ignored or unfinished", || Ok(sources.leftovers()));
    report.check("no private keys", || tidy::private_keys(workspace));
    report.check("every crate has a README.md", || directions::readmes(workspace));
    report.check("crate directions", || directions::check(workspace));
    report.check("links in Markdown", || links::check(workspace));
    report.check("services are confined", || units::check(workspace));
    report.check("format", || tools::format(workspace));
    report.check("clippy", || tools::clippy(workspace));
    report.check("clippy with the real backend", || tools::clippy_libxc(workspace));
    report.check("doc links", || tools::docs(workspace));
    report.check("portable binaries link no libxen", || tools::no_libxen(workspace));
    for name in &report.failed {
        println!("FAILED {name}");
    }
    println!("check: {} passed, {} failed", report.passed, report.failed.len());
    Ok(if report.failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
