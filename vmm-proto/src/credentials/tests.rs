//! Credentials on disk.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;

const TODAY: Duration = Duration::from_secs(1_790_000_000);

fn authority() -> CertificateAuthority {
    CertificateAuthority::create(TODAY).unwrap()
}

#[test]
fn what_was_saved_is_loaded_and_only_its_owner_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("new");
    let authority = authority();
    authority.save(&path).unwrap();
    let issued = authority.issue(&Principal::agent("h1"), TODAY).unwrap();
    issued.save(&path).unwrap();
    let loaded = Credentials::load(&path).unwrap();
    assert_eq!(loaded.principal(), &Principal::agent("h1"));
    assert_eq!(*loaded.inner_key, *issued.inner_key);
    assert_eq!(loaded.key, issued.key);
    assert_eq!(loaded.not_after(), TODAY + Duration::from_secs(30 * 86_400));
    for file in ["ca.pem", "ca-key.pem", "cert.pem", "key.pem", "inner.key"] {
        let mode = std::fs::metadata(path.join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    assert_eq!(std::fs::read_dir(&path).unwrap().count(), 5);
}

#[test]
fn a_loaded_authority_issues_what_the_old_one_would() {
    let directory = tempfile::tempdir().unwrap();
    let first = authority();
    first.save(directory.path()).unwrap();
    let second = CertificateAuthority::load(directory.path()).unwrap();
    let issued = second.issue(&Principal::admin("ann"), TODAY).unwrap();
    assert_eq!(issued.ca, first.issue(&Principal::admin("ann"), TODAY).unwrap().ca);
}

#[test]
fn every_issue_has_new_keys() {
    let authority = authority();
    let issue = || authority.issue(&Principal::admin("ann"), TODAY).unwrap();
    let (first, second) = (issue(), issue());
    assert_ne!(*first.inner_key, *second.inner_key);
    assert_ne!(first.key, second.key);
}

#[test]
fn files_that_are_missing_or_do_not_fit_are_named() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let error = Credentials::load(path).unwrap_err().to_string();
    assert!(error.contains("ca.pem is missing"), "{error}");

    let authority = authority();
    authority.issue(&Principal::agent("h1"), TODAY).unwrap().save(path).unwrap();
    let inner_key = std::fs::read(path.join("inner.key")).unwrap();
    let key = std::fs::read(path.join("key.pem")).unwrap();
    authority.issue(&Principal::agent("h1"), TODAY).unwrap().save(path).unwrap();
    std::fs::write(path.join("inner.key"), inner_key).unwrap();
    assert!(matches!(Credentials::load(path), Err(CredentialsError::InnerKeyMismatch)));

    authority.issue(&Principal::agent("h1"), TODAY).unwrap().save(path).unwrap();
    std::fs::write(path.join("key.pem"), key).unwrap();
    assert!(matches!(Credentials::load(path), Err(CredentialsError::TlsKeyMismatch { .. })));

    std::fs::write(path.join("inner.key"), "short").unwrap();
    assert!(matches!(Credentials::load(path), Err(CredentialsError::Format { .. })));
    std::fs::copy(path.join("ca.pem"), path.join("cert.pem")).unwrap();
    assert!(Credentials::load(path).is_err());
}

#[test]
fn a_principal_that_may_not_stand_in_a_certificate_gets_none() {
    let error = authority().issue(&Principal::agent("a/b"), TODAY).unwrap_err();
    assert!(matches!(error, CredentialsError::Principal(_)));
}

#[test]
fn nothing_secret_is_printed() {
    let issued = authority().issue(&Principal::agent("h1"), TODAY).unwrap();
    let text = format!("{issued:?}");
    assert!(text.contains("h1"));
    assert!(!text.contains(&format!("{:?}", *issued.inner_key)));
    assert!(!text.contains(&format!("{:?}", *issued.key)));
}
