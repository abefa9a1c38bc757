//! Which record may follow which. Reader and writer obey the same.

use super::kind;
use super::record::PvWidth;
use crate::control::GuestKind;
use crate::stream::error::Fault;

/// What has been, and so what may come.
#[derive(Clone, Debug)]
pub(super) struct Order {
    guest: GuestKind,
    /// Of a PV guest, once it is known.
    pub(super) width: Option<PvWidth>,
    /// A bit a number.
    seen: u32,
}

const STATIC: [u32; 4] =
    [kind::X86_PV_INFO, kind::X86_CPUID_POLICY, kind::X86_MSR_POLICY, kind::STATIC_DATA_END];
const PV_ONLY: [u32; 7] = [
    kind::X86_PV_INFO,
    kind::X86_PV_P2M_FRAMES,
    kind::X86_PV_VCPU_BASIC,
    kind::X86_PV_VCPU_EXTENDED,
    kind::X86_PV_VCPU_XSAVE,
    kind::X86_PV_VCPU_MSRS,
    kind::SHARED_INFO,
];
const HVM_ONLY: [u32; 2] = [kind::HVM_CONTEXT, kind::HVM_PARAMS];
const REPEATED: [u32; 6] = [
    kind::PAGE_DATA,
    kind::X86_PV_P2M_FRAMES,
    kind::X86_PV_VCPU_BASIC,
    kind::X86_PV_VCPU_EXTENDED,
    kind::X86_PV_VCPU_XSAVE,
    kind::X86_PV_VCPU_MSRS,
];
/// Of Remus and COLO, which go both ways.
const CHECKPOINTED: [u32; 2] = [kind::CHECKPOINT, kind::CHECKPOINT_DIRTY_PFN_LIST];
const PVH_NEEDS: [u32; 3] = [kind::STATIC_DATA_END, kind::HVM_CONTEXT, kind::HVM_PARAMS];
const PV_NEEDS: [u32; 4] =
    [kind::STATIC_DATA_END, kind::X86_PV_P2M_FRAMES, kind::SHARED_INFO, kind::X86_PV_VCPU_BASIC];

impl Order {
    pub(super) fn new(guest: GuestKind) -> Self {
        Self { guest, width: None, seen: 0 }
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has(kind::END)
    }

    fn has(&self, number: u32) -> bool {
        self.seen & bit(number) != 0
    }

    /// A record of this number comes now.
    pub(super) fn admit(&mut self, number: u32) -> Result<(), Fault> {
        self.check_place(number)?;
        if number == kind::STATIC_DATA_END && self.guest == GuestKind::Pv && self.width.is_none() {
            return Err(Fault::Missing("X86_PV_INFO"));
        }
        if number == kind::END {
            self.check_complete()?;
        }
        self.seen |= bit(number);
        Ok(())
    }

    fn check_place(&self, number: u32) -> Result<(), Fault> {
        let static_data = STATIC.contains(&number);
        let static_ended = self.has(kind::STATIC_DATA_END);
        let misplaced = if self.has_ended() {
            "after the end"
        } else if CHECKPOINTED.contains(&number) {
            "in a stream without checkpoints"
        } else if self.guest == GuestKind::Pvh && PV_ONLY.contains(&number) {
            "in a PVH guest's image"
        } else if self.guest == GuestKind::Pv && HVM_ONLY.contains(&number) {
            "in a PV guest's image"
        } else if static_data && static_ended {
            "behind the static data's end"
        } else if !static_data && !static_ended && number != kind::END {
            "before the static data's end"
        } else if self.has(number) && !REPEATED.contains(&number) {
            "there twice"
        } else {
            return Ok(());
        };
        Err(Fault::Misplaced(misplaced))
    }

    /// libxc itself would fail only after it has made the whole guest, or never.
    fn check_complete(&self) -> Result<(), Fault> {
        let needs: &[u32] = match self.guest {
            GuestKind::Pvh => &PVH_NEEDS,
            GuestKind::Pv => &PV_NEEDS,
        };
        match needs.iter().find(|number| !self.has(**number)) {
            Some(number) => Err(Fault::Missing(kind::name(*number).unwrap_or_default())),
            None => Ok(()),
        }
    }
}

/// Numbers without a name are refused before they get here.
fn bit(number: u32) -> u32 {
    1_u32.checked_shl(number).unwrap_or(0)
}
