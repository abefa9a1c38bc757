//! Who speaks: the identity that a certificate carries and that both layers agree on.
//!
//! Written as a URI, `xvmp://<trust-domain>/<role>/<id>`, in the certificate's subject alternative
//! names. The trust domain is a constant of this version: which pool somebody belongs to is decided
//! by the certificate authority that signed, never by this text.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

/// The trust domain that every principal's URI names.
pub const TRUST_DOMAIN: &str = "smps-vmm";

/// Longest id of a principal, in bytes.
pub const ID_BYTES_MAX: usize = 128;

const SCHEME: &str = "xvmp://";

/// What kind of party a principal is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The manager of the pool.
    Manager,
    /// The daemon on one Xen host.
    Agent,
    /// A person or a program who may do everything.
    Admin,
    /// One who may do everything with VMs, and nothing with hosts.
    Operator,
    /// One who may look.
    Viewer,
}

impl Role {
    /// The role as it stands in the URI.
    pub fn as_str(self) -> &'static str {
        match self {
            Role::Manager => "manager",
            Role::Agent => "agent",
            Role::Admin => "admin",
            Role::Operator => "operator",
            Role::Viewer => "viewer",
        }
    }

    /// The role of this name.
    fn named(name: &str) -> Option<Role> {
        let all = [Role::Manager, Role::Agent, Role::Admin, Role::Operator, Role::Viewer];
        all.into_iter().find(|role| role.as_str() == name)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One party of the protocol. `Display` and `FromStr` use the URI.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Principal {
    /// The kind of party.
    pub role: Role,
    /// Its name within the role: 1 to [`ID_BYTES_MAX`] of `A-Z a-z 0-9 . _ -`.
    pub id: String,
}

impl Principal {
    /// A manager.
    pub fn manager(id: impl Into<String>) -> Principal {
        Principal { role: Role::Manager, id: id.into() }
    }

    /// An agent; its id is the host's id.
    pub fn agent(id: impl Into<String>) -> Principal {
        Principal { role: Role::Agent, id: id.into() }
    }

    /// A user who may do everything.
    pub fn admin(id: impl Into<String>) -> Principal {
        Principal { role: Role::Admin, id: id.into() }
    }

    /// A user who may do everything with VMs.
    pub fn operator(id: impl Into<String>) -> Principal {
        Principal { role: Role::Operator, id: id.into() }
    }

    /// A user who may look.
    pub fn viewer(id: impl Into<String>) -> Principal {
        Principal { role: Role::Viewer, id: id.into() }
    }

    /// Whether the id may stand in a certificate.
    ///
    /// # Errors
    /// [`PrincipalError::Id`] with the rule.
    pub fn check(&self) -> Result<(), PrincipalError> {
        let letters =
            self.id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'));
        if self.id.is_empty() || self.id.len() > ID_BYTES_MAX || !letters {
            return Err(PrincipalError::Id { id: self.id.clone() });
        }
        Ok(())
    }
}

impl fmt::Display for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SCHEME}{TRUST_DOMAIN}/{}/{}", self.role, self.id)
    }
}

impl FromStr for Principal {
    type Err = PrincipalError;

    fn from_str(text: &str) -> Result<Principal, PrincipalError> {
        let shape = || PrincipalError::Shape { text: text.to_owned() };
        let rest = text.strip_prefix(SCHEME).ok_or_else(shape)?;
        let (domain, rest) = rest.split_once('/').ok_or_else(shape)?;
        if domain != TRUST_DOMAIN {
            return Err(PrincipalError::TrustDomain { domain: domain.to_owned() });
        }
        let (role, id) = rest.split_once('/').ok_or_else(shape)?;
        let no_role = || PrincipalError::Role { role: role.to_owned() };
        let role = Role::named(role).ok_or_else(no_role)?;
        let principal = Principal { role, id: id.to_owned() };
        principal.check()?;
        Ok(principal)
    }
}

/// Why a text is no principal.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PrincipalError {
    /// Not the URI's shape at all.
    #[error("`{text}` is no principal: write xvmp://{TRUST_DOMAIN}/<role>/<id>")]
    Shape {
        /// What was read.
        text: String,
    },
    /// A URI of somebody else's.
    #[error("trust domain `{domain}` is not `{TRUST_DOMAIN}`: use a certificate of this pool")]
    TrustDomain {
        /// What was read.
        domain: String,
    },
    /// No such role.
    #[error("no role `{role}`: use manager, agent, admin, operator or viewer")]
    Role {
        /// What was read.
        role: String,
    },
    /// An id outside the allowed letters or length.
    #[error("`{id}` is no principal's id: use 1 to {ID_BYTES_MAX} of A-Z a-z 0-9 . _ -")]
    Id {
        /// What was read.
        id: String,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_principal_survives_being_written_and_read() {
        for principal in [
            Principal::manager("m1"),
            Principal::agent("host-7.rack_2"),
            Principal::admin("ann"),
            Principal::operator("bob"),
            Principal::viewer("cron"),
        ] {
            assert_eq!(principal.to_string().parse::<Principal>().unwrap(), principal);
        }
    }

    #[test]
    fn text_that_is_no_principal_is_refused() {
        for text in [
            "",
            "xvmp://",
            "xvmp://smps-vmm",
            "xvmp://smps-vmm/agent",
            "xvmp://smps-vmm/agent/",
            "xvmp://smps-vmm/agent/a/b",
            "xvmp://smps-vmm/agent/a b",
            "xvmp://smps-vmm/root/a",
            "xvmp://smps-vmm/user/a",
            "xvmp://smps-vmm/Admin/a",
            "xvmp://elsewhere/agent/a",
            "spiffe://smps-vmm/agent/a",
        ] {
            assert!(text.parse::<Principal>().is_err(), "{text}");
        }
    }
}
