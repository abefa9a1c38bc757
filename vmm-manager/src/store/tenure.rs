//! Who owns the store: one manager at a time, and each transaction proves it.
//!
//! ```text
//!   take ─► row `manager` = my name, bound to my lease, at revision 17
//!                  │                        │
//!   keep ──────────┘ every third of it      └─► 17 is my fencing token: a condition of each transaction
//! ```
//!
//! A manager that was asleep while its lease ended finds that out with its next transaction, at the latest: the row has another revision, or is
//! gone, and nothing is stored. It watches the row as well, so that an idle one does not go on believing. A store that only one can have open needs no lease: whoever was there before has ended, so its row is taken over.

use std::time::Duration;

use vmm_proto::clock::WallClock;

use super::error::{StoreError, failed};
use super::kv::{Condition, KeyValue, KvError, LeaseId, Operation, Revision, Transaction, get};
use super::put::OWNER_KEY;

/// How long a manager that is not heard by the store goes on owning it.
const LIFE: Duration = Duration::from_secs(15);
/// Somebody else may be quicker so often.
const ATTEMPTS_MAX: usize = 3;

/// The right to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tenure {
    /// Of the owner's row: the fencing token.
    token: Revision,
    lease: Option<LeaseId>,
}

impl Tenure {
    /// What each transaction of the owner is to be done under.
    pub(super) fn fence(self) -> Condition {
        Condition::At(OWNER_KEY.to_vec(), self.token)
    }

    /// Takes the store for `owner`, if nobody has it.
    pub(super) async fn take(
        kv: &dyn KeyValue,
        owner: &str,
        now: Duration,
    ) -> Result<Self, StoreError> {
        for _ in 0..ATTEMPTS_MAX {
            kv.expire(now).await.map_err(failed("taking"))?;
            let row = get(kv, OWNER_KEY).await.map_err(failed("taking"))?;
            let condition = match row {
                None => Condition::Absent(OWNER_KEY.to_vec()),
                Some(row) if kv.is_exclusive() => Condition::At(row.key, row.revision),
                Some(row) => {
                    let owner = String::from_utf8_lossy(&row.value).into_owned();
                    return Err(StoreError::Owned { owner });
                }
            };
            let lease = match kv.is_exclusive() {
                true => None,
                false => Some(kv.grant(LIFE, now).await.map_err(failed("taking"))?),
            };
            let put = Operation::Put { value: owner.as_bytes().to_vec(), lease };
            let operations = vec![(OWNER_KEY.to_vec(), put)];
            match kv.commit(Transaction { conditions: vec![condition], operations }).await {
                Ok(token) => return Ok(Self { token, lease }),
                Err(KvError::Conflict { .. }) => {}
                Err(error) => return Err(failed("taking")(error)),
            }
        }
        Err(StoreError::Owned { owner: "somebody who was quicker".to_owned() })
    }

    /// Keeps the lease, until the store is another's or fails.
    pub(super) async fn until_lost(self, kv: &dyn KeyValue, clock: &dyn WallClock) -> KvError {
        let mut watch = match kv.watch(OWNER_KEY.to_vec(), self.token) {
            Ok(watch) => watch,
            Err(error) => return error,
        };
        loop {
            tokio::select! {
                // The next change of the row is somebody else's.
                change = watch.next() => return change.map_or_else(|error| error, |_| taken()),
                () = tokio::time::sleep(LIFE / 3) => {}
            }
            if let Some(lease) = self.lease
                && let Err(error) = kv.keep_alive(lease, clock.now()).await
            {
                return error;
            }
        }
    }

    /// Gives it back. Whoever comes next need not wait then; if this fails, he waits.
    pub(super) async fn give_up(self, kv: &dyn KeyValue) {
        let operations = vec![(OWNER_KEY.to_vec(), Operation::Delete)];
        let transaction = Transaction { conditions: vec![self.fence()], operations };
        let given = kv.commit(transaction).await.map(drop);
        if let (Ok(()), Some(lease)) = (given, self.lease) {
            let _ = kv.revoke(lease).await;
        }
    }
}

fn taken() -> KvError {
    KvError::Conflict { key: String::from_utf8_lossy(OWNER_KEY).into_owned() }
}
