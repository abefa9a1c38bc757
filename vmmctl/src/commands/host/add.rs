//! `vmmctl host add`

use clap::Args;
use vmm_proto::v1::{AddHost, Reply, Request};

use crate::commands::tell;
use crate::complete;
use crate::failure::Failure;
use crate::session::{Session, unexpected};

#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vmmctl host add host-1 10.0.0.11:8443
  vmmctl host add host-2 10.0.0.12:8443 --pool fast")]
pub(crate) struct Add {
    /// The name that its agent's credentials were issued for.
    name: String,
    /// Where its agent listens.
    #[arg(value_name = "HOST:PORT")]
    address: String,
    /// The pool that it comes into [default: the first].
    #[arg(long, add = complete::pools())]
    pool: Option<String>,
}

pub(super) async fn run(session: &Session, add: Add) -> Result<(), Failure> {
    let Add { name, address, pool } = add;
    let request = Request::AddHost(AddHost { name: name.clone(), address, pool });
    match session.call(request).await? {
        Reply::HostRef(host) => {
            let said = format!(
                "host {name} is in the pool as {}; `vmmctl host list` shows when it is heard",
                host.host
            );
            tell::named(&session.look, &name, host, &said)
        }
        other => Err(unexpected(&other)),
    }
}
