//! Waiting until something in the pool changes.

use std::time::Duration;

use vmm_proto::v1::{Events, Reply, Request, WaitEvents};

use crate::failure::Failure;
use crate::session::{Session, unexpected};

/// Less than the manager's own limit, and than what a call may take.
const WAIT: Duration = Duration::from_secs(15);
/// Objects in one answer.
const COUNT: u32 = 500;

/// Which objects are of interest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Kinds {
    pub(crate) hosts: bool,
    pub(crate) vms: bool,
    pub(crate) tasks: bool,
    pub(crate) pools: bool,
    pub(crate) sites: bool,
    pub(crate) groups: bool,
}

impl Kinds {
    const NONE: Self =
        Self { hosts: false, vms: false, tasks: false, pools: false, sites: false, groups: false };
    pub(crate) const HOSTS: Self = Self { hosts: true, ..Self::NONE };
    pub(crate) const VMS: Self = Self { vms: true, ..Self::NONE };
    pub(crate) const TASKS: Self = Self { tasks: true, ..Self::NONE };
    /// A pool is what its hosts are together.
    pub(crate) const POOLS: Self = Self { pools: true, hosts: true, ..Self::NONE };
    /// And a site what its pools are.
    pub(crate) const SITES: Self = Self { sites: true, ..Self::POOLS };
    pub(crate) const GROUPS: Self = Self { groups: true, ..Self::NONE };
    pub(crate) const ALL: Self =
        Self { hosts: true, vms: true, tasks: true, pools: true, sites: true, groups: true };
}

/// A place in the stream of changes.
pub(crate) struct Changes {
    kinds: Kinds,
    cursor: String,
}

impl Changes {
    /// From all there is on.
    pub(crate) fn from_the_beginning(kinds: Kinds) -> Self {
        Self { kinds, cursor: String::new() }
    }

    /// From now on: what is looked up after this is no older.
    pub(crate) async fn from_now(session: &Session, kinds: Kinds) -> Result<Self, Failure> {
        // Nothing is of interest, so that nothing is sent but the place.
        let events = ask(session, Kinds::NONE, String::new(), Duration::ZERO).await?;
        Ok(Self { kinds, cursor: events.cursor })
    }

    /// What has changed since; empty when nothing has for a while, or for `wait_max`.
    pub(crate) async fn next(
        &mut self,
        session: &Session,
        wait_max: Duration,
    ) -> Result<Events, Failure> {
        let events = ask(session, self.kinds, self.cursor.clone(), wait_max.min(WAIT)).await?;
        self.cursor.clone_from(&events.cursor);
        Ok(events)
    }

    /// Returns when something has changed; all that has so far is behind us then.
    pub(crate) async fn any(&mut self, session: &Session) -> Result<(), Failure> {
        loop {
            let mut events = self.next(session, WAIT).await?;
            if is_empty(&events) {
                continue;
            }
            while events.more {
                events = self.next(session, Duration::ZERO).await?;
            }
            return Ok(());
        }
    }
}

async fn ask(
    session: &Session,
    kinds: Kinds,
    cursor: String,
    wait: Duration,
) -> Result<Events, Failure> {
    let wait = WaitEvents {
        cursor,
        wait_ms_max: u64::try_from(wait.as_millis()).unwrap_or(u64::MAX),
        count_max: COUNT,
        hosts: kinds.hosts,
        vms: kinds.vms,
        tasks: kinds.tasks,
        pools: kinds.pools,
        sites: kinds.sites,
        groups: kinds.groups,
    };
    match session.call(Request::WaitEvents(wait)).await? {
        Reply::Events(events) => Ok(events),
        other => Err(unexpected(&other)),
    }
}

fn is_empty(events: &Events) -> bool {
    let Events { resync, hosts, vms, tasks, pools, sites, groups, gone, .. } = events;
    let places = [pools.len(), sites.len(), groups.len()];
    let objects = [hosts.len(), vms.len(), tasks.len(), gone.len()];
    !resync && objects.iter().chain(&places).all(|count| *count == 0)
}
