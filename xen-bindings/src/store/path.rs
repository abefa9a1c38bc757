//! Absolute xenstore paths that the daemon will accept.

use std::fmt;

use super::error::StoreError;
use crate::domid::DomId;

/// The daemon's limit on an absolute path.
pub const PATH_BYTES_MAX: usize = 3072;

/// An absolute path: starts with `/`, no empty part, only letters, digits and `-/_@:`.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct StorePath(String);

impl StorePath {
    /// Checks and takes a path.
    ///
    /// # Errors
    /// `Invalid` when the daemon would refuse it.
    pub fn new(path: impl Into<String>) -> Result<Self, StoreError> {
        let path = path.into();
        if is_valid(&path) {
            Ok(Self(path))
        } else {
            Err(StoreError::Invalid(format!("path {path:?}")))
        }
    }

    /// `/local/domain/N`.
    #[must_use]
    pub fn domain(domid: DomId) -> Self {
        Self(format!("/local/domain/{domid}"))
    }

    /// A node below this one; `relative` may have several parts.
    ///
    /// # Errors
    /// `Invalid` when the result would be refused.
    pub fn join(&self, relative: &str) -> Result<Self, StoreError> {
        Self::new(if self.0 == "/" {
            format!("/{relative}")
        } else {
            format!("{}/{relative}", self.0)
        })
    }

    /// As text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The node that this one is in; `None` for the root.
    #[must_use]
    pub fn parent(&self) -> Option<Self> {
        let (parent, name) = self.0.rsplit_once('/')?;
        (!name.is_empty()).then(|| Self(if parent.is_empty() { "/".into() } else { parent.into() }))
    }

    /// The last part; empty for the root.
    #[must_use]
    pub fn name(&self) -> &str {
        self.0.rsplit_once('/').map_or("", |(_, name)| name)
    }
}

fn is_valid(path: &str) -> bool {
    path == "/"
        || (path.len() <= PATH_BYTES_MAX
            && path.starts_with('/')
            && path[1..].split('/').all(|part| {
                !part.is_empty()
                    && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_@:".contains(&b))
            }))
}

impl fmt::Display for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StorePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_the_daemon_refuses_are_refused_here() {
        for (path, accepted) in [
            ("/", true),
            ("/local/domain/1", true),
            ("/local/domain/1/", false),
            ("relative", false),
            ("/a//b", false),
            ("/a b", false),
            ("/a\0b", false),
            ("", false),
        ] {
            assert_eq!(StorePath::new(path).is_ok(), accepted, "{path:?}");
        }
        assert!(StorePath::new(format!("/{}", "a".repeat(PATH_BYTES_MAX))).is_err());
    }

    #[test]
    fn the_parent_of_a_top_node_is_the_root_and_the_root_has_none() {
        let top = StorePath::new("/vm").expect("valid");
        assert_eq!(top.parent().map(|p| p.to_string()), Some("/".into()));
        assert_eq!(top.parent().and_then(|p| p.parent()), None);
        assert_eq!(top.name(), "vm");
    }
}
