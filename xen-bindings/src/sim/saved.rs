//! A saved guest, as a stream of the simulator's own.
//!
//! ```text
//!   magic, 8 bytes │ length of the text, 4 │ text: a word and its value a line │ checksum of the text, 8
//! ```
//!
//! It carries what the model has of a guest, and no memory: a stream is a few KiB long. As with libxc, a reader takes just its
//! own bytes and no more, so that a caller may put more behind them.
//!
//! What fails: a stream that ends early, is none, or does not fit the shell is `BadImage`; a descriptor that cannot be read or
//! written answers with its own errno; a host without the memory `OutOfMemory`.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::BorrowedFd;

use super::guest::Guest;
use super::hypervisor::PAGE_KIB;
use super::image::{POOL_PAGES_MIN, ring_gfns};
use super::machine::State;
use crate::control::{GuestKind, ShutdownReason};
use crate::domid::DomId;
use crate::error::XenErrorKind;
use crate::guest_image::BuiltGuest;
use crate::vcpu::Shell;

const MAGIC: &[u8; 8] = b"SIMSAVE1";
/// Longer ones were not written here.
const TEXT_BYTES_MAX: u32 = 1 << 20;

/// What is in a stream.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Saved {
    values: BTreeMap<String, String>,
    /// What the guest has said, in order.
    pub(crate) console: Vec<String>,
}

impl Saved {
    pub(crate) fn with_console(console: Vec<String>) -> Self {
        Self { values: BTreeMap::new(), console }
    }

    pub(crate) fn set(&mut self, word: &str, value: impl ToString) {
        // A line holds one value.
        let value = value.to_string().replace('\n', " ");
        self.values.insert(word.to_owned(), value);
    }

    pub(crate) fn text(&self, word: &str) -> Option<&str> {
        self.values.get(word).map(String::as_str)
    }

    pub(crate) fn number(&self, word: &str) -> Option<u64> {
        self.text(word)?.parse().ok()
    }

    fn encode(&self) -> String {
        let values = self.values.iter().map(|(word, value)| format!("{word} {value}\n"));
        let console = self.console.iter().map(|line| format!("> {}\n", line.replace('\n', " ")));
        values.chain(console).collect()
    }

    fn decode(text: &str) -> Option<Self> {
        let mut saved = Self::default();
        for line in text.lines() {
            match line.split_once(' ')? {
                (">", said) => saved.console.push(said.to_owned()),
                (word, value) => {
                    saved.values.insert(word.to_owned(), value.to_owned());
                }
            }
        }
        Some(saved)
    }

    pub(crate) fn write(&self, stream: BorrowedFd<'_>) -> Result<(), XenErrorKind> {
        let text = self.encode();
        let length = u32::try_from(text.len()).map_err(|_| XenErrorKind::BadImage)?;
        let mut bytes = MAGIC.to_vec();
        bytes.extend(length.to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend(checksum(text.as_bytes()).to_le_bytes());
        let mut file = File::from(stream.try_clone_to_owned().map_err(|error| errno(&error))?);
        file.write_all(&bytes).map_err(|error| errno(&error))
    }

    pub(crate) fn read(stream: BorrowedFd<'_>) -> Result<Self, XenErrorKind> {
        let mut file = File::from(stream.try_clone_to_owned().map_err(|error| errno(&error))?);
        let magic: [u8; 8] = exactly(&mut file)?;
        let length = u32::from_le_bytes(exactly(&mut file)?);
        if &magic != MAGIC || length > TEXT_BYTES_MAX {
            return Err(XenErrorKind::BadImage);
        }
        let mut text = vec![0; length as usize];
        file.read_exact(&mut text).map_err(|error| errno(&error))?;
        let sum = u64::from_le_bytes(exactly(&mut file)?);
        let text = std::str::from_utf8(&text).ok().filter(|text| sum == checksum(text.as_bytes()));
        text.and_then(Self::decode).ok_or(XenErrorKind::BadImage)
    }
}

fn exactly<const BYTES: usize>(file: &mut File) -> Result<[u8; BYTES], XenErrorKind> {
    let mut bytes = [0; BYTES];
    file.read_exact(&mut bytes).map_err(|error| errno(&error))?;
    Ok(bytes)
}

fn errno(error: &io::Error) -> XenErrorKind {
    match (error.kind(), error.raw_os_error()) {
        (ErrorKind::UnexpectedEof, _) => XenErrorKind::BadImage,
        (_, code) => XenErrorKind::Other(code.unwrap_or(5)),
    }
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

impl State {
    pub(crate) fn save_guest(&mut self, id: DomId) -> Result<Saved, XenErrorKind> {
        self.settle_guest(id.get());
        let now = self.now;
        let domain = self.hypervisor.get(id)?;
        let suspended = domain.shutdown == Some(ShutdownReason::Suspend) && !domain.dying;
        let guest =
            self.guests.get(&id.get()).filter(|_| suspended).ok_or(XenErrorKind::Invalid)?;
        let mut saved = guest.save(now);
        saved.set("kind", kind_word(domain.kind));
        saved.set("vcpus", domain.vcpus.len());
        for (index, vcpu) in domain.vcpus.iter().enumerate() {
            saved.set(&format!("vcpu-{index}"), u8::from(vcpu.online));
        }
        saved.set("pages", domain.pages);
        saved.set("special-pages", domain.special_pages);
        saved.set("busy-vcpus", domain.busy_vcpus);
        saved.set("pod", u8::from(domain.pod));
        Ok(saved)
    }

    pub(crate) fn restore_guest(
        &mut self,
        shell: &Shell,
        saved: &Saved,
    ) -> Result<BuiltGuest, XenErrorKind> {
        let (id, bad) = (shell.domid(), XenErrorKind::BadImage);
        let number = |word| saved.number(word).ok_or(bad);
        let (pages, special) = (number("pages")?, number("special-pages")?);
        let (vcpus, busy) = (number("vcpus")?, number("busy-vcpus")?);
        let guest = Guest::restored(saved, self.now).ok_or(bad)?;
        let domain = self.hypervisor.get(id)?;
        if domain.built || domain.dying || domain.has_run || domain.vcpus.is_empty() {
            return Err(XenErrorKind::Invalid);
        }
        if saved.text("kind") != Some(kind_word(domain.kind))
            || pages > domain.memory_max_kib / PAGE_KIB
        {
            return Err(bad);
        }
        if domain.kind == GuestKind::Pvh && domain.pool_pages < POOL_PAGES_MIN {
            return Err(XenErrorKind::OutOfMemory);
        }
        if self.hypervisor.resize(id, pages)? < pages {
            return Err(XenErrorKind::OutOfMemory);
        }
        let domain = self.hypervisor.get_mut(id)?;
        // Noticed after all pages, as by Xen.
        if usize::try_from(vcpus).map_or(true, |vcpus| vcpus > domain.vcpus.len()) {
            return Err(bad);
        }
        for (index, vcpu) in domain.vcpus.iter_mut().enumerate() {
            vcpu.online = saved.number(&format!("vcpu-{index}")) == Some(1);
        }
        domain.special_pages = special;
        domain.busy_vcpus = u32::try_from(busy).map_err(|_| bad)?;
        domain.pod = saved.number("pod") == Some(1);
        domain.built = true;
        let (store_gfn, console_gfn) = ring_gfns(guest.ring_gfn);
        self.guests.insert(id.get(), guest);
        Ok(BuiltGuest { store_gfn, console_gfn })
    }
}

fn kind_word(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Pvh => "pvh",
        GuestKind::Pv => "pv",
    }
}
