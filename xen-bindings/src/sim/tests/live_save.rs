//! Guests that are saved while they write, of either kind, page by page the same where they arrive.

use std::io::Seek;
use std::os::fd::AsFd;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Lab, MIB, Order};
use crate::stream::image::ZERO_PAGE;
use crate::{DomId, GIVEN_UP, Gfn, GuestKind, Next, Precopy, RestoreSpec, SavePilot, XenErrorKind};

const MEMORY_KIB: u64 = 48 * MIB;
const EPIPE: XenErrorKind = XenErrorKind::Other(32);

/// What happens at each question, and whether the guest is suspended at the end.
struct Script<'a> {
    lab: &'a Lab,
    domid: DomId,
    writes: Vec<Vec<(u64, u8)>>,
    suspends: bool,
}

impl SavePilot for Script<'_> {
    fn next(&mut self, _: Precopy) -> Next {
        let Some(writes) = self.writes.pop() else { return Next::Stop };
        for (gfn, byte) in writes {
            let mut page = ZERO_PAGE;
            page[9] = byte;
            self.lab.machine.write_guest_page(self.domid, Gfn(gfn), &page);
        }
        Next::Round
    }

    fn suspend(&mut self) -> bool {
        if self.suspends {
            self.lab.set(self.domid, "control/shutdown", "suspend");
            self.lab.run(500);
        }
        self.suspends
    }
}

fn order(kind: GuestKind) -> Order {
    Order { kind, memory_kib: MEMORY_KIB, ..Order::default() }
}

fn arrives(kind: GuestKind, writes: Vec<Vec<(u64, u8)>>) {
    let (from, to) = (Lab::new(), Lab::new());
    let order = Order { cmdline: "workload=dirty:4:4", ..order(kind) };
    let domid = from.boot(&order);
    let mut file = tempfile::tempfile().unwrap();
    let mut script = Script { lab: &from, domid, writes, suspends: true };
    from.xen.image.save_live(domid, file.as_fd(), &mut script).unwrap();
    file.rewind().unwrap();
    let shell = to.shell(&order);
    let port = || to.xen.evtchn.alloc_unbound(shell.domid(), DomId::DOM0).unwrap();
    let spec = RestoreSpec { store_port: port(), console_port: port() };
    to.xen.image.restore(&shell, file.as_fd(), &spec).unwrap();
    let memory = |lab: &Lab, domid| lab.machine.guest_memory(domid).unwrap();
    assert_eq!(memory(&from, domid).differences(&memory(&to, shell.domid())), []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_written_meanwhile_arrives(
        is_pv in any::<bool>(), writes in vec(vec((0_u64..0x3000, any::<u8>()), 0..40), 0..7),
    ) {
        arrives(if is_pv { GuestKind::Pv } else { GuestKind::Pvh }, writes);
    }
}

#[test]
fn a_save_that_fails_leaves_no_log_and_a_guest_that_runs() {
    let lab = Lab::new();
    let domid = lab.boot(&order(GuestKind::Pvh));
    let script = |writes: usize| {
        let writes = vec![Vec::new(); writes];
        Script { lab: &lab, domid, writes, suspends: false }
    };
    let file = tempfile::tempfile().unwrap();
    for rounds in [0, 1, 4] {
        let saved = lab.xen.image.save_live(domid, file.as_fd(), &mut script(rounds));
        assert_eq!(saved.unwrap_err().kind(), GIVEN_UP);
    }
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let saved = lab.xen.image.save_live(domid, writer.as_fd(), &mut script(4));
    assert_eq!(saved.unwrap_err().kind(), EPIPE);
    let log = lab.xen.guest_memory.log_dirty(domid, crate::Leftover::Refuse).unwrap();
    std::mem::forget(log);
    lab.xen.guest_memory.end_log(domid).unwrap();
    lab.xen.guest_memory.end_log(domid).unwrap();
    lab.xen.guest_memory.log_dirty(domid, crate::Leftover::Refuse).unwrap().end().unwrap();
    lab.run(100);
    assert!(lab.probe(domid).booted);
}
