//! The file's layout.
//!
//! ```text
//!   magic 8 │ version 4 │ salt 32 │ key id 16 │ header length 4 │ header (JSON) │ seal 16     piece 0: all before it, authenticated
//!   length and flags 4 │ sealed bytes │ seal 16                                            pieces 1, 2, …: of 1 MiB each, the last of less
//! ```
//!
//! Numbers are little-endian. AES-256-GCM; the nonce is the piece's number, the key is the file's own. What a piece holds is packed
//! ([`super::pack`]) where that saves anything, before it is sealed. Version 1 is the same without packing.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};
use vmm_core::id::VmId;
use vmm_core::vm::VmSpec;
use vmm_proto::v1;
use xen_bindings::XenVersion;

use super::key::{KEY_ID_BYTES, SALT_BYTES};

pub(super) const MAGIC: [u8; 8] = *b"SMPSVMSV";
pub(super) const VERSION: u32 = 2;
const VERSIONS: RangeInclusive<u32> = 1..=VERSION;
/// Everything before the header.
pub(super) const PREAMBLE_BYTES: usize = 8 + 4 + SALT_BYTES + KEY_ID_BYTES + 4;
pub(super) const HEADER_BYTES_MAX: usize = 1 << 20;
/// Bytes of the stream in each record but the last.
pub(super) const RECORD_BYTES: usize = 1 << 20;
const LAST: u32 = 1 << 31;
const PACKED: u32 = 1 << 30;

/// What stands before the header.
pub(super) struct Preamble {
    pub(super) salt: [u8; SALT_BYTES],
    pub(super) key_id: [u8; KEY_ID_BYTES],
    pub(super) header_bytes: u32,
}

/// Why a preamble is none of ours.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Foreign {
    Magic,
    Version(u32),
}

impl Preamble {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = MAGIC.to_vec();
        out.extend_from_slice(&VERSION.to_le_bytes());
        out.extend_from_slice(&self.salt);
        out.extend_from_slice(&self.key_id);
        out.extend_from_slice(&self.header_bytes.to_le_bytes());
        out
    }

    pub(super) fn decode(bytes: &[u8; PREAMBLE_BYTES]) -> Result<Self, Foreign> {
        let (magic, rest) = bytes.split_first_chunk().ok_or(Foreign::Magic)?;
        let (version, rest) = rest.split_first_chunk().ok_or(Foreign::Magic)?;
        if *magic != MAGIC {
            return Err(Foreign::Magic);
        }
        match u32::from_le_bytes(*version) {
            version if VERSIONS.contains(&version) => {}
            version => return Err(Foreign::Version(version)),
        }
        let (salt, rest) = rest.split_first_chunk().ok_or(Foreign::Magic)?;
        let (key_id, rest) = rest.split_first_chunk().ok_or(Foreign::Magic)?;
        let header_bytes = rest.first_chunk().ok_or(Foreign::Magic)?;
        let header_bytes = u32::from_le_bytes(*header_bytes);
        Ok(Self { salt: *salt, key_id: *key_id, header_bytes })
    }
}

/// A record's length word: how many bytes stand in the file, how they stand there, and whether more come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Length {
    pub(super) bytes: usize,
    pub(super) packed: bool,
    pub(super) last: bool,
}

impl Length {
    pub(super) fn encode(self) -> [u8; 4] {
        let bytes = u32::try_from(self.bytes).expect("a record has at most 1 MiB");
        let flags = [(self.packed, PACKED), (self.last, LAST)];
        let flag = |(set, flag)| if set { flag } else { 0 };
        (bytes | flags.map(flag).iter().sum::<u32>()).to_le_bytes()
    }

    /// `None` for what no writer writes.
    pub(super) fn decode(word: [u8; 4]) -> Option<Self> {
        let word = u32::from_le_bytes(word);
        let bytes = usize::try_from(word & !(LAST | PACKED)).ok()?;
        let (packed, last) = (word & PACKED != 0, word & LAST != 0);
        let fits = if packed || last { bytes <= RECORD_BYTES } else { bytes == RECORD_BYTES };
        fits.then_some(Self { bytes, packed, last })
    }
}

/// Who and what is saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) vm: VmId,
    /// As the VM was defined when it was saved: kind, vCPUs, memory, devices.
    pub(crate) spec: VmSpec,
    /// Memory that it had when it was saved.
    pub(crate) memory_kib: u64,
    /// vCPUs that it had online.
    pub(crate) vcpus_online: u32,
    /// Which Xen wrote the stream: the same minor or a newer one reads it.
    pub(crate) xen: (u32, u32, String),
    /// When, in seconds since 1970.
    pub(crate) saved_at_s: u64,
}

impl Header {
    pub(super) fn xen_of(version: &XenVersion) -> (u32, u32, String) {
        (version.major, version.minor, version.extra.clone())
    }
}

/// As it stands in the file. The specification has the form that it has on the wire.
#[derive(Serialize, Deserialize)]
struct Stored {
    vm: String,
    spec: v1::Spec,
    memory_kib: u64,
    vcpus_online: u32,
    xen_major: u32,
    xen_minor: u32,
    xen_extra: String,
    saved_at_s: u64,
}

impl Header {
    pub(super) fn encode(&self) -> Result<Vec<u8>, String> {
        let (xen_major, xen_minor, xen_extra) = self.xen.clone();
        let stored = Stored {
            vm: self.vm.to_string(),
            spec: v1::Spec::from(&self.spec),
            memory_kib: self.memory_kib,
            vcpus_online: self.vcpus_online,
            xen_major,
            xen_minor,
            xen_extra,
            saved_at_s: self.saved_at_s,
        };
        serde_json::to_vec(&stored).map_err(|error| error.to_string())
    }

    pub(super) fn decode(text: &[u8]) -> Result<Self, String> {
        let stored: Stored = serde_json::from_slice(text).map_err(|error| error.to_string())?;
        Ok(Self {
            vm: stored.vm.parse().map_err(|_| format!("VM {:?}", stored.vm))?,
            spec: VmSpec::try_from(stored.spec).map_err(|error| error.to_string())?,
            memory_kib: stored.memory_kib,
            vcpus_online: stored.vcpus_online,
            xen: (stored.xen_major, stored.xen_minor, stored.xen_extra),
            saved_at_s: stored.saved_at_s,
        })
    }
}
