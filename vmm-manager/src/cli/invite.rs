//! `vmm-manager invite`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use clap::{Subcommand, ValueEnum};
use vmm_manager::enrolment::Invitations;
use vmm_proto::clock::{SystemClock, WallClock as _};
use vmm_proto::credentials::CertificateAuthority;
use vmm_proto::enrolment::JoinToken;
use vmm_proto::principal::{Principal, Role};

use super::file::Layout;

const MINUTE: Duration = Duration::from_secs(60);

/// Who is invited.
#[derive(Debug, Subcommand)]
pub(super) enum Guest {
    /// A host; NAME is what it will be called in the pool.
    Host(Invite),
    /// A person or program.
    User {
        /// What it may do: all, all with VMs, or look.
        #[arg(long, value_enum, default_value = "operator")]
        role: UserRole,
        #[command(flatten)]
        invite: Invite,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub(super) enum UserRole {
    Admin,
    Operator,
    Viewer,
}

impl UserRole {
    pub(super) fn role(self) -> Role {
        match self {
            Self::Admin => Role::Admin,
            Self::Operator => Role::Operator,
            Self::Viewer => Role::Viewer,
        }
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct Invite {
    /// 1 to 128 of A-Z a-z 0-9 . _ -
    name: String,
    /// The manager's directory, made by `init`.
    #[arg(long)]
    dir: PathBuf,
    /// How long the token is good, in minutes.
    #[arg(long, default_value_t = 60, value_name = "MINUTES", value_parser = clap::value_parser!(u32).range(1..=10_080))]
    valid: u32,
    /// Where the invited reach this manager [default: `listen` of its configuration].
    #[arg(long, value_name = "HOST:PORT")]
    manager: Option<String>,
}

/// Prints the one command that the invited runs.
pub(super) fn invite(guest: &Guest) -> Result<()> {
    let (invite, role) = match guest {
        Guest::Host(invite) => (invite, Role::Agent),
        Guest::User { role, invite } => (invite, role.role()),
    };
    let layout = Layout::of(&invite.dir);
    let manager = match &invite.manager {
        Some(address) => address.clone(),
        None => listens_at(&layout)?,
    };
    let principal = Principal { role, id: invite.name.clone() };
    let token = new_token(&layout, &principal, MINUTE * invite.valid)?;
    eprintln!("good once, for {} minutes; whoever has it becomes {principal}:", invite.valid);
    match role {
        Role::Agent => println!("vmm-agent join --manager {manager} --token {token}"),
        _ => println!("vmmctl join --manager {manager} --token {token}"),
    }
    Ok(())
}

fn new_token(layout: &Layout, principal: &Principal, valid: Duration) -> Result<JoinToken> {
    principal.check()?;
    let authority = CertificateAuthority::load(&layout.authority)
        .context("the authority of the pool: was --dir made by `vmm-manager init`?")?;
    let token = JoinToken::generate(authority.certificate())?;
    let expires = SystemClock.now() + valid;
    Invitations::of(layout.invitations.clone()).add(&token, principal, expires)?;
    take_over_owner(&layout.authority, &layout.invitations)?;
    Ok(token)
}

/// A manager that runs as a user of its own must be able to read what root has written for it.
pub(super) fn take_over_owner(like: &Path, made: &Path) -> Result<()> {
    use std::os::unix::fs::{MetadataExt as _, chown};
    let like = std::fs::metadata(like).with_context(|| format!("looking at {}", like.display()))?;
    let entries = std::fs::read_dir(made)?.collect::<std::io::Result<Vec<_>>>()?;
    for path in entries.iter().map(std::fs::DirEntry::path).chain([made.to_owned()]) {
        let now = std::fs::metadata(&path)?;
        if (now.uid(), now.gid()) != (like.uid(), like.gid()) {
            chown(&path, Some(like.uid()), Some(like.gid()))
                .with_context(|| format!("giving {} to the manager's user", path.display()))?;
        }
    }
    Ok(())
}

fn listens_at(layout: &Layout) -> Result<String> {
    let listen = layout.read()?.listen;
    if listen.ip().is_unspecified() {
        bail!(
            "the manager listens at every address of this machine: say with --manager HOST:PORT at which of them the invited reach it"
        );
    }
    Ok(listen.to_string())
}
