//! The migrations of this host: one a VM, kept for a while when it is over.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use vmm_core::id::VmId;
use vmm_core::migration::layered::Progress;
use vmm_proto::bulk::{IncomingStream, TransferId};

use super::reattach::Reattached;
use crate::migrate::lanes::LANES_MAX;

/// Migrations that are over and still told of.
const OVER_MAX: usize = 256;
/// Streams that wait for the destination to take them up: it takes as many as the source says, and refuses those that come when it has.
const STREAMS_MAX: usize = LANES_MAX;

/// Which migration: made by the manager, unguessable, and the id of its bulk transfer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(crate) struct MigrationId(TransferId);

impl MigrationId {
    pub(crate) fn transfer(self) -> TransferId {
        self.0
    }
}

impl fmt::Display for MigrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for MigrationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MigrationId({self})")
    }
}

/// Not 32 lowercase hexadecimal digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a migration is named by 32 lowercase hexadecimal digits")]
pub(crate) struct NoMigrationId;

impl FromStr for MigrationId {
    type Err = NoMigrationId;

    fn from_str(text: &str) -> Result<Self, NoMigrationId> {
        let digit = |byte: &u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(byte);
        if !text.as_bytes().iter().all(digit) {
            return Err(NoMigrationId);
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| NoMigrationId)?;
        if text.len() == 32 { Ok(Self(number.to_be_bytes())) } else { Err(NoMigrationId) }
    }
}

impl From<MigrationId> for String {
    fn from(id: MigrationId) -> Self {
        id.to_string()
    }
}

impl TryFrom<String> for MigrationId {
    type Error = NoMigrationId;

    fn try_from(text: String) -> Result<Self, NoMigrationId> {
        text.parse()
    }
}

/// Which end of a migration this host is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Side {
    /// The VM leaves.
    Source,
    /// The VM comes.
    Destination,
}

/// How far a migration is on this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// The guest runs here and is being copied.
    Sending,
    /// The guest stands still here; the destination has all of it. A verdict is waited for.
    Offered,
    /// It has gone: the copy here is destroyed.
    Gone,
    /// It goes on here.
    Resumed,
    /// The shell is being made.
    Preparing,
    /// Pages come, or may.
    Receiving,
    /// All of it is here, paused. A verdict is waited for.
    Ready,
    /// It runs here.
    Started,
    /// The copy here is destroyed.
    Discarded,
}

impl Stage {
    /// Nothing more will come of it.
    pub(crate) fn is_over(self) -> bool {
        matches!(self, Self::Gone | Self::Resumed | Self::Started | Self::Discarded)
    }
}

/// Who owns the VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The destination.
    Commit,
    /// The source.
    Abort,
}

impl Stage {
    /// What was decided, once it was carried out here.
    pub(crate) fn verdict(self) -> Option<Verdict> {
        match self {
            Self::Gone | Self::Started => Some(Verdict::Commit),
            Self::Resumed | Self::Discarded => Some(Verdict::Abort),
            _ => None,
        }
    }
}

/// One migration, as this host knows it.
pub(crate) struct Migration {
    pub(crate) id: MigrationId,
    pub(crate) vm: VmId,
    pub(crate) side: Side,
    /// The other host's name: the id of its agent's principal.
    pub(crate) peer: String,
    stage: watch::Sender<(Stage, String)>,
    verdict: watch::Sender<Option<Verdict>>,
    /// The source's streams, for whoever receives.
    streams: mpsc::Sender<Box<IncomingStream>>,
    incoming: Mutex<Option<mpsc::Receiver<Box<IncomingStream>>>>,
    pub(crate) progress: watch::Sender<Option<Progress>>,
    /// What became of the guest's devices, once it runs here.
    pub(crate) reattached: watch::Sender<Reattached>,
    ready_at: OnceLock<Instant>,
}

impl fmt::Debug for Migration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Migration");
        shown.field("id", &self.id).field("vm", &self.vm).field("side", &self.side);
        shown.field("peer", &self.peer).field("stage", &self.now()).finish_non_exhaustive()
    }
}

impl Migration {
    pub(crate) fn new(id: MigrationId, vm: VmId, (side, peer): (Side, String)) -> Self {
        let (streams, incoming) = mpsc::channel(STREAMS_MAX);
        let first = match side {
            Side::Source => Stage::Sending,
            Side::Destination => Stage::Preparing,
        };
        Self {
            id,
            vm,
            side,
            peer,
            stage: watch::Sender::new((first, String::new())),
            verdict: watch::Sender::new(None),
            streams,
            incoming: Mutex::new(Some(incoming)),
            progress: watch::Sender::new(None),
            reattached: watch::Sender::default(),
            ready_at: OnceLock::new(),
        }
    }

    /// How far it is, and why in words where there is a reason.
    pub(crate) fn stage(&self) -> watch::Receiver<(Stage, String)> {
        self.stage.subscribe()
    }

