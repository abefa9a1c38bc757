//! The columns of a pool.

use vmm_proto::v1::{Pool, Rebalance};

use crate::output::{Column, Unit};

type OfPool = Column<Pool>;

/// The name first.
pub(crate) const COLUMNS: &[OfPool] = &[
    OfPool::text("name", |pool| pool.name.clone()),
    OfPool::text("site", |pool| pool.site.clone()),
    OfPool::count("hosts", |pool| Some(pool.capacity.host_count))
        .shown(|pool| format!("{}/{}", pool.capacity.host_up_count, pool.capacity.host_count))
        .heading("HOSTS UP"),
    OfPool::count("vms", |pool| Some(pool.capacity.vm_count)),
    OfPool::count("cpus", |pool| Some(pool.capacity.pcpus)),
    OfPool::number("cpu_reserved", Unit::Milli, |pool| Some(pool.capacity.cpu_reserved_milli)),
    OfPool::number("cpu_used", Unit::Milli, |pool| Some(pool.capacity.cpu_used_milli)),
    OfPool::number("memory", Unit::Kib, |pool| Some(pool.capacity.memory_kib)),
    OfPool::number("memory_reserved", Unit::Kib, |pool| Some(pool.capacity.memory_reserved_kib))
        .heading("MEM RESERVED"),
    OfPool::count("advised_moves", |pool| pool.advised_moves),
    OfPool::text("rebalance", |pool| rebalance(pool.rebalance).to_owned()),
    OfPool::text("notes", |pool| pool.notes.clone()),
    OfPool::number("disk", Unit::BytesPerS, |pool| Some(pool.capacity.disk_used_bytes_per_s))
        .wide(),
    OfPool::number("disk_reserved", Unit::BytesPerS, |pool| {
        Some(pool.capacity.disk_reserved_bytes_per_s)
    })
    .wide(),
    OfPool::number("disk_capacity", Unit::BytesPerS, |pool| Some(pool.capacity.disk_bytes_per_s))
        .wide(),
    OfPool::flag("first", |pool| pool.first).wide(),
    OfPool::text("id", |pool| pool.pool.clone()).wide(),
];

/// As it is said to `vmmctl pool set`.
fn rebalance(what: Rebalance) -> &'static str {
    match what {
        Rebalance::Off => "off",
        Rebalance::Advise => "advise",
        Rebalance::CarryOut => "carry-out",
    }
}
