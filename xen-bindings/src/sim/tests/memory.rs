//! Guests that are copied while they write, page by page the same where they arrive; and what each mistake on the way costs.

use std::io::Seek;
use std::os::fd::AsFd;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Lab, MIB, Order};
use crate::guest_memory::populated;
use crate::sim::{MemoryDifference, MemoryWriter};
use crate::stream::Output;
use crate::stream::image::{DomainHeader, ImageWriter, Page, Pages, Record, ZERO_PAGE};
use crate::{
    DirtyLog, DomId, Gfn, GfnBatch, GfnSet, GuestKind, Leftover, PageType, Pfn, RestoreSpec,
    XenErrorKind,
};

const MEMORY_KIB: u64 = 48 * MIB;

/// What a sender gets wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mistake {
    None,
    /// Zeros are allocated and not sent.
    AllocatesZeros,
    /// The last reading of the log is like all others.
    LastReadingAsAllOthers,
    /// What the balloon brought is in no log.
    LooksNotAgain,
    /// What the balloon took stays there.
    GivesNothingBack,
    /// The last round is left out.
    ForgetsTheLastRound,
}

/// What happens between two rounds.
#[derive(Clone, Debug)]
struct Round {
    run_ms: u64,
    target_kib: Option<u64>,
    writes: Vec<(u64, u8)>,
}

struct Copying<'a> {
    from: &'a Lab,
    domid: DomId,
    writer: ImageWriter<std::fs::File>,
    sent: GfnSet,
    mistake: Mistake,
}

impl<'a> Copying<'a> {
    fn begin(from: &'a Lab, domid: DomId, mistake: Mistake) -> Self {
        let header = DomainHeader { kind: GuestKind::Pvh, xen_major: 4, xen_minor: 17 };
        let file = tempfile::tempfile().unwrap();
        let mut writer = ImageWriter::begin(Output::new(file), header).unwrap();
        let policy = from.xen.guest_state.cpu_policy(domid).unwrap();
        writer.write(&Record::CpuidPolicy(policy.leaves)).unwrap();
        writer.write(&Record::MsrPolicy(policy.msrs)).unwrap();
        writer.write(&Record::StaticDataEnd).unwrap();
        Self { from, domid, writer, sent: GfnSet::default(), mistake }
    }

    fn frames(&self) -> GfnSet {
        let pages = self.from.info(self.domid).unwrap().pages;
        populated(self.from.xen.guest_memory.as_ref(), self.domid, pages, &GfnSet::default())
            .unwrap()
    }

    fn send(&mut self, frames: &GfnSet) {
        self.sent.grow(frames.end());
        for batch in GfnBatch::all(frames.iter()) {
            let mapped = self.from.xen.guest_memory.map(self.domid, &batch).unwrap();
            let mut copies = vec![ZERO_PAGE; batch.len()];
            let mut pages = Pages::new();
            for (index, (gfn, copy)) in batch.gfns().iter().zip(&mut copies).enumerate() {
                if !mapped.copy(index, copy) {
                    continue;
                }
                let first = !self.sent.contains(*gfn);
                assert!(self.sent.insert(*gfn));
                let elided = self.mistake == Mistake::AllocatesZeros && first && *copy == ZERO_PAGE;
                let page = match elided {
                    true => Page::bare(Pfn(gfn.0), PageType::AllocOnly),
                    false => Page::normal(Pfn(gfn.0), copy),
                };
                assert!(pages.push(page.unwrap()));
            }
            if !pages.is_empty() {
                self.writer.write(&Record::Pages(pages)).unwrap();
            }
        }
    }

