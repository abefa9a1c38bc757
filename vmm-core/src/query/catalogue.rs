//! The fields of the pool's objects.

use super::field::{Field, FieldType, Fields, Words};
use super::unit::Unit;

const FLAG: Words = Words {
    words: &["false", "true"],
    groups: &[("no", &["false"]), ("yes", &["true"]), ("off", &["false"]), ("on", &["true"])],
};
const VM_STATUS: Words = Words {
    words: &[
        "starting",
        "running",
        "paused",
        "shutting-down",
        "rebooting",
        "suspending",
        "suspended",
        "saving",
        "preserved",
        "new",
        "powered-off",
        "crashed",
        "destroyed",
        "failed",
        "lost",
        "saved",
        "migrating",
        "arriving",
        "migrated",
    ],
    groups: &[(
        "stopped",
        &["new", "powered-off", "crashed", "destroyed", "failed", "lost", "saved", "migrated"],
    )],
};
const VM_KIND: Words = Words { words: &["pvh", "pv", "hvm"], groups: &[] };
const HEALTH: Words = Words { words: &["unknown", "up", "silent"], groups: &[] };
const GROUP_RULE: Words = Words { words: &["together", "apart"], groups: &[] };
const TASK_STATUS: Words = Words {
    words: &["queued", "running", "cancelling", "done", "failed", "cancelled"],
    groups: &[
        ("open", &["queued", "running", "cancelling"]),
        ("over", &["done", "failed", "cancelled"]),
    ],
};

const TEXT: FieldType = FieldType::Text;
const TEXTS: FieldType = FieldType::Texts;
const YES_NO: FieldType = FieldType::Words(&FLAG);
const COUNT: FieldType = FieldType::Number(Unit::Count);
const BYTES: FieldType = FieldType::Number(Unit::Bytes);
const SHARE: FieldType = FieldType::Number(Unit::Share);
const CPUS: FieldType = FieldType::Number(Unit::Cpus);
const RATE: FieldType = FieldType::Number(Unit::Rate);
const AGE: FieldType = FieldType::Number(Unit::Age);

macro_rules! fields {
    ($(#[$doc:meta])* $object:ident, $called:literal: $($field:ident $name:literal $type:expr, $about:literal;)*) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $object {
            $(#[doc = $about] $field,)*
        }

        impl Fields for $object {
            const OBJECT: &'static str = $called;
            const NAME: Self = Self::Name;

            fn all() -> &'static [Self] {
                &[$(Self::$field),*]
            }

            fn field(self) -> &'static Field {
                match self {
                    $(Self::$field => {
                        static FIELD: Field = Field { name: $name, field_type: $type, about: $about };
                        &FIELD
                    })*
                }
            }
        }
    };
}

fields! {
    /// Fields of a VM.
    VmField, "a VM":
    Name "name" TEXT, "its name";
    Id "id" TEXTS, "its uuid";
    Status "status" FieldType::Words(&VM_STATUS), "what it does";
    Host "host" TEXT, "the host that it is on";
    Pool "pool" TEXT, "the pool of its host, or of the last one that it was on";
    Site "site" TEXT, "the site of that pool";
    Tag "tag" TEXTS, "its tags";
    Folder "folder" FieldType::Path, "the folder that it lies in, or one above";
    Notes "notes" TEXT, "what people wrote about it";
    Reason "reason" TEXT, "why it stopped, in words";
    Kind "kind" FieldType::Words(&VM_KIND), "the kind of guest";
    Vcpus "vcpus" COUNT, "vCPUs online, or at boot when it is stopped";
    VcpusMax "vcpus-max" COUNT, "vCPUs that it can ever have";
    Memory "memory" BYTES, "memory that it holds, or has at boot when it is stopped";
    MemoryMax "memory-max" BYTES, "memory that it can grow to";
    Cpu "cpu" SHARE, "measured: share of its online vCPUs' time that it uses";
    CpuUsed "cpu-used" CPUS, "measured: CPUs that it uses";
    Disk "disk" RATE, "measured: throughput of its disks";
    Network "network" RATE, "measured: throughput of its NICs, both ways";
    Measured "measured" AGE, "how long ago that was measured";
    Path "path" TEXTS, "files and devices behind its disks";
    Mac "mac" TEXTS, "addresses of its NICs";
    Bridge "bridge" TEXTS, "bridges of its NICs";
    Group "group" TEXTS, "the groups that it is in";
    Pin "pin" TEXTS, "the hosts that it is pinned to";
    Misplaced "misplaced" YES_NO, "a rule bars it from the host that it is on";
    Stale "stale" YES_NO, "its host is not heard";
    Busy "busy" YES_NO, "a task is changing it";
    Autostart "autostart" YES_NO, "it starts with its host";
}

