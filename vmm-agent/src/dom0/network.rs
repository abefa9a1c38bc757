//! Bridges and their ports.

use super::Dom0Error;

/// An interface in a bridge.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct BridgePort {
    /// Such as `vif3.0`.
    pub interface: String,
    /// Such as `br0`.
    pub bridge: String,
}

/// What dom0 does with networks. Errors name the bridge or the interface as `bridge br0` or `interface vif3.0`.
pub trait Network {
    /// Puts an interface into a bridge and brings it up. One that is there already is success; one of another bridge moves.
    ///
    /// # Errors
    /// `NotFound`; `WrongKind` when the bridge is none, or the interface is a bridge itself or the loopback.
    fn plug_port(&self, interface: &str, bridge: &str) -> Result<(), Dom0Error>;

    /// Takes an interface down and out of its bridge. One that is in no bridge, or is not there, is success.
    ///
    /// # Errors
    /// `Other`.
    fn unplug_port(&self, interface: &str) -> Result<(), Dom0Error>;

    /// All ports of all bridges, in order of name.
    ///
    /// # Errors
    /// `Other`.
    fn ports(&self) -> Result<Vec<BridgePort>, Dom0Error>;

    /// Whether there is a bridge of this name. Something else of this name is none.
    ///
    /// # Errors
    /// `Other`.
    fn bridge_exists(&self, name: &str) -> Result<bool, Dom0Error>;
}
