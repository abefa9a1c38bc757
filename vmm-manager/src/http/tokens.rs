//! Tokens: who may call the JSON API, as whom, until when. A file a token, made and taken away by `vmm-manager token` while the manager runs.
//!
//! A token is `smps_ID_SECRET`. Its file holds the SHA-256 of the secret, which is 32 random bytes: whoever reads the file can call nobody, and
//! nobody guesses. The file is read at each request, so that taking it away takes the token away.

use std::fmt;
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::PathBuf;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;
use thiserror::Error;
use vmm_proto::principal::{Principal, PrincipalError, Role};
use zeroize::Zeroizing;

const PREFIX: &str = "smps";
const ID_BYTES: usize = 8;
const SECRET_BYTES: usize = 32;
/// Files of a directory that are looked at.
const TOKENS_MAX: usize = 1000;

/// The directory of tokens.
#[derive(Clone, Debug)]
pub struct Tokens {
    directory: PathBuf,
}

/// What is known of a token; never the secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Names it; the second part of its text.
    pub id: String,
    /// Whom it speaks for.
    pub principal: Principal,
    /// When it was made, since the epoch.
    pub made: Duration,
    /// When it ends.
    pub expires: Duration,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Record {
    principal: String,
    /// SHA-256 of the secret, base64.
    digest: String,
    made_s: u64,
    expires_s: u64,
}