fields! {
    /// Fields of a host.
    HostField, "a host":
    Name "name" TEXT, "its name";
    Id "id" TEXTS, "its uuid";
    Address "address" TEXT, "where its agent listens";
    Health "health" FieldType::Words(&HEALTH), "whether it is heard";
    Pool "pool" TEXT, "its pool";
    Site "site" TEXT, "the site of its pool";
    Tag "tag" TEXTS, "its tags";
    Notes "notes" TEXT, "what people wrote about it";
    Maintenance "maintenance" YES_NO, "it takes no new VM";
    Vms "vms" COUNT, "VMs on it";
    Cpus "cpus" COUNT, "physical CPUs";
    Cpu "cpu" SHARE, "measured: share of its CPUs' time in use";
    CpuUsed "cpu-used" CPUS, "measured: busy CPUs";
    CpuReserved "cpu-reserved" CPUS, "CPUs reserved for VMs";
    Memory "memory" BYTES, "memory for VMs";
    MemoryFree "memory-free" BYTES, "memory that no VM has reserved";
    MemoryReserved "memory-reserved" BYTES, "memory reserved for VMs";
    MemoryUse "memory-use" SHARE, "share of its memory that is reserved";
    Disk "disk" RATE, "measured: disk throughput of its VMs";
    DiskReserved "disk-reserved" RATE, "disk throughput reserved for VMs";
    Heard "heard" AGE, "time since its last report";
    Xen "xen" TEXT, "version of Xen";
    Backend "backend" TEXT, "what its agent drives: libxc, or a simulator";
    Agent "agent" TEXT, "version of its agent";
}

fields! {
    /// Fields of a pool.
    PoolField, "a pool":
    Name "name" TEXT, "its name";
    Id "id" TEXTS, "its uuid";
    Site "site" TEXT, "its site";
    Notes "notes" TEXT, "what people wrote about it";
    Hosts "hosts" COUNT, "hosts in it";
    Vms "vms" COUNT, "VMs on them";
    Cpus "cpus" COUNT, "physical CPUs of its hosts";
    CpuUsed "cpu-used" CPUS, "measured: busy CPUs";
    Memory "memory" BYTES, "memory for VMs";
    MemoryFree "memory-free" BYTES, "memory that no VM has reserved";
    MemoryUse "memory-use" SHARE, "share of its memory that is reserved";
}

fields! {
    /// Fields of a site.
    SiteField, "a site":
    Name "name" TEXT, "its name";
    Id "id" TEXTS, "its uuid";
    Notes "notes" TEXT, "what people wrote about it";
    Pools "pools" COUNT, "pools in it";
    Hosts "hosts" COUNT, "hosts in them";
    Vms "vms" COUNT, "VMs on them";
    Cpus "cpus" COUNT, "physical CPUs of its hosts";
    CpuUsed "cpu-used" CPUS, "measured: busy CPUs";
    Memory "memory" BYTES, "memory for VMs";
    MemoryFree "memory-free" BYTES, "memory that no VM has reserved";
    MemoryUse "memory-use" SHARE, "share of its memory that is reserved";
}

fields! {
    /// Fields of a group of VMs.
    GroupField, "a group":
    Name "name" TEXT, "its name";
    Id "id" TEXTS, "its uuid";
    Rule "rule" FieldType::Words(&GROUP_RULE), "what it wants of its VMs";
    Soft "soft" YES_NO, "it is a wish, not a must";
    Violated "violated" YES_NO, "some of its VMs are placed against it";
    Vms "vms" COUNT, "how many VMs are in it";
    Vm "vm" TEXTS, "its VMs, by name";
    Notes "notes" TEXT, "what people wrote about it";
}

fields! {
    /// Fields of a task. A word by itself is looked for in the name of the VM that it is about.
    TaskField, "a task":
    Name "vm" TEXT, "the VM that it is about, by name";
    Id "id" TEXTS, "its uuid";
    Verb "verb" TEXT, "the request that began it";
    Status "status" FieldType::Words(&TASK_STATUS), "where it stands";
    Step "step" TEXT, "the step that it is at";
}