    /// Once the guest is suspended. The stream, and the frames that were sent and are gone.
    fn end(mut self, log: &mut DirtyLog) -> (std::fs::File, GfnSet) {
        let mut frames = GfnSet::default();
        match self.mistake {
            Mistake::LastReadingAsAllOthers => log.clean(&mut frames).unwrap(),
            _ => log.clean_final(&mut frames).unwrap(),
        };
        if self.mistake != Mistake::ForgetsTheLastRound {
            self.send(&frames);
        }
        let (now, mut gone) = (self.frames(), self.sent.clone());
        gone.subtract(&now);
        let mut come = now;
        come.subtract(&self.sent);
        if self.mistake != Mistake::LooksNotAgain {
            self.send(&come);
        }
        let state = &self.from.xen.guest_state;
        self.writer.write(&Record::Tsc(state.tsc(self.domid).unwrap())).unwrap();
        let context = state.hvm_context(self.domid).unwrap();
        self.writer.write(&Record::HvmContext(&context)).unwrap();
        self.writer.write(&Record::HvmParams(state.hvm_params(self.domid).unwrap())).unwrap();
        self.writer.write(&Record::End).unwrap();
        let mut file = self.writer.into_output().unwrap().into_inner();
        file.rewind().unwrap();
        (file, gone)
    }
}

fn between(lab: &Lab, domid: DomId, round: &Round) {
    if let Some(target_kib) = round.target_kib {
        lab.set(domid, "memory/target", &target_kib.to_string());
    }
    lab.run(round.run_ms);
    for (gfn, byte) in &round.writes {
        let _ = lab.machine.write_guest_page(domid, Gfn(*gfn), &[*byte; 4096]);
    }
}

/// Moves a guest from one machine to another while it writes; where both then differ.
fn moved(
    writers: &[MemoryWriter],
    rounds: &[Round],
    mistake: Mistake,
) -> Vec<(Gfn, MemoryDifference)> {
    let (from, to) = (Lab::new(), Lab::new());
    let order = Order { memory_kib: MEMORY_KIB, ..Order::default() };
    let domid = from.boot(&order);
    from.machine.set_memory_writers(domid, writers);
    let mut log = from.xen.guest_memory.log_dirty(domid, Leftover::Refuse).unwrap();
    let mut copying = Copying::begin(&from, domid, mistake);
    copying.send(&copying.frames());
    for round in rounds {
        between(&from, domid, round);
        let mut frames = GfnSet::default();
        log.clean(&mut frames).unwrap();
        copying.send(&frames);
    }
    from.set(domid, "control/shutdown", "suspend");
    from.run(300);
    let (stream, gone) = copying.end(&mut log);
    log.end().unwrap();
    // Room for what the balloon gave back while it was copied.
    let shell = to.shell(&Order { memory_kib: 2 * MEMORY_KIB, ..order });
    let port = || to.xen.evtchn.alloc_unbound(shell.domid(), DomId::DOM0).unwrap();
    let spec = RestoreSpec { store_port: port(), console_port: port() };
    to.xen.image.restore(&shell, stream.as_fd(), &spec).unwrap();
    if mistake != Mistake::GivesNothingBack {
        for batch in GfnBatch::all(gone.iter()) {
            to.xen.guest_memory.release(shell.domid(), &batch).unwrap();
        }
    }
    let image = |lab: &Lab, domid| lab.machine.guest_memory(domid).unwrap();
    image(&from, domid).differences(&image(&to, shell.domid()))
}

fn a_writer() -> impl Strategy<Value = MemoryWriter> {
    let stretch = (1_u64..3000, 1_u64..40_000);
    let hot = stretch.clone().prop_map(|(pages, rate)| MemoryWriter::hot_set(pages, rate));
    let muncher = stretch.prop_map(|(pages, rate)| MemoryWriter::muncher(pages, rate));
    let cache = (1_u64..8).prop_map(|mib| MemoryWriter::page_cache(4000, mib << 20));
    prop_oneof![Just(MemoryWriter::idle()), hot, muncher, cache]
}

fn a_round() -> impl Strategy<Value = Round> {
    let target = proptest::option::of((34 * MIB..=MEMORY_KIB).prop_map(|kib| kib / 4 * 4));
    let writes = vec((0_u64..20_000, any::<u8>()), 0..20);
    (0_u64..400, target, writes).prop_map(|(run_ms, target_kib, writes)| Round {
        run_ms,
        target_kib,
        writes,
    })
}

