//! A whole pool in one process: a manager, agents on simulated Xen machines, and the network between them.
//!
//! ```text
//!   client ──► network ──► Manager ──► network ──► Agent ──► SimMachine         all on tokio's paused clock
//!                 ▲                       ▲           ▲          ▲
//!                 └───────── chaos ───────┴───────────┴──────────┘              from one seed
//! ```
//!
//! Everything is the product's own code but the machines, the pipes, the clock and the randomness. [`Pool`] starts and breaks
//! its parts; [`Day`] is what an unlucky operator does with it; [`host_facts`] reads from the machines themselves what is true.
//!
//! Chaos is: hosts that lose power, agents and managers that are killed, cables that are pulled in the middle of a call (so
//! that requests and replies are lost), guests that crash. Never: a lie of the simulator about Xen's rules; these are held by
//! the contract suite.

mod day;
mod facts;
mod host;
mod node;
mod size;

pub use day::{Day, DayReport};
pub use facts::host_facts;
pub use host::SimHost;
pub use node::{Operator, Pool, PoolError, random_bytes};
pub use size::Size;
