//! Credentials on disk.

use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use super::*;
use crate::principal::Role;

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
    assert_eq!(loaded.not_after(), TODAY + lifetime(Role::Agent));
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

#[test]
fn the_authority_grants_what_a_request_proves_and_nothing_that_it_asks_for() {
    let (authority, keys) = (authority(), NewKeys::generate().unwrap());
    let request = keys.signing_request().unwrap();
    assert!(request.len() < SIGNING_REQUEST_BYTES_MAX);
    let parsed = SigningRequest::parse(&request).unwrap();
    let certificate = authority.sign(&parsed, &Principal::agent("h1"), TODAY).unwrap();
    let other = NewKeys::generate().unwrap();
    let refused = other.with(certificate.clone(), authority.certificate().clone()).unwrap_err();
    assert!(matches!(refused, CredentialsError::InnerKeyMismatch), "{refused}");
    let own = keys.with(certificate, authority.certificate().clone()).unwrap();
    assert_eq!(own.principal(), &Principal::agent("h1"));
    // Each changed byte breaks the signature or the form; but for those around the signature that say nothing.
    let mut harmless = 0;
    for at in 0..request.len() {
        let mut changed = request.clone();
        changed[at] ^= 1;
        match SigningRequest::parse(&changed) {
            Ok(same) => {
                let keys = (&same.public_key, same.inner_key);
                assert_eq!(keys, (&parsed.public_key, parsed.inner_key), "byte {at}");
                harmless += 1;
            }
            Err(error) => assert!(matches!(error, CredentialsError::SigningRequest), "{error}"),
        }
    }
    assert!(harmless < 3, "{harmless}");
    for end in 0..request.len() {
        assert!(SigningRequest::parse(&request[..end]).is_err(), "{end} bytes");
    }
}

#[test]
fn a_replacement_that_was_cut_off_is_finished_or_forgotten() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), authority());
    let path = directory.path();
    let issue = |at| authority.issue(&Principal::agent("h1"), at).unwrap();
    issue(TODAY).save(path).unwrap();
    // Cut off while it was written: the old ones hold.
    issue(TODAY + Duration::from_secs(1)).save(&path.join("next.unfinished")).unwrap();
    std::fs::remove_file(path.join("next.unfinished/key.pem")).unwrap();
    assert_eq!(Credentials::load(path).unwrap().not_after(), TODAY + lifetime(Role::Agent));
    // Cut off while it was moved, after any number of files: the new ones hold.
    for moved in 0..=4 {
        let at = TODAY + Duration::from_secs(10 + u64::try_from(moved).unwrap());
        issue(at).save(&path.join("next")).unwrap();
        for name in ["inner.key", "cert.pem", "key.pem", "ca.pem"].iter().take(moved) {
            std::fs::rename(path.join("next").join(name), path.join(name)).unwrap();
        }
        let loaded = Credentials::load(path).unwrap();
        assert_eq!(loaded.not_after(), at + lifetime(Role::Agent), "{moved} files");
        assert!(!path.join("next").exists());
    }
}

#[test]
fn live_credentials_are_replaced_by_their_principals_own_only() {
    let (directory, authority) = (tempfile::tempdir().unwrap(), authority());
    let path = directory.path();
    let (h1, later) = (Principal::agent("h1"), TODAY + Duration::from_secs(3600));
    authority.issue(&h1, TODAY).unwrap().save(path).unwrap();
    let live = LiveCredentials::load(path).unwrap();
    let old = live.current();
    let foreign = CertificateAuthority::create(TODAY).unwrap();
    for wrong in [
        authority.issue(&Principal::agent("h2"), later).unwrap(),
        authority.issue(&Principal::manager("h1"), later).unwrap(),
        foreign.issue(&h1, later).unwrap(),
    ] {
        assert!(matches!(live.replace(wrong), Err(CredentialsError::Another { .. })));
        assert_eq!(live.current().not_after(), old.not_after());
    }
    live.clone().replace(authority.issue(&h1, later).unwrap()).unwrap();
    assert_eq!(live.current().not_after(), later + lifetime(Role::Agent));
    assert_eq!(Credentials::load(path).unwrap().not_after(), live.current().not_after());
}

#[test]
fn credentials_are_due_when_half_of_their_time_is_over() {
    let identity = authority().issue(&Principal::agent("h1"), TODAY).unwrap().identity().clone();
    let half = lifetime(Role::Agent) / 2;
    assert!(!identity.is_due(TODAY) && !identity.is_due(TODAY + half - Duration::from_secs(300)));
    assert!(identity.is_due(TODAY + half) && identity.is_due(identity.not_after * 2));
}
