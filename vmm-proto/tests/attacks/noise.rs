//! Noise IK by hand, as its specification says, so that a client can send points that no library would make.

use aes_gcm::aead::{Aead as _, KeyInit as _, Payload};
use aes_gcm::{Aes256Gcm, Nonce};
use hkdf::Hkdf;
use sha2::{Digest as _, Sha256};
use x25519_dalek::x25519;

/// A key pair, or a point without a private half: with such a one every shared secret is zero.
#[derive(Clone, Copy)]
pub(crate) struct Pair {
    pub(crate) private: Option<[u8; 32]>,
    pub(crate) public: [u8; 32],
}

impl Pair {
    pub(crate) fn of(private: [u8; 32]) -> Pair {
        let base = x25519_dalek::X25519_BASEPOINT_BYTES;
        Pair { private: Some(private), public: x25519(private, base) }
    }

    pub(crate) fn low(public: [u8; 32]) -> Pair {
        Pair { private: None, public }
    }

    fn with(&self, public: &[u8; 32]) -> [u8; 32] {
        self.private.map_or([0; 32], |private| x25519(private, *public))
    }
}

/// The symmetric state of the specification.
struct Symmetric {
    hash: [u8; 32],
    chain: [u8; 32],
    key: [u8; 32],
    nonce: u64,
}

impl Symmetric {
    fn mix_hash(&mut self, data: &[u8]) {
        self.hash = Sha256::new().chain_update(self.hash).chain_update(data).finalize().into();
    }

    fn mix_key(&mut self, secret: &[u8; 32]) {
        let mut out = [0; 64];
        Hkdf::<Sha256>::new(Some(&self.chain), secret).expand(&[], &mut out).unwrap();
        self.chain.copy_from_slice(&out[..32]);
        self.key.copy_from_slice(&out[32..]);
        self.nonce = 0;
    }

    fn nonce(&mut self) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[4..].copy_from_slice(&self.nonce.to_be_bytes());
        self.nonce += 1;
        nonce
    }

    fn encrypt(&mut self, msg: &[u8]) -> Vec<u8> {
        let nonce = Nonce::from(self.nonce());
        let payload = Payload { msg, aad: &self.hash };
        let sealed = Aes256Gcm::new((&self.key).into()).encrypt(&nonce, payload).unwrap();
        self.mix_hash(&sealed);
        sealed
    }

    fn decrypt(&mut self, msg: &[u8]) -> Option<Vec<u8>> {
        let nonce = Nonce::from(self.nonce());
        let payload = Payload { msg, aad: &self.hash };
        let opened = Aes256Gcm::new((&self.key).into()).decrypt(&nonce, payload).ok()?;
        self.mix_hash(msg);
        Some(opened)
    }
}

/// A handshake after its first message.
pub(crate) struct Initiator {
    symmetric: Symmetric,
    ephemeral: Pair,
    identity: Pair,
}

impl Initiator {
    /// e, es, s, ss.
    pub(crate) fn start(
        (ephemeral, identity): (Pair, Pair),
        server: &[u8; 32],
        prologue: &[u8],
        payload: &[u8],
    ) -> (Initiator, Vec<u8>) {
        // The name of the protocol, filled up with zeros.
        let mut hash = [0; 32];
        hash[..28].copy_from_slice(b"Noise_IK_25519_AESGCM_SHA256");
        let mut symmetric = Symmetric { hash, chain: hash, key: [0; 32], nonce: 0 };
        symmetric.mix_hash(prologue);
        symmetric.mix_hash(server);
        let mut message = ephemeral.public.to_vec();
        symmetric.mix_hash(&ephemeral.public);
        symmetric.mix_key(&ephemeral.with(server));
        message.extend(symmetric.encrypt(&identity.public));
        symmetric.mix_key(&identity.with(server));
        message.extend(symmetric.encrypt(payload));
        (Initiator { symmetric, ephemeral, identity }, message)
    }

    /// e, ee, se: the payload, if the message is for us.
    pub(crate) fn finish(mut self, message: &[u8]) -> Option<Vec<u8>> {
        let (ephemeral, sealed) = message.split_first_chunk::<32>()?;
        self.symmetric.mix_hash(ephemeral);
        self.symmetric.mix_key(&self.ephemeral.with(ephemeral));
        self.symmetric.mix_key(&self.identity.with(ephemeral));
        self.symmetric.decrypt(sealed)
    }
}
