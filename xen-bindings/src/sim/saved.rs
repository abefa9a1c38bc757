//! What a saved guest is to the machine: memory, and a text that stands where Xen's own context of its virtual machine would.
//!
//! ```text
//!   magic, 8 bytes │ length of the text, 4 │ text: a word and its value a line │ checksum of the text, 8
//! ```
//!
//! The text carries what the model has of a guest besides its memory. Around it is libxc's own format ([`super::saved_stream`]), so
//! that one sender and one receiver serve the simulator and Xen.

use std::collections::BTreeMap;
use std::ops::Range;

use super::guest::Guest;
use super::hypervisor::PAGE_KIB;
use super::image::{POOL_PAGES_MIN, RINGS};
use super::machine::State;
use super::memory::MemoryImage;
use crate::control::{GuestKind, ShutdownReason};
use crate::cpu_policy::{CpuPolicy, CpuidLeaf, MsrEntry};
use crate::domid::DomId;
use crate::error::XenErrorKind;
use crate::guest_image::BuiltGuest;
use crate::stream::image::{HvmParam, Page, Pages, TscInfo};
use crate::vcpu::Shell;

const MAGIC: &[u8; 8] = b"SIMSAVE2";
/// Longer ones were not written here.
const TEXT_BYTES_MAX: usize = 1 << 20;
/// `MSR_ARCH_CAPABILITIES`' neighbour that Xen promises of every processor: `MSR_INTEL_PLATFORM_INFO`.
const PLATFORM_INFO: u32 = 0xce;
const TSC_KHZ: u32 = 2_400_000;

/// A guest's text.
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

    pub(crate) fn encode(&self) -> Vec<u8> {
        let values = self.values.iter().map(|(word, value)| format!("{word} {value}\n"));
        let console = self.console.iter().map(|line| format!("> {}\n", line.replace('\n', " ")));
        let text: String = values.chain(console).collect();
        let mut bytes = MAGIC.to_vec();
        bytes.extend(u32::try_from(text.len()).unwrap_or(u32::MAX).to_le_bytes());
        bytes.extend(text.as_bytes());
        bytes.extend(checksum(text.as_bytes()).to_le_bytes());
        bytes
    }

    /// `None` for bytes that are not all of a text of ours and no more.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let (length, rest) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
        let (text, sum) = rest.split_last_chunk()?;
        let whole = u32::try_from(text.len()) == Ok(u32::from_le_bytes(*length));
        if !whole || text.len() > TEXT_BYTES_MAX || u64::from_le_bytes(*sum) != checksum(text) {
            return None;
        }
        let mut saved = Self::default();
        for line in std::str::from_utf8(text).ok()?.lines() {
            match line.split_once(' ')? {
                (">", said) => saved.console.push(said.to_owned()),
                (word, value) => {
                    saved.values.insert(word.to_owned(), value.to_owned());
                }
            }
        }
        Some(saved)
    }
}

/// FNV-1a.
fn checksum(bytes: &[u8]) -> u64 {
    let step = |sum: u64, byte: &u8| (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}

/// What the stream that a text goes into has for a page of zeros.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Zeros {
    /// The page: as libxc, and as everybody else must.
    Sent,
    /// A frame to allocate: the machine's own save, so that a test's streams stay short.
    Allocated,
}

/// Everything that goes into a stream.
pub(crate) struct Snapshot {
    pub(crate) kind: GuestKind,
    pub(crate) memory: MemoryImage,
    pub(crate) policy: CpuPolicy,
    pub(crate) tsc: TscInfo,
    pub(crate) context: Vec<u8>,
}

impl State {
    /// All of a suspended guest.
    pub(crate) fn snapshot(&mut self, id: DomId) -> Result<Snapshot, XenErrorKind> {
        self.settle_guest(id.get());
        let domain = self.hypervisor.get(id)?;
        if domain.shutdown != Some(ShutdownReason::Suspend) || domain.dying {
            return Err(XenErrorKind::Invalid);
        }
        Ok(Snapshot {
            kind: domain.kind,
            policy: self.cpu_policy(id)?,
            tsc: self.tsc(id)?,
            context: self.context(id, Zeros::Allocated)?,
            memory: self.hypervisor.get_mut(id)?.ram.image(),
        })
    }

