//! placeholder
use crate::{args::Args, workspace::Workspace};
pub(crate) fn main(_w: &Workspace, _a: Args) -> anyhow::Result<std::process::ExitCode> { anyhow::bail!("soon") }
