//! Project Wycheproof's vectors, made to catch what implementations get wrong, through the cryptography that the product uses:
//! AES-256-GCM of the inner layer and of TLS, HKDF with SHA-256, X25519.

#![allow(clippy::unwrap_used, reason = "a test may")]

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce as LcNonce, UnboundKey};
use hkdf::Hkdf;
use sha2::Sha256;
use wycheproof::aead::{self, Test, TestSet};
use wycheproof::{TestResult, hkdf as hkdf_vectors, xdh};
use x25519_dalek::{PublicKey, StaticSecret, x25519};

/// Vectors with the sizes of the inner layer: keys of 256, IVs of 96, tags of 128 bits.
fn gcm_vectors() -> Vec<Test> {
    let set = TestSet::load(aead::TestName::AesGcm).unwrap();
    let groups = set.test_groups.into_iter();
    let ours = groups.filter(|g| (g.key_size, g.nonce_size, g.tag_size) == (256, 96, 128));
    ours.flat_map(|group| group.tests).collect()
}

/// Ciphertext and tag of a vector, opened.
fn with_aes_gcm(test: &Test) -> Option<Vec<u8>> {
    let key = <[u8; 32]>::try_from(test.key.as_ref()).unwrap();
    let nonce = Nonce::from(<[u8; 12]>::try_from(test.nonce.as_ref()).unwrap());
    let sealed = [test.ct.as_ref(), test.tag.as_ref()].concat();
    Aes256Gcm::new((&key).into()).decrypt(&nonce, Payload { msg: &sealed, aad: &test.aad }).ok()
}

fn with_aws_lc(test: &Test) -> Option<Vec<u8>> {
    let key = LessSafeKey::new(UnboundKey::new(&AES_256_GCM, &test.key).unwrap());
    let nonce = LcNonce::try_assume_unique_for_key(&test.nonce).unwrap();
    let mut sealed = [test.ct.as_ref(), test.tag.as_ref()].concat();
    key.open_in_place(nonce, Aad::from(&test.aad[..]), &mut sealed).ok().map(|text| text.to_vec())
}

#[test]
fn aes_256_gcm_of_both_layers_opens_what_is_right_and_nothing_else() {
    let tests = gcm_vectors();
    let invalid = tests.iter().filter(|test| test.result == TestResult::Invalid).count();
    assert!(tests.len() >= 60 && invalid >= 20, "{} vectors, {invalid} invalid", tests.len());
    for test in &tests {
        let expected = (!test.result.must_fail()).then(|| test.pt.to_vec());
        assert_eq!(with_aes_gcm(test), expected, "aes-gcm, {}: {}", test.tc_id, test.comment);
        assert_eq!(with_aws_lc(test), expected, "aws-lc-rs, {}: {}", test.tc_id, test.comment);
    }
}

#[test]
fn aes_256_gcm_seals_to_the_bytes_of_the_vectors() {
    for test in gcm_vectors().iter().filter(|test| !test.result.must_fail()) {
        let key = <[u8; 32]>::try_from(test.key.as_ref()).unwrap();
        let nonce = Nonce::from(<[u8; 12]>::try_from(test.nonce.as_ref()).unwrap());
        let payload = Payload { msg: &test.pt, aad: &test.aad };
        let sealed = Aes256Gcm::new((&key).into()).encrypt(&nonce, payload).unwrap();
        assert_eq!(sealed, [test.ct.as_ref(), test.tag.as_ref()].concat(), "{}", test.tc_id);
    }
}

#[test]
fn hkdf_with_sha_256_expands_to_the_bytes_of_the_vectors() {
    let set = hkdf_vectors::TestSet::load(hkdf_vectors::TestName::HkdfSha256).unwrap();
    let tests: Vec<_> = set.test_groups.into_iter().flat_map(|group| group.tests).collect();
    let too_large = tests.iter().filter(|test| test.result.must_fail()).count();
    assert!(tests.len() >= 80 && too_large >= 1, "{} vectors", tests.len());
    for test in &tests {
        let (extracted, hkdf) = Hkdf::<Sha256>::extract(Some(&test.salt), &test.ikm);
        // The product begins with a key that is one already.
        let from_key = Hkdf::<Sha256>::from_prk(&extracted).unwrap();
        for hkdf in [hkdf, from_key] {
            let mut out = vec![0; test.size];
            let result = hkdf.expand(&test.info, &mut out);
            assert_eq!(result.is_err(), test.result.must_fail(), "{}", test.tc_id);
            if result.is_ok() {
                assert_eq!(out, test.okm.to_vec(), "{}: {}", test.tc_id, test.comment);
            }
        }
    }
}

/// As the Noise handshake of the crate `snow` does it: the other half of the same exchange.
fn with_snow(private: &[u8; 32], public: &[u8; 32]) -> [u8; 32] {
    use snow::params::DHChoice;
    use snow::resolvers::{CryptoResolver as _, DefaultResolver};
    let mut dh = DefaultResolver.resolve_dh(&DHChoice::Curve25519).unwrap();
    dh.set(private);
    let mut out = [0; 32];
    dh.dh(public, &mut out).unwrap();
    out
}

#[test]
fn x25519_gives_the_secrets_of_the_vectors_and_says_when_there_is_none() {
    let set = xdh::TestSet::load(xdh::TestName::X25519).unwrap();
    let tests: Vec<_> = set.test_groups.into_iter().flat_map(|group| group.tests).collect();
    let mut zero_count = 0;
    for test in &tests {
        let private = <[u8; 32]>::try_from(test.private_key.as_ref()).unwrap();
        let public = <[u8; 32]>::try_from(test.public_key.as_ref()).unwrap();
        let shared = StaticSecret::from(private).diffie_hellman(&PublicKey::from(public));
        let what = format!("{}: {}", test.tc_id, test.comment);
        assert_eq!(shared.as_bytes().as_slice(), test.shared_secret.as_ref(), "{what}");
        assert_eq!(with_snow(&private, &public), *shared.as_bytes(), "snow, {what}");
        let is_zero = test.flags.contains(&xdh::TestFlag::ZeroSharedSecret);
        assert_eq!(shared.was_contributory(), !is_zero, "{what}");
        // What the handshake asks, with any private key: the point decides.
        assert_eq!(x25519([1; 32], public) == [0; 32], is_zero, "{what}");
        zero_count += usize::from(is_zero);
    }
    assert!(tests.len() >= 500 && zero_count >= 10, "{} vectors, {zero_count} zero", tests.len());
}
