//! The columns of a site.

use vmm_proto::v1::Site;

use crate::output::{Column, Unit};

type OfSite = Column<Site>;

/// The name first.
pub(crate) const COLUMNS: &[OfSite] = &[
    OfSite::text("name", |site| site.name.clone()),
    OfSite::count("pools", |site| Some(site.pool_count)),
    OfSite::count("hosts", |site| Some(site.capacity.host_count))
        .shown(|site| format!("{}/{}", site.capacity.host_up_count, site.capacity.host_count))
        .heading("HOSTS UP"),
    OfSite::count("vms", |site| Some(site.capacity.vm_count)),
    OfSite::count("cpus", |site| Some(site.capacity.pcpus)),
    OfSite::number("cpu_reserved", Unit::Milli, |site| Some(site.capacity.cpu_reserved_milli)),
    OfSite::number("cpu_used", Unit::Milli, |site| Some(site.capacity.cpu_used_milli)),
    OfSite::number("memory", Unit::Kib, |site| Some(site.capacity.memory_kib)),
    OfSite::number("memory_reserved", Unit::Kib, |site| Some(site.capacity.memory_reserved_kib))
        .heading("MEM RESERVED"),
    OfSite::text("notes", |site| site.notes.clone()),
    OfSite::number("disk", Unit::BytesPerS, |site| Some(site.capacity.disk_used_bytes_per_s))
        .wide(),
    OfSite::number("disk_reserved", Unit::BytesPerS, |site| {
        Some(site.capacity.disk_reserved_bytes_per_s)
    })
    .wide(),
    OfSite::number("disk_capacity", Unit::BytesPerS, |site| Some(site.capacity.disk_bytes_per_s))
        .wide(),
    OfSite::flag("first", |site| site.first).wide(),
    OfSite::text("id", |site| site.site.clone()).wide(),
];
