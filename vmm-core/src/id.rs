//! Ids that cannot be swapped: a VM is not a host, a task is neither.

use std::fmt;
use std::str::FromStr;

use uuid::Uuid;

/// Text that is not a uuid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a uuid")]
pub struct NotAnId(String);

macro_rules! typed_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// From 16 random bytes, which the caller provides.
            #[must_use]
            pub fn from_random(bytes: [u8; 16]) -> Self {
                Self(uuid::Builder::from_random_bytes(bytes).into_uuid())
            }

            /// From a uuid that somebody keeps.
            #[must_use]
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(Uuid::from_bytes(bytes))
            }

            /// Its 16 bytes.
            #[must_use]
            pub fn bytes(self) -> [u8; 16] {
                *self.0.as_bytes()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = NotAnId;

            fn from_str(text: &str) -> Result<Self, NotAnId> {
                Uuid::parse_str(text).map(Self).map_err(|_| NotAnId(text.to_owned()))
            }
        }
    };
}

typed_id!(
    /// A VM. Persists over starts and migrations; Xen's domid does not.
    VmId
);
typed_id!(
    /// A host with an agent.
    HostId
);
typed_id!(
    /// A change under way.
    TaskId
);
typed_id!(
    /// Hosts between which VMs may move.
    PoolId
);
typed_id!(
    /// VMs that shall be on one host, or on different ones.
    GroupId
);
typed_id!(
    /// A network and a domain of trust, with pools in it.
    SiteId
);

impl PoolId {
    /// The pool that is there from the beginning.
    pub const FIRST: Self = Self(Uuid::nil());
}

impl SiteId {
    /// The site that is there from the beginning.
    pub const FIRST: Self = Self(Uuid::nil());
}

/// Which of two pieces of news is newer: the higher one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Generation(pub u64);

impl Generation {
    /// The next one.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_survives_text() {
        let id = VmId::from_random([7; 16]);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("seven".parse::<VmId>().is_err());
    }
}
