//! `vmm-manager init`.

use std::path::Path;

use anyhow::Result;
use vmm_manager::MANAGER_ID;
use vmm_proto::clock::{SystemClock, WallClock as _};
use vmm_proto::credentials::CertificateAuthority;
use vmm_proto::principal::Principal;

use super::file::{Layout, parse_listen};

/// The configuration comes first: where it is already, nothing is touched.
pub(super) fn init(directory: &Path, listen: &str) -> Result<()> {
    parse_listen(listen)?;
    let layout = Layout::of(directory);
    layout.create(listen)?;
    let now = SystemClock.now();
    let authority = CertificateAuthority::create(now)?;
    authority.save(&layout.authority)?;
    authority.issue(&Principal::manager(MANAGER_ID), now)?.save(&layout.credentials)?;
    let directory = directory.display();
    println!(
        "made a pool in {directory}; its authority's key is in {directory}/authority: back it up, show it to nobody"
    );
    println!(
        "next: vmm-manager run --dir {directory}, and vmm-manager invite host NAME --dir {directory}"
    );
    Ok(())
}