/// A balloon that only takes. Of a frame that goes and comes back between two readings nobody is told: not even a sender that looks
/// again at the end can know that what it has sent is old, so that a balloon must be held while a guest is copied.
fn downwards(mut rounds: Vec<Round>) -> Vec<Round> {
    let mut targets: Vec<u64> = rounds.iter().filter_map(|round| round.target_kib).collect();
    targets.sort_unstable();
    for round in rounds.iter_mut().filter(|round| round.target_kib.is_some()) {
        round.target_kib = targets.pop();
    }
    rounds
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whatever_a_guest_writes_and_its_balloon_does_it_arrives_byte_by_byte(
        writers in vec(a_writer(), 0..4),
        rounds in vec(a_round(), 0..4).prop_map(downwards),
    ) {
        prop_assert_eq!(moved(&writers, &rounds, Mistake::None), []);
    }
}

#[test]
fn each_mistake_of_a_sender_shows() {
    let writers = [MemoryWriter::idle(), MemoryWriter::muncher(64, 1000)];
    let round = |target_kib| Round { run_ms: 300, target_kib, writes: Vec::new() };
    let (down, up) = (Some(36 * MIB), Some(MEMORY_KIB));
    let written = Round { writes: vec![(9588, 14)], ..round(None) };
    for (mistake, rounds, shows) in [
        (Mistake::None, vec![round(down), round(up)], None),
        // Nobody held the balloon: a frame that was written to went, and came back empty.
        (Mistake::None, vec![written, round(down), round(up)], Some(MemoryDifference::Contents)),
        (Mistake::AllocatesZeros, vec![round(None)], Some(MemoryDifference::Contents)),
        (Mistake::LastReadingAsAllOthers, vec![round(None)], Some(MemoryDifference::Contents)),
        (Mistake::ForgetsTheLastRound, vec![round(None)], Some(MemoryDifference::Contents)),
        (Mistake::GivesNothingBack, vec![round(down)], Some(MemoryDifference::Extra)),
    ] {
        let differences = moved(&writers, &rounds, mistake);
        let first = differences.first().map(|(_, difference)| *difference);
        assert_eq!(first, shows, "{mistake:?}: {} frames", differences.len());
    }
}

/// The balloon takes before the copy begins and brings while it is under way.
#[test]
fn what_the_balloon_brings_is_in_no_log() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { memory_kib: MEMORY_KIB, ..Order::default() });
    lab.machine.set_memory_writers(domid, &[]);
    lab.set(domid, "memory/target", &(36 * MIB).to_string());
    lab.run(1000);
    let memory = &lab.xen.guest_memory;
    let pages = || lab.info(domid).unwrap().pages;
    let before = populated(memory.as_ref(), domid, pages(), &GfnSet::default()).unwrap();
    let mut log = memory.log_dirty(domid, Leftover::Refuse).unwrap();
    lab.set(domid, "memory/target", &MEMORY_KIB.to_string());
    lab.run(1000);
    let mut come = populated(memory.as_ref(), domid, pages(), &before).unwrap();
    come.subtract(&before);
    assert_eq!(come.len(), 12 * MIB / 4);
    let mut frames = GfnSet::default();
    log.clean(&mut frames).unwrap();
    assert!(frames.is_empty(), "{} frames", frames.len());
}

#[test]
fn a_sender_that_looks_not_again_loses_what_the_balloon_brought() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { memory_kib: MEMORY_KIB, ..Order::default() });
    lab.set(domid, "memory/target", &(36 * MIB).to_string());
    lab.run(1000);
    let mut log = lab.xen.guest_memory.log_dirty(domid, Leftover::Refuse).unwrap();
    for (mistake, lost) in [(Mistake::None, 0), (Mistake::LooksNotAgain, 12 * MIB / 4)] {
        lab.set(domid, "memory/target", &(36 * MIB).to_string());
        lab.run(1000);
        let mut copying = Copying::begin(&lab, domid, mistake);
        copying.send(&copying.frames());
        between(&lab, domid, &Round { run_ms: 1000, target_kib: Some(MEMORY_KIB), writes: vec![] });
        lab.set(domid, "control/shutdown", "suspend");
        lab.run(300);
        let now = copying.frames();
        let (mut stream, _) = copying.end(&mut log);
        let to = Lab::new();
        let shell = to.shell(&Order { memory_kib: MEMORY_KIB, ..Order::default() });
        let port = || to.xen.evtchn.alloc_unbound(shell.domid(), DomId::DOM0).unwrap();
        let spec = RestoreSpec { store_port: port(), console_port: port() };
        stream.rewind().unwrap();
        to.xen.image.restore(&shell, stream.as_fd(), &spec).unwrap();
        assert_eq!(now.len() - to.info(shell.domid()).unwrap().pages.0, lost, "{mistake:?}");
        lab.xen.control.resume(domid).unwrap();
        lab.xen.store.resume(domid).unwrap();
        lab.run(200);
    }
}

