//! One suite over the traits: real Xen and the simulator must answer alike.

pub mod flavour;

pub use flavour::{FlavourRules, StoreFlavour};
