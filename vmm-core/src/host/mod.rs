//! A host: what it has, what is charged on it, and whether it is heard.
//!
//! Memory is hard: the sum of reservations never exceeds capacity (CAP1). CPU and disk throughput are soft: they may be
//! overcommitted, and the scheduler prices them.

mod health;
mod ledger;

pub use health::{HEARTBEAT_LOST_AFTER, Health};
pub use ledger::{HostCapacity, HostLoad, Ledger, NoRoom, Reservation, ReservationReason};