    /// How far it is.
    pub(crate) fn now(&self) -> Stage {
        self.stage.borrow().0
    }

    /// It has come so far. What is over stays so.
    pub(crate) fn reach(&self, stage: Stage, reason: &str) {
        if stage == Stage::Ready {
            self.ready_at.get_or_init(Instant::now);
        }
        self.stage.send_if_modified(|now| {
            let news = !now.0.is_over() && now.0 != stage;
            if news {
                *now = (stage, reason.to_owned());
            }
            news
        });
    }

    /// How long all of it had been here then.
    pub(super) fn ready_for(&self, now: Instant) -> Option<Duration> {
        self.ready_at.get().map(|ready| now.saturating_duration_since(*ready))
    }

    /// Tells the verdict. The first one counts; false when another was told before.
    pub(crate) fn tell(&self, verdict: Verdict) -> bool {
        let mut stands = verdict;
        self.verdict.send_if_modified(|told| {
            stands = *told.get_or_insert(verdict);
            true
        });
        stands == verdict
    }

    /// Waits for the verdict.
    pub(crate) async fn verdict(&self) -> Verdict {
        let mut told = self.verdict.subscribe();
        match told.wait_for(Option::is_some).await.map(|told| *told) {
            Ok(Some(verdict)) => verdict,
            // The sender is ours.
            _ => std::future::pending().await,
        }
    }

    /// Hands over a stream of the source's. Given back when too many wait, and when no more are wanted.
    pub(crate) fn hand_over(&self, stream: Box<IncomingStream>) -> Result<(), Box<IncomingStream>> {
        self.streams.try_send(stream).map_err(|error| match error {
            mpsc::error::TrySendError::Full(stream) | mpsc::error::TrySendError::Closed(stream) => {
                stream
            }
        })
    }

    /// Where the source's streams come in; once.
    pub(super) fn incoming(&self) -> Option<mpsc::Receiver<Box<IncomingStream>>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The migrations of one host.
#[derive(Default)]
pub(crate) struct Migrations(Mutex<Vec<Arc<Migration>>>);

impl Migrations {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Migration>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes note of one, instead of what was known by its id. Of those that are over, the oldest go when there are too many.
    pub(crate) fn open(&self, migration: Migration) -> Arc<Migration> {
        let migration = Arc::new(migration);
        let mut all = self.lock();
        all.retain(|other| other.id != migration.id);
        let over = all.iter().filter(|other| other.now().is_over()).count();
        if over >= OVER_MAX
            && let Some(oldest) = all.iter().position(|other| other.now().is_over())
        {
            all.remove(oldest);
        }
        all.push(migration.clone());
        migration
    }

    /// That migration of that VM.
    pub(crate) fn get(&self, vm: VmId, id: MigrationId) -> Option<Arc<Migration>> {
        self.lock().iter().find(|one| one.id == id && one.vm == vm).cloned()
    }

    /// By the id of its transfer.
    pub(crate) fn of_transfer(&self, transfer: TransferId) -> Option<Arc<Migration>> {
        self.lock().iter().find(|one| one.id.transfer() == transfer).cloned()
    }

    /// What each VM is part of, or was last.
    pub(crate) fn latest(&self) -> BTreeMap<VmId, Arc<Migration>> {
        self.lock().iter().map(|one| (one.vm, one.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn migration(number: u8) -> Migration {
        let id = format!("{number:032x}").parse().unwrap();
        Migration::new(id, VmId::from_bytes([number; 16]), (Side::Source, "h2".into()))
    }

    #[test]
    fn an_id_is_thirty_two_lowercase_digits() {
        let good = "00112233445566778899aabbccddeeff";
        assert_eq!(good.parse::<MigrationId>().unwrap().to_string(), good);
        for bad in [
            "",
            "0",
            &good[1..],
            "00112233445566778899AABBCCDDEEFF",
            "+0112233445566778899aabbccddeeff",
        ] {
            assert_eq!(bad.parse::<MigrationId>(), Err(NoMigrationId), "{bad}");
        }
    }

    #[test]
    fn what_is_over_stays_and_the_first_verdict_counts() {
        let one = migration(1);
        one.reach(Stage::Offered, "");
        assert!(one.tell(Verdict::Commit) && one.tell(Verdict::Commit));
        assert!(!one.tell(Verdict::Abort));
        one.reach(Stage::Gone, "");
        one.reach(Stage::Resumed, "late");
        assert_eq!(one.now(), Stage::Gone);
    }

    #[test]
    fn what_runs_is_never_forgotten_for_what_is_over() {
        let all = Migrations::default();
        let first = all.open(migration(0));
        for number in 1..=u8::MAX {
            all.open(migration(number)).reach(Stage::Gone, "");
        }
        let id = format!("{:032x}", 1 << 20).parse().unwrap();
        all.open(Migration::new(id, first.vm, (Side::Source, String::new())));
        assert!(all.get(first.vm, first.id).is_some());
        assert_eq!(all.latest()[&first.vm].id, id);
    }
}
