//! `vmmctl host move` and `host label`: where a host belongs, and what people write on it.

use clap::Args;
use vmm_proto::v1::{LabelHost, Reply, Request, SetHostPool};

use crate::commands::tell;
use crate::commands::vm::Tags;
use crate::complete;
use crate::failure::Failure;
use crate::session::{Session, unexpected};

#[derive(Debug, Args)]
#[command(after_help = "\
Example: vmmctl host move host-3 fast

Nothing may be on the host: VMs move within a pool only.")]
pub(crate) struct Move {
    /// Name or id.
    #[arg(add = complete::hosts())]
    host: String,
    /// Name or id.
    #[arg(add = complete::pools())]
    pool: String,
}

#[derive(Debug, Args)]
#[command(group = clap::ArgGroup::new("what").required(true).multiple(true), after_help = "\
Examples:
  vmmctl host label host-1 --add nvme,rack-4
  vmmctl host label host-1 --remove nvme --notes 'new disks on Monday'")]
pub(crate) struct Label {
    /// Name or id.
    #[arg(add = complete::hosts())]
    host: String,
    #[command(flatten)]
    tags: Tags,
    /// What people should know about it; empty for nothing.
    #[arg(long, value_name = "TEXT", group = "what")]
    notes: Option<String>,
}

pub(super) async fn to_pool(session: &Session, to: Move) -> Result<(), Failure> {
    let Move { host, pool } = to;
    let request = Request::SetHostPool(SetHostPool { host: host.clone(), pool: pool.clone() });
    done(session, request, &host, &format!("host {host} is in pool {pool}")).await
}

pub(super) async fn label(session: &Session, label: Label) -> Result<(), Failure> {
    let Label { host, tags, notes } = label;
    let (add, remove) = tags.of_wire();
    let request = Request::LabelHost(LabelHost { host: host.clone(), notes, add, remove });
    done(session, request, &host, &format!("host {host} is labelled")).await
}

async fn done(session: &Session, request: Request, host: &str, said: &str) -> Result<(), Failure> {
    match session.call(request).await? {
        Reply::Done(done) => tell::named(&session.look, host, done, said),
        other => Err(unexpected(&other)),
    }
}
