//! A worker that does as its script says.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::BorrowedFd;

use xen_bindings::{
    BuildSpec, BuiltGuest, DomId, Gfn, GuestImage, RestoreSpec, SavePilot, Shell, XenError,
    XenErrorKind,
};

use crate::saved::format::RECORD_BYTES;

/// Writes and takes as a worker would that does as its field says.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Image {
    Sound,
    /// Fails half-way.
    Fails,
    /// Writes until nobody listens; reads nothing.
    Endless,
}

impl GuestImage for Image {
    fn build(&self, _: &Shell, _: &BuildSpec) -> Result<BuiltGuest, XenError> {
        unreachable!("nothing is built here")
    }

    fn save(&self, _: DomId, stream: BorrowedFd<'_>) -> Result<(), XenError> {
        let failed = || XenError::new("domain_save", XenErrorKind::Other(32));
        let mut to = fs::File::from(stream.try_clone_to_owned().unwrap());
        loop {
            to.write_all(&super::stream(2 * RECORD_BYTES)).map_err(|_| failed())?;
            match self {
                Self::Sound => return Ok(()),
                Self::Fails => return Err(failed()),
                Self::Endless => {}
            }
        }
    }

    fn save_live(
        &self,
        _: DomId,
        _: BorrowedFd<'_>,
        _: &mut dyn SavePilot,
    ) -> Result<(), XenError> {
        unreachable!("nothing moves here")
    }

    fn restore(
        &self,
        _: &Shell,
        from: BorrowedFd<'_>,
        _: &RestoreSpec,
    ) -> Result<BuiltGuest, XenError> {
        let mut from = fs::File::from(from.try_clone_to_owned().unwrap());
        let mut read = vec![0; 1000];
        match self {
            Self::Sound => drop(from.read_to_end(&mut read).unwrap()),
            Self::Fails => return Err(XenError::new("domain_restore", XenErrorKind::BadImage)),
            Self::Endless => from.read_exact(&mut read).unwrap(),
        }
        Ok(BuiltGuest { store_gfn: Gfn(1), console_gfn: Gfn(2) })
    }
}
