//! Which VM uses which image: taken before a disk is opened, given back when it is closed, by what the image is and not by what
//! it is called.
//!
//! Two VMs may read one image; as soon as one writes, it is that one's alone. The table lives in memory: a restarted agent takes
//! the leases of the VMs that it adopts anew, before anything else can ask.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use vmm_core::id::VmId;

use crate::dom0::Backing;

/// What an image is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ImageId {
    File { device: u64, inode: u64 },
    Device { major: u32, minor: u32 },
}

impl From<&Backing> for ImageId {
    fn from(backing: &Backing) -> Self {
        match backing {
            Backing::File { id, .. } => Self::File { device: id.device, inode: id.inode },
            Backing::Device { number, .. } => {
                Self::Device { major: number.major, minor: number.minor }
            }
        }
    }
}

/// One VM's use of one image.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lease {
    vm: VmId,
    /// The disk's name in the guest.
    device: String,
    read_only: bool,
}

/// All leases of this host.
#[derive(Default)]
pub(crate) struct Leases(Mutex<BTreeMap<ImageId, Vec<Lease>>>);

impl Leases {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<ImageId, Vec<Lease>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes an image for a VM's disk; the VM that has it when it cannot be shared. Taking it twice is taking it once.
    pub(crate) fn take(
        &self,
        image: ImageId,
        vm: VmId,
        device: &str,
        read_only: bool,
    ) -> Result<(), VmId> {
        let mut leases = self.lock();
        let holders = leases.entry(image).or_default();
        holders.retain(|lease| !(lease.vm == vm && lease.device == device));
        match holders.iter().find(|lease| !(lease.read_only && read_only)) {
            Some(other) => Err(other.vm),
            None => {
                holders.push(Lease { vm, device: device.to_owned(), read_only });
                Ok(())
            }
        }
    }

    /// Another VM that has an image in a way that cannot be shared.
    pub(crate) fn holder(&self, image: ImageId, vm: VmId, read_only: bool) -> Option<VmId> {
        let leases = self.lock();
        let other = |lease: &&Lease| lease.vm != vm && !(lease.read_only && read_only);
        leases.get(&image)?.iter().find(other).map(|lease| lease.vm)
    }

    /// Gives back what a VM's disk has.
    pub(crate) fn give_back(&self, vm: VmId, device: &str) {
        self.keep(|lease| !(lease.vm == vm && lease.device == device));
    }

    /// Gives back all that a VM has.
    pub(crate) fn give_back_all(&self, vm: VmId) {
        self.keep(|lease| lease.vm != vm);
    }

    fn keep(&self, keep: impl Fn(&Lease) -> bool) {
        self.lock().retain(|_, holders| {
            holders.retain(&keep);
            !holders.is_empty()
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vm(number: u8) -> VmId {
        VmId::from_bytes([number; 16])
    }

    #[test]
    fn readers_share_and_a_writer_does_not() {
        let (leases, image) = (Leases::default(), ImageId::File { device: 1, inode: 2 });
        assert_eq!(leases.take(image, vm(1), "xvda", true), Ok(()));
        assert_eq!(leases.take(image, vm(2), "xvda", true), Ok(()));
        assert_eq!(leases.take(image, vm(3), "xvda", false), Err(vm(1)));
        leases.give_back_all(vm(1));
        leases.give_back(vm(2), "xvda");
        assert_eq!(leases.take(image, vm(3), "xvda", false), Ok(()));
        assert_eq!(leases.take(image, vm(3), "xvda", false), Ok(()), "again");
        assert_eq!(leases.take(image, vm(3), "xvdb", true), Err(vm(3)), "twice in one VM");
        assert_eq!(leases.take(image, vm(4), "xvda", true), Err(vm(3)));
    }
}
