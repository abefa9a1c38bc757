//! Invitations on disk: a file each, so that a command can give one out while the manager runs, or before it does.
//!
//! A file holds what the token's secret derives, never the token: whoever reads it can join in its place, so it lies beside the authority's
//! key, mode 0600. It goes when it is too old, at the next look at any of them.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};
use thiserror::Error;
use vmm_proto::enrolment::{Invitation, JoinToken, SECRET_BYTES};
use zeroize::Zeroizing;

/// The directory of invitations.
#[derive(Debug)]
pub struct Invitations {
    directory: PathBuf,
    /// One look and change at a time.
    lock: std::sync::Mutex<()>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    principal: String,
    /// Base64.
    psk: String,
    /// Seconds since the epoch.
    expires_s: u64,
    /// The inner key of whoever came first, base64.
    used_by: Option<String>,
}

/// Why an invitation cannot be made or used.
#[derive(Debug, Error)]
pub enum InvitationError {
    /// Somebody else came first.
    #[error("the token was used already")]
    Used,
    /// It is not there any more.
    #[error("there is no such invitation any more")]
    Unknown,
    /// The directory or a file cannot be read or written.
    #[error("{} cannot be read or written: check its owner and the free space", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A file holds something else.
    #[error("{} holds no invitation: remove it", path.display())]
    Form {
        /// Which.
        path: PathBuf,
    },
}

impl Invitations {
    /// In this directory, which is made when it is needed.
    #[must_use]
    pub fn of(directory: PathBuf) -> Self {
        Self { directory, lock: std::sync::Mutex::default() }
    }

