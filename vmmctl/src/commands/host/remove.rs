//! `vmmctl host remove`

use clap::Args;
use vmm_proto::v1::{RemoveHost, Reply, Request};

use crate::commands::tell;
use crate::complete;
use crate::confirm::{Reason, confirm};
use crate::failure::Failure;
use crate::session::{Session, unexpected};

#[derive(Debug, Args)]
#[command(after_help = "\
Example: vmmctl host remove host-3

The pool forgets the host; its agent runs on, and `vmmctl host add` takes it in again.")]
pub(crate) struct Remove {
    /// Name or id.
    #[arg(add = complete::hosts())]
    host: String,
    /// Do not ask.
    #[arg(long, short)]
    yes: bool,
}

pub(super) async fn run(session: &Session, remove: Remove) -> Result<(), Failure> {
    let Remove { host, yes } = remove;
    let question = format!("remove host {host} from the pool?");
    confirm(&question, Reason::Loses, yes).await?;
    match session.call(Request::RemoveHost(RemoveHost { host: host.clone() })).await? {
        Reply::Done(done) => {
            let said = format!("host {host} is out of the pool");
            tell::named(&session.look, &host, done, &said)
        }
        other => Err(unexpected(&other)),
    }
}
