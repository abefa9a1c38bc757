//! `vmm-manager issue`.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use clap::Subcommand;
use vmm_manager::MANAGER_ID;
use vmm_proto::clock::{SystemClock, WallClock as _};
use vmm_proto::credentials::CertificateAuthority;
use vmm_proto::principal::Principal;

use super::file::Layout;

/// For whom credentials are issued.
#[derive(Debug, Subcommand)]
pub(super) enum Whom {
    /// For the agent of a host; NAME is what `vmmctl host add` calls it.
    Agent(ToBundle),
    /// For a person or program who may do everything, hosts included.
    Admin(ToBundle),
    /// For a person or program who may do everything with VMs.
    Operator(ToBundle),
    /// For a person or program who may look.
    Viewer(ToBundle),
    /// For this manager itself, in place: when it was down for so long that its own have expired. A manager that runs renews them by itself.
    Manager {
        /// The manager's directory, made by `init`.
        #[arg(long)]
        dir: PathBuf,
    },
}

#[derive(Debug, clap::Args)]
pub(super) struct ToBundle {
    /// 1 to 128 of A-Z a-z 0-9 . _ -
    name: String,
    /// The manager's directory, made by `init`.
    #[arg(long)]
    dir: PathBuf,
    /// The directory to write: ca.pem, cert.pem, key.pem, inner.key. Not there, or empty.
    #[arg(long, value_name = "BUNDLE")]
    out: PathBuf,
}

pub(super) fn issue(whom: Whom) -> Result<()> {
    match whom {
        Whom::Agent(to) => issue_bundle(&Principal::agent(to.name.clone()), &to),
        Whom::Admin(to) => issue_bundle(&Principal::admin(to.name.clone()), &to),
        Whom::Operator(to) => issue_bundle(&Principal::operator(to.name.clone()), &to),
        Whom::Viewer(to) => issue_bundle(&Principal::viewer(to.name.clone()), &to),
        Whom::Manager { dir } => {
            let layout = Layout::of(&dir);
            issue_into(&layout.authority, &Principal::manager(MANAGER_ID), &layout.credentials)
        }
    }
}

fn issue_bundle(principal: &Principal, to: &ToBundle) -> Result<()> {
    let is_used = std::fs::read_dir(&to.out).is_ok_and(|mut entries| entries.next().is_some());
    if is_used {
        bail!("{} is not empty: name a new directory", to.out.display());
    }
    issue_into(&Layout::of(&to.dir).authority, principal, &to.out)
}

fn issue_into(authority: &Path, principal: &Principal, out: &Path) -> Result<()> {
    let authority = CertificateAuthority::load(authority)
        .context("the authority of the pool: was --dir made by `vmm-manager init`?")?;
    authority.issue(principal, SystemClock.now())?.save(out)?;
    println!(
        "issued {principal} into {}; it holds private keys: copy it over a safe way and delete it here",
        out.display()
    );
    Ok(())
}