    /// Invites: whoever shows the token until then becomes this principal.
    ///
    /// # Errors
    /// The invitation cannot be written.
    pub fn add(
        &self,
        token: &JoinToken,
        principal: &vmm_proto::principal::Principal,
        expires: Duration,
    ) -> Result<(), InvitationError> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        made.map_err(|source| InvitationError::File { path: self.directory.clone(), source })?;
        let record = Record {
            principal: principal.to_string(),
            psk: STANDARD.encode(token.psk().as_slice()),
            expires_s: expires.as_secs(),
            used_by: None,
        };
        self.write(token.id(), &record)
    }

    /// The invitation behind a token's id, when it is still good.
    ///
    /// # Errors
    /// Its file cannot be read.
    pub fn find(&self, token: &str, now: Duration) -> Result<Option<Invitation>, InvitationError> {
        let _one_at_a_time = self.lock();
        self.forget_old(now);
        let Some(record) = self.read(token, now)? else { return Ok(None) };
        let form = || InvitationError::Form { path: self.path(token) };
        let psk = STANDARD.decode(&record.psk).map(Zeroizing::new).map_err(|_| form())?;
        let psk = <[u8; SECRET_BYTES]>::try_from(psk.as_slice()).map_err(|_| form())?;
        let principal = record.principal.parse().map_err(|_| form())?;
        Ok(Some(Invitation { principal, psk: Zeroizing::new(psk) }))
    }

    /// Binds the token to this inner key; the same one may come again.
    ///
    /// # Errors
    /// It is another one's, or gone, or that it is used cannot be written.
    pub fn take(
        &self,
        token: &str,
        inner_key: &[u8],
        now: Duration,
    ) -> Result<(), InvitationError> {
        let _one_at_a_time = self.lock();
        let mut record = self.read(token, now)?.ok_or(InvitationError::Unknown)?;
        let key = STANDARD.encode(inner_key);
        match &record.used_by {
            Some(first) if *first == key => Ok(()),
            Some(_) => Err(InvitationError::Used),
            None => {
                record.used_by = Some(key);
                self.write(token, &record)
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, ()> {
        self.lock.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// The token's id was read as hexadecimal: it names no other place.
    fn path(&self, token: &str) -> PathBuf {
        self.directory.join(format!("{token}.json"))
    }

    fn read(&self, token: &str, now: Duration) -> Result<Option<Record>, InvitationError> {
        let record = read(&self.path(token))?;
        Ok(record.filter(|record| now.as_secs() < record.expires_s))
    }

    fn write(&self, token: &str, record: &Record) -> Result<(), InvitationError> {
        let path = self.path(token);
        let beside = path.with_extension("new");
        let written = (|| {
            let mut options = OpenOptions::new();
            let mut file =
                options.write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
            file.write_all(&Zeroizing::new(serde_json::to_vec(record)?))?;
            file.sync_all()?;
            std::fs::rename(&beside, &path)?;
            File::open(&self.directory)?.sync_all()
        })();
        written.map_err(|source| InvitationError::File { path, source })
    }

    /// Those that cannot be removed are as good as gone.
    fn forget_old(&self, now: Duration) {
        let Ok(entries) = std::fs::read_dir(&self.directory) else { return };
        for path in entries.flatten().map(|entry| entry.path()) {
            let is_old = path.extension().is_some_and(|extension| extension == "json")
                && matches!(read(&path), Ok(Some(record)) if now.as_secs() >= record.expires_s);
            if is_old && let Err(error) = std::fs::remove_file(&path) {
                tracing::warn!(%error, path = %path.display(), "an old invitation stays");
            }
        }
    }
}

fn read(path: &Path) -> Result<Option<Record>, InvitationError> {
    match std::fs::read(path).map(Zeroizing::new) {
        Ok(text) => serde_json::from_slice(&text)
            .map(Some)
            .map_err(|_| InvitationError::Form { path: path.to_owned() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(InvitationError::File { path: path.to_owned(), source }),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use vmm_proto::credentials::CertificateAuthority;
    use vmm_proto::principal::Principal;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const LATER: Duration = Duration::from_secs(1_800_003_600);

    fn invited() -> (tempfile::TempDir, Invitations, JoinToken) {
        let directory = tempfile::tempdir().unwrap();
        let invitations = Invitations::of(directory.path().join("invitations"));
        let authority = CertificateAuthority::create(NOW).unwrap();
        let token = JoinToken::generate(authority.certificate()).unwrap();
        invitations.add(&token, &Principal::agent("h1"), LATER).unwrap();
        (directory, invitations, token)
    }

    #[test]
    fn an_invitation_is_for_the_first_who_comes_in_time() {
        let (directory, invitations, token) = invited();
        let found = invitations.find(token.id(), NOW).unwrap().unwrap();
        assert_eq!((found.principal, found.psk), (Principal::agent("h1"), token.psk()));
        let file = directory.path().join("invitations").join(format!("{}.json", token.id()));
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(!text.contains(token.to_string().split('.').nth(2).unwrap()), "no secret");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
        invitations.take(token.id(), &[1; 32], NOW).unwrap();
        invitations.take(token.id(), &[1; 32], NOW).unwrap();
        let other = invitations.take(token.id(), &[2; 32], NOW);
        assert!(matches!(other, Err(InvitationError::Used)));
        assert!(invitations.find(token.id(), LATER).unwrap().is_none());
        assert!(!file.exists(), "it is forgotten");
        let late = invitations.take(token.id(), &[1; 32], LATER);
        assert!(matches!(late, Err(InvitationError::Unknown)));
    }

    #[test]
    fn a_damaged_invitation_invites_nobody_and_does_not_hide_others() {
        let (directory, invitations, token) = invited();
        let other = directory.path().join("invitations/0011223344556677.json");
        std::fs::write(&other, "{}").unwrap();
        let damaged = invitations.find("0011223344556677", NOW);
        assert!(matches!(damaged, Err(InvitationError::Form { .. })));
        assert!(invitations.find(token.id(), NOW).unwrap().is_some());
        assert!(invitations.find("7766554433221100", NOW).unwrap().is_none());
    }
}