    /// What a domain was promised, or would be.
    pub(crate) fn cpu_policy(&self, id: DomId) -> Result<CpuPolicy, XenErrorKind> {
        let promised = self.hypervisor.get(id)?.cpu_policy.clone();
        Ok(promised.unwrap_or_else(|| self.host_policy()))
    }

    pub(crate) fn host_policy(&self) -> CpuPolicy {
        let basic = CpuidLeaf { leaf: 0, subleaf: !0, eax: 1, ..CpuidLeaf::default() };
        let features = CpuidLeaf { leaf: 1, subleaf: !0, ecx: self.config.cpu_features, ..basic };
        let msr = MsrEntry { index: PLATFORM_INFO, value: 1 << 31 };
        CpuPolicy { leaves: vec![basic, features], msrs: vec![msr] }
    }

    /// What a guest was promised, as far as this processor can keep it. Of the rest Xen 4.17 says nothing: it compares how many leaves there are, and not
    /// what is in them.
    pub(crate) fn promise(&mut self, id: DomId, mut policy: CpuPolicy) -> Result<(), XenErrorKind> {
        if policy.leaves.is_empty() || policy.msrs.is_empty() {
            return Err(XenErrorKind::BadImage);
        }
        for leaf in policy.leaves.iter_mut().filter(|leaf| leaf.leaf == 1) {
            leaf.ecx &= self.config.cpu_features;
        }
        self.hypervisor.get_mut(id)?.cpu_policy = Some(policy);
        Ok(())
    }

    pub(crate) fn tsc(&self, id: DomId) -> Result<TscInfo, XenErrorKind> {
        let domain = self.hypervisor.get(id)?;
        let nsec = domain.vcpus.first().map_or(0, |vcpu| vcpu.cpu_time_ns);
        Ok(TscInfo { mode: 0, khz: TSC_KHZ, nsec, incarnation: domain.tsc.incarnation })
    }

    /// A guest's text, whatever it does now.
    pub(crate) fn context(&mut self, id: DomId, zeros: Zeros) -> Result<Vec<u8>, XenErrorKind> {
        let now = self.now;
        let domain = self.hypervisor.get_mut(id)?;
        if domain.vcpus.is_empty() {
            return Err(XenErrorKind::Invalid);
        }
        let mut saved = self.guests.get(&id.get()).map_or_else(Saved::default, |g| g.save(now));
        saved.set("kind", kind_word(domain.kind));
        saved.set("vcpus", domain.vcpus.len());
        for (index, vcpu) in domain.vcpus.iter().enumerate() {
            saved.set(&format!("vcpu-{index}"), u8::from(vcpu.online));
        }
        saved.set("special-pages", domain.special_pages);
        saved.set("busy-vcpus", domain.busy_vcpus);
        saved.set("pod", u8::from(domain.pod));
        saved.set("zeros-allocated", u8::from(zeros == Zeros::Allocated));
        let (ran_ns, writers) = domain.ram.encode();
        saved.set("ran-ns", ran_ns);
        for (index, writer) in writers.iter().enumerate() {
            saved.set(&format!("writer-{index}"), writer);
        }
        Ok(saved.encode())
    }

    pub(crate) fn hvm_params(&self, id: DomId) -> Result<Vec<HvmParam>, XenErrorKind> {
        let built = self.hypervisor.get(id)?.built;
        let param = |index, value| HvmParam { index, value };
        let rings = [
            param(HvmParam::STORE_PFN, RINGS.store_gfn.0),
            param(HvmParam::CONSOLE_PFN, RINGS.console_gfn.0),
        ];
        Ok(if built { rings.to_vec() } else { Vec::new() })
    }

    /// A shell that a guest may be restored into.
    pub(crate) fn check_target(&self, shell: &Shell, kind: GuestKind) -> Result<(), XenErrorKind> {
        let domain = self.hypervisor.get(shell.domid())?;
        if domain.built || domain.dying || domain.has_run || domain.vcpus.is_empty() {
            return Err(XenErrorKind::Invalid);
        }
        if domain.kind != kind {
            return Err(XenErrorKind::BadImage);
        }
        if kind == GuestKind::Pvh && domain.pool_pages < POOL_PAGES_MIN {
            return Err(XenErrorKind::OutOfMemory);
        }
        Ok(())
    }