/// Why a token cannot be made, read or taken away.
#[derive(Debug, Error)]
pub enum TokenError {
    /// Not a user's.
    #[error("a token is a user's: viewer, operator or admin, not {0}")]
    Role(Role),
    /// The name.
    #[error("the name is refused: {0}")]
    Name(#[from] PrincipalError),
    /// Nobody has it.
    #[error("no token has the id or name {0:?}: see `vmm-manager token list`")]
    Unknown(String),
    /// No more of them.
    #[error("there are {0} tokens: take those away that are not used")]
    TooMany(usize),
    /// The system gives no random bytes.
    #[error("the system gives no random bytes")]
    Random,
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
    #[error("{} holds no token: remove it", path.display())]
    Form {
        /// Which.
        path: PathBuf,
    },
}

fn random<const N: usize>() -> Result<Zeroizing<[u8; N]>, TokenError> {
    let mut bytes = Zeroizing::new([0; N]);
    getrandom::fill(bytes.as_mut_slice()).map_err(|_| TokenError::Random)?;
    Ok(bytes)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

fn is_id(text: &str) -> bool {
    text.len() == 2 * ID_BYTES && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

impl Tokens {
    /// In this directory, which is made when it is needed.
    #[must_use]
    pub fn of(directory: PathBuf) -> Self {
        Self { directory }
    }

    /// Makes a token; its text is told once and kept by nobody here.
    ///
    /// # Errors
    /// It is no user's, or cannot be written.
    pub fn make(
        &self,
        principal: &Principal,
        (now, expires): (Duration, Duration),
    ) -> Result<Zeroizing<String>, TokenError> {
        if !matches!(principal.role, Role::Admin | Role::Operator | Role::Viewer) {
            return Err(TokenError::Role(principal.role));
        }
        principal.check()?;
        let count = self.list()?.len();
        if count >= TOKENS_MAX {
            return Err(TokenError::TooMany(count));
        }
        let (id, secret) = (hex(random::<ID_BYTES>()?.as_slice()), random::<SECRET_BYTES>()?);
        let record = Record {
            principal: principal.to_string(),
            digest: STANDARD.encode(Sha256::digest(secret.as_slice())),
            made_s: now.as_secs(),
            expires_s: expires.as_secs(),
        };
        self.write(&id, &record)?;
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.encode(secret.as_slice()));
        Ok(Zeroizing::new(format!("{PREFIX}_{id}_{}", secret.as_str())))
    }

    /// Whom a text speaks for now. It does not say why for nobody.
    #[must_use]
    pub fn find(&self, text: &str, now: Duration) -> Option<Principal> {
        let (prefix, rest) = text.split_once('_')?;
        let (id, secret) = rest.split_once('_')?;
        if prefix != PREFIX || !is_id(id) {
            return None;
        }
        let secret = Zeroizing::new(URL_SAFE_NO_PAD.decode(secret).ok()?);
        let record =
            self.read(id).inspect_err(|error| tracing::warn!(%error, "a token")).ok()??;
        let digest = STANDARD.decode(&record.digest).ok()?;
        let is_it = bool::from(digest.ct_eq(&Sha256::digest(secret.as_slice())));
        (is_it && now.as_secs() < record.expires_s).then(|| record.principal.parse().ok())?
    }

    /// All of them, those that have ended too, in order of name.
    ///
    /// # Errors
    /// The directory or a file cannot be read.
    pub fn list(&self) -> Result<Vec<Token>, TokenError> {
        let failed = |source| TokenError::File { path: self.directory.clone(), source };
        let entries = match std::fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut tokens = Vec::new();
        for entry in entries {
            let path = entry.map_err(failed)?.path();
            let Some(id) = path.file_stem().and_then(|stem| stem.to_str()).filter(|id| is_id(id))
            else {
                continue;
            };
            let Some(record) = self.read(id)? else { continue };
            let principal =
                record.principal.parse().map_err(|_| TokenError::Form { path: path.clone() })?;
            tokens.push(Token {
                id: id.to_owned(),
                principal,
                made: Duration::from_secs(record.made_s),
                expires: Duration::from_secs(record.expires_s),
            });
        }
        tokens.sort_by(|a, b| (&a.principal, a.made, &a.id).cmp(&(&b.principal, b.made, &b.id)));
        Ok(tokens)
    }

    /// Takes away the token of this id, or all of this name; says which.
    ///
    /// # Errors
    /// There is none, or it cannot be removed.
    pub fn revoke(&self, text: &str) -> Result<Vec<Token>, TokenError> {
        let is_meant = |token: &Token| token.id == text || token.principal.id == text;
        let gone: Vec<Token> = self.list()?.into_iter().filter(is_meant).collect();
        if gone.is_empty() {
            return Err(TokenError::Unknown(text.to_owned()));
        }
        for token in &gone {
            let path = self.path(&token.id);
            std::fs::remove_file(&path).map_err(|source| TokenError::File { path, source })?;
        }
        Ok(gone)
    }

    /// The id is hexadecimal: it names no other place.
    fn path(&self, id: &str) -> PathBuf {
        self.directory.join(format!("{id}.json"))
    }

    fn read(&self, id: &str) -> Result<Option<Record>, TokenError> {
        let path = self.path(id);
        match std::fs::read(&path) {
            Ok(text) => {
                serde_json::from_slice(&text).map(Some).map_err(|_| TokenError::Form { path })
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(TokenError::File { path, source }),
        }
    }

    fn write(&self, id: &str, record: &Record) -> Result<(), TokenError> {
        let path = self.path(id);
        let written = (|| {
            DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
            let mut options = OpenOptions::new();
            let mut file = options.write(true).create_new(true).mode(0o600).open(&path)?;
            file.write_all(&serde_json::to_vec(record)?)?;
            file.sync_all()?;
            File::open(&self.directory)?.sync_all()
        })();
        written.map_err(|source| TokenError::File { path, source })
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.principal)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const NOW: Duration = Duration::from_secs(1_800_000_000);
    const LATER: Duration = Duration::from_secs(1_800_003_600);

    fn made() -> (tempfile::TempDir, Tokens, Zeroizing<String>) {
        let directory = tempfile::tempdir().unwrap();
        let tokens = Tokens::of(directory.path().join("tokens"));
        let text = tokens.make(&Principal::admin("ann"), (NOW, LATER)).unwrap();
        (directory, tokens, text)
    }

    #[test]
    fn a_token_speaks_for_its_owner_until_it_ends_or_is_taken_away() {
        let (_directory, tokens, text) = made();
        assert_eq!(tokens.find(&text, NOW), Some(Principal::admin("ann")));
        assert_eq!(tokens.find(&text, LATER), None);
        let listed = tokens.list().unwrap();
        assert_eq!((listed.len(), listed[0].expires), (1, LATER));
        assert!(matches!(tokens.revoke("bob"), Err(TokenError::Unknown(_))));
        assert_eq!(tokens.revoke("ann").unwrap(), listed);
        assert_eq!(tokens.find(&text, NOW), None);
        assert!(tokens.list().unwrap().is_empty());
    }

    #[test]
    fn nothing_like_a_token_is_one() {
        let (_directory, tokens, text) = made();
        let (rest, secret) = text.rsplit_once('_').unwrap();
        let other = secret.replace(&secret[..1], if secret.starts_with('A') { "B" } else { "A" });
        let texts = [
            String::new(),
            text[1..].to_owned(),
            format!("{} ", text.as_str()),
            format!("{rest}_"),
            format!("{rest}_{other}"),
            format!("{rest}_{secret}A"),
            format!("smps_../../x_{secret}"),
            format!("smps_0011223344556677_{secret}"),
            "smps__".to_owned(),
        ];
        for text in texts {
            assert_eq!(tokens.find(&text, NOW), None, "{text:?}");
        }
    }

    #[test]
    fn a_file_says_nothing_that_can_be_shown_and_is_private() {
        let (directory, _, text) = made();
        let file = std::fs::read_dir(directory.path().join("tokens")).unwrap().next().unwrap();
        let path = file.unwrap().path();
        let content = std::fs::read_to_string(&path).unwrap();
        assert!(!content.contains(text.rsplit_once('_').unwrap().1));
        assert_eq!(std::fs::metadata(path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn only_users_have_tokens() {
        let (_directory, tokens, _) = made();
        for principal in [Principal::agent("h1"), Principal::manager("manager")] {
            let refused = tokens.make(&principal, (NOW, LATER));
            assert!(matches!(refused, Err(TokenError::Role(_))));
        }
        let refused = tokens.make(&Principal::admin("a b"), (NOW, LATER));
        assert!(matches!(refused, Err(TokenError::Name(_))));
    }
}
