//! One suite over the traits: real Xen and the simulator must answer alike.