#[test]
fn a_cap_slows_a_writer_and_a_pause_stops_it() {
    let lab = Lab::new();
    let domid = lab.boot(&Order { memory_kib: MEMORY_KIB, ..Order::default() });
    lab.machine.set_memory_writers(domid, &[MemoryWriter::hot_set(5000, 1000)]);
    let mut log = lab.xen.guest_memory.log_dirty(domid, Leftover::Refuse).unwrap();
    let mut written = || {
        lab.run(1000);
        let mut frames = GfnSet::default();
        log.clean(&mut frames).unwrap();
        frames.len()
    };
    assert_eq!(written(), 1000);
    let cap = |cap_percent| crate::Credit2 { weight: 256, cap_percent };
    lab.xen.vcpu.set_credit2(domid, cap(25)).unwrap();
    assert_eq!(written(), 250);
    lab.xen.vcpu.set_credit2(domid, cap(0)).unwrap();
    lab.xen.control.pause(domid).unwrap();
    assert_eq!(written(), 0);
    lab.xen.control.unpause(domid).unwrap();
    assert_eq!(written(), 1000);
}

#[test]
fn a_guest_of_more_than_4_gib_has_a_hole_and_is_found_whole() {
    let lab = Lab::new();
    let order = Order { memory_kib: 5 << 20, ..Order::default() };
    let shell = lab.shell(&order);
    let domid = shell.domid();
    lab.xen.memory.set_paging_pool(domid, 8 << 20).unwrap();
    lab.fill(&shell, &order).unwrap();
    let memory = &lab.xen.guest_memory;
    let found =
        populated(memory.as_ref(), domid, lab.info(domid).unwrap().pages, &GfnSet::default())
            .unwrap();
    assert_eq!(found.len(), lab.info(domid).unwrap().pages.0);
    assert_eq!(memory.gfn_end(domid).unwrap(), Gfn(0x10_0000 + (5 << 18) - 0xfc000));
    for (gfn, there) in [(0xfbfff, true), (0xfc000, false), (0xfefff, true), (0x10_0000, true)] {
        assert_eq!(found.contains(Gfn(gfn)), there, "{gfn:#x}");
    }
}

#[test]
fn a_log_counts_and_fails_when_it_is_told_to() {
    use crate::sim::Op;
    let lab = Lab::new();
    let domid = lab.boot(&Order { memory_kib: MEMORY_KIB, ..Order::default() });
    lab.machine.set_memory_writers(domid, &[MemoryWriter::hot_set(10, 100)]);
    let memory = &lab.xen.guest_memory;
    let mut log = memory.log_dirty(domid, Leftover::Refuse).unwrap();
    lab.run(1000);
    assert_eq!(log.counts().unwrap().dirty, 10);
    let mut frames = GfnSet::default();
    lab.machine.faults().fail_next(Op::LogRead, XenErrorKind::Busy);
    assert_eq!(log.clean(&mut frames).unwrap_err().kind(), XenErrorKind::Busy);
    assert_eq!(log.peek(&mut frames).unwrap().dirty, 10);
    lab.machine.faults().fail_next(Op::LogEnd, XenErrorKind::Busy);
    drop(log);
    let second = memory.log_dirty(domid, Leftover::Refuse).map(|_| ());
    assert_eq!(second.unwrap_err().kind(), XenErrorKind::Invalid, "it stayed on");
    memory.log_dirty(domid, Leftover::Replace).unwrap().end().unwrap();
}