    /// Memory out of a stream: populated where it is mentioned first, overwritten later.
    pub(crate) fn fill_memory(&mut self, id: DomId, pages: &Pages<'_>) -> Result<(), XenErrorKind> {
        let ram = &self.hypervisor.get(id)?.ram;
        let mentioned = pages.iter().filter(|page| page.kind().is_populated());
        let missing = mentioned.map(|page| page.pfn().0).filter(|gfn| !ram.has(*gfn));
        for run in runs(missing.collect()) {
            self.hypervisor.populate(id, run).map_err(|kind| self.whose_fault(id, kind))?;
        }
        pages.iter().try_for_each(|page| self.load_page(id, page))
    }

    fn load_page(&mut self, id: DomId, page: &Page<'_>) -> Result<(), XenErrorKind> {
        if let Some(bytes) = page.bytes() {
            self.hypervisor.get_mut(id)?.ram.load(page.pfn().0, bytes);
        }
        Ok(())
    }

    /// Populating fails alike for a full host and for a full shell.
    fn whose_fault(&self, id: DomId, kind: XenErrorKind) -> XenErrorKind {
        let full = self
            .hypervisor
            .get(id)
            .is_ok_and(|domain| domain.pages >= domain.memory_max_kib / PAGE_KIB);
        match kind {
            XenErrorKind::Busy if full => XenErrorKind::BadImage,
            XenErrorKind::Busy => XenErrorKind::OutOfMemory,
            other => other,
        }
    }

    /// The guest goes on from its text, once all its memory is there.
    pub(crate) fn revive(
        &mut self,
        id: DomId,
        context: &[u8],
        tsc: TscInfo,
    ) -> Result<BuiltGuest, XenErrorKind> {
        let bad = XenErrorKind::BadImage;
        let saved = Saved::decode(context).ok_or(bad)?;
        let number = |word| saved.number(word).ok_or(bad);
        let (vcpus, busy) = (number("vcpus")?, number("busy-vcpus")?);
        let guest = Guest::restored(&saved, self.now).ok_or(bad)?;
        let domain = self.hypervisor.get_mut(id)?;
        // Noticed after all pages, as by Xen.
        if usize::try_from(vcpus).map_or(true, |vcpus| vcpus > domain.vcpus.len()) {
            return Err(bad);
        }
        for (index, vcpu) in domain.vcpus.iter_mut().enumerate() {
            vcpu.online = saved.number(&format!("vcpu-{index}")) == Some(1);
        }
        domain.special_pages = number("special-pages")?;
        domain.busy_vcpus = u32::try_from(busy).map_err(|_| bad)?;
        domain.pod = saved.number("pod") == Some(1);
        domain.tsc = TscInfo { incarnation: tsc.incarnation.wrapping_add(1), ..tsc };
        if saved.number("zeros-allocated") == Some(1) {
            domain.ram.zero_allocated();
        }
        domain.ram.clear_rings();
        domain.ram.resume(number("ran-ns")?, &writers(&saved)).ok_or(bad)?;
        domain.built = true;
        self.guests.insert(id.get(), guest);
        Ok(RINGS)
    }
}

/// Frames in any order, some perhaps twice, as ranges.
fn runs(mut gfns: Vec<u64>) -> Vec<Range<u64>> {
    gfns.sort_unstable();
    let mut runs: Vec<Range<u64>> = Vec::new();
    for gfn in gfns {
        match runs.last_mut() {
            Some(run) if gfn < run.end => {}
            Some(run) if gfn == run.end => run.end += 1,
            _ => runs.push(gfn..gfn + 1),
        }
    }
    runs
}

fn writers(saved: &Saved) -> Vec<&str> {
    (0..).map_while(|index| saved.text(&format!("writer-{index}"))).collect()
}

fn kind_word(kind: GuestKind) -> &'static str {
    match kind {
        GuestKind::Pvh => "pvh",
        GuestKind::Pv => "pv",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_populated_once_and_in_ranges() {
        let check = |gfns: &[u64], expect: &[(u64, u64)]| {
            let found: Vec<(u64, u64)> =
                runs(gfns.to_vec()).into_iter().map(|run| (run.start, run.end)).collect();
            assert_eq!(found, expect, "{gfns:?}");
        };
        check(&[], &[]);
        check(&[3, 1, 2, 2], &[(1, 4)]);
        check(&[9, 7, 8, 5], &[(5, 6), (7, 10)]);
    }
}
