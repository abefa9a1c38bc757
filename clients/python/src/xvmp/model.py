# SPDX-License-Identifier: MIT OR Apache-2.0
"""What a VM, a host, a task is (section 7): one class an element.

Plain data in the order of the schema. Every quantity has its unit at the end
of its name: KiB, bytes, milliseconds, thousandths of a CPU. ``None`` means
that the element or attribute is missing; what that means stands beside it.
``tag`` is the element's name.

Nothing here fails, but for lookups of an enum: a value that is none of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from .faults import Fault


class Phase(StrEnum):
    """Where a VM is in its life."""

    NEW = "New"
    STARTING = "Starting"
    RUNNING = "Running"
    PAUSED = "Paused"
    SHUTTING_DOWN = "ShuttingDown"
    REBOOTING = "Rebooting"
    SUSPENDING = "Suspending"
    SUSPENDED = "Suspended"
    SAVING = "Saving"
    SAVED = "Saved"
    MIGRATING = "Migrating"
    ARRIVING = "Arriving"
    MIGRATED = "Migrated"
    PRESERVED = "Preserved"
    POWERED_OFF = "PoweredOff"
    CRASHED = "Crashed"
    DESTROYED = "Destroyed"
    FAILED = "Failed"
    LOST = "Lost"


class Kind(StrEnum):
    """How Xen runs a guest; ``Hvm`` is refused."""

    PVH = "Pvh"
    PV = "Pv"
    HVM = "Hvm"


class SavedFormat(StrEnum):
    """How a guest's memory stands in a file."""

    SEALED = "Sealed"
    XL = "Xl"


class Health(StrEnum):
    """Whether a host is heard."""

    UNKNOWN = "Unknown"
    UP = "Up"
    SILENT = "Silent"


class TaskState(StrEnum):
    """The last three are final."""

    QUEUED = "Queued"
    RUNNING = "Running"
    CANCELLING = "Cancelling"
    DONE = "Done"
    FAILED = "Failed"
    CANCELLED = "Cancelled"


class TargetKind(StrEnum):
    """What a task is about."""

    VM = "Vm"
    VMS = "Vms"
    HOST = "Host"
    POOL = "Pool"
    SITE = "Site"
    GROUP = "Group"


class PhaseStatus(StrEnum):
    """Where a phase of a task stands."""

    WAITING = "Waiting"
    RUNNING = "Running"
    DONE = "Done"
    TAKING_BACK = "TakingBack"
    TAKEN_BACK = "TakenBack"
    LEFT_OVER = "LeftOver"


class GroupKind(StrEnum):
    """What a group wants: all of its VMs on one host, or no two."""

    TOGETHER = "Together"
    APART = "Apart"


class Rebalance(StrEnum):
    """What becomes of moves that would pay in a pool."""

    OFF = "Off"
    ADVISE = "Advise"
    CARRY_OUT = "CarryOut"


class BulkOperation(StrEnum):
    """What may be asked for many VMs at once."""

    START = "Start"
    SHUTDOWN = "Shutdown"
    REBOOT = "Reboot"
    PAUSE = "Pause"
    UNPAUSE = "Unpause"
    SUSPEND = "Suspend"
    RESUME = "Resume"
    SAVE = "Save"
    RESTORE = "Restore"
    DESTROY = "Destroy"
    DELETE = "Delete"


class EventAction(StrEnum):
    """What happens to a VM whose guest has ended."""

    DESTROY = "Destroy"
    RESTART = "Restart"
    PRESERVE = "Preserve"


class FaultCode(StrEnum):
    """Why something was refused or failed."""

    UNKNOWN_VM = "UnknownVm"
    UNKNOWN_HOST = "UnknownHost"
    UNKNOWN_TASK = "UnknownTask"
    UNKNOWN_POOL = "UnknownPool"
    UNKNOWN_SITE = "UnknownSite"
    UNKNOWN_GROUP = "UnknownGroup"
    BAD_REQUEST = "BadRequest"
    BAD_STATE = "BadState"
    CONFLICT = "Conflict"
    NO_CAPACITY = "NoCapacity"
    OUT_OF_MEMORY = "OutOfMemory"
    FILE_NOT_FOUND = "FileNotFound"
    BAD_IMAGE = "BadImage"
    DENIED = "Denied"
    UNSUPPORTED = "Unsupported"
    HOST_UNREACHABLE = "HostUnreachable"
    TIMED_OUT = "TimedOut"
    CANCELLED = "Cancelled"
    IDEMPOTENCY_MISMATCH = "IdempotencyMismatch"
    BUSY = "Busy"
    HOST_FAILED = "HostFailed"
    INTERNAL = "Internal"


class ObjectKind(StrEnum):
    """What an event can be about."""

    HOST = "Host"
    VM = "Vm"
    TASK = "Task"
    POOL = "Pool"
    SITE = "Site"
    GROUP = "Group"


# What a VM shall be.


@dataclass(frozen=True, kw_only=True)
class Disk:
    """``path`` is absolute, on the host; ``device`` is xvda to xvdp."""

    tag: ClassVar[str] = "Disk"
    path: str
    device: str
    read_only: bool = False


@dataclass(frozen=True, kw_only=True)
class Nic:
    """``index`` 0 to 7, ``mac`` unicast, ``bridge`` of 1 to 15 bytes."""

    tag: ClassVar[str] = "Nic"
    index: int
    mac: str
    bridge: str


@dataclass(frozen=True, kw_only=True)
class Scheduling:
    """``weight`` 1 to 65535; a cap of 0 is none; no affinity is all CPUs."""

    tag: ClassVar[str] = "Scheduling"
    weight: int = 256
    cap_percent: int = 0
    affinity: str | None = None
    affinity_soft: str | None = None


@dataclass(frozen=True, kw_only=True)
class OnEvent:
    """What follows when the guest ends by itself."""

    tag: ClassVar[str] = "OnEvent"
    poweroff: EventAction = EventAction.DESTROY
    reboot: EventAction = EventAction.RESTART
    crash: EventAction = EventAction.DESTROY


@dataclass(frozen=True, kw_only=True)
class Autostart:
    """Lower ``order`` starts earlier; ``delay_s`` (0 to 3600) follows."""

    tag: ClassVar[str] = "Autostart"
    enabled: bool = True
    order: int
    delay_s: int


@dataclass(frozen=True, kw_only=True)
class Spec:
    """The definition of a VM; paths are those of its host.

    ``memory_min_kib``: as ``memory_kib``. ``kind``: Pvh.
    """

    tag: ClassVar[str] = "Spec"
    name: str
    kind: Kind | None = None
    vcpus: int
    vcpus_max: int
    memory_min_kib: int | None = None
    memory_kib: int
    memory_max_kib: int
    kernel: str
    initramfs: str | None = None
    cmdline: str = ""
    cpu_demand_milli: int = 0
    disk_demand_bytes_per_s: int = 0
    disks: tuple[Disk, ...] = ()
    nics: tuple[Nic, ...] = ()
    scheduling: Scheduling | None = None
    on_event: OnEvent | None = None
    autostart: Autostart | None = None


# What people write on it.


@dataclass(frozen=True, kw_only=True)
class GroupRef:
    """A group that a VM is in; in requests, its name or id."""

    tag: ClassVar[str] = "GroupRef"
    group: str


@dataclass(frozen=True, kw_only=True)
class Pin:
    """A host that a VM may be on; in requests, its name or id."""

    tag: ClassVar[str] = "Pin"
    host: str


@dataclass(frozen=True, kw_only=True)
class Tag:
    """1 to 64 of A-Z a-z 0-9 . _ : / -"""

    tag: ClassVar[str] = "Tag"
    name: str


@dataclass(frozen=True, kw_only=True)
class Add(Tag):
    """A tag that an object shall have."""

    tag: ClassVar[str] = "Add"


@dataclass(frozen=True, kw_only=True)
class Remove(Tag):
    """A tag that it shall not have."""

    tag: ClassVar[str] = "Remove"


# What is.


@dataclass(frozen=True, kw_only=True)
class Pong:
    """The text of the ``Ping``."""

    tag: ClassVar[str] = "Pong"
    text: str


@dataclass(frozen=True, kw_only=True)
class Done:
    """It is done, and there is nothing to say."""

    tag: ClassVar[str] = "Done"


@dataclass(frozen=True, kw_only=True)
class TaskFault:
    """A fault as data; ``error`` is the exception."""

    tag: ClassVar[str] = "Fault"
    code: FaultCode
    hop: str
    retryable: bool
    message: str

    def error(self) -> Fault:
        return Fault(self.code, self.hop, self.retryable, self.message)


@dataclass(frozen=True, kw_only=True)
class HostRef:
    """The id of a host."""

    tag: ClassVar[str] = "HostRef"
    host: str


@dataclass(frozen=True, kw_only=True)
class HostFacts:
    """What a host has; ``backend`` is libxc or simulator."""

    tag: ClassVar[str] = "Facts"
    pcpus: int
    memory_kib: int
    disk_bytes_per_s: int
    disk_requests_per_s: int | None = None
    network_bytes_per_s: int | None = None
    migration_address: str | None = None
    cpu_features: str | None = None
    logs_pv: bool | None = None
    xen_version: str
    backend: str
    agent_version: str


@dataclass(frozen=True, kw_only=True)
class HostLoad:
    """What of it is used now; shells are VMs prepared in advance."""

    tag: ClassVar[str] = "Load"
    cpu_milli: int
    memory_free_kib: int
    disk_bytes_per_s: int
    shell_count: int = 0
    shell_memory_kib: int = 0


@dataclass(frozen=True, kw_only=True)
class Host:
    """A host as the manager knows it; facts come with its first report."""

    tag: ClassVar[str] = "Host"
    host: str
    name: str
    address: str
    health: Health
    heard_ms_ago: int | None = None
    maintenance: bool
    vm_count: int
    memory_reserved_kib: int
    cpu_reserved_milli: int
    disk_reserved_bytes_per_s: int
    pool: str | None = None
    site: str | None = None
    notes: str | None = None
    facts: HostFacts | None = None
    load: HostLoad | None = None
    tags: tuple[Tag, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """What some hosts have and use together."""

    tag: ClassVar[str] = "Capacity"
    host_count: int
    host_up_count: int
    vm_count: int
    pcpus: int
    cpu_reserved_milli: int
    cpu_used_milli: int
    memory_kib: int
    memory_reserved_kib: int
    disk_bytes_per_s: int
    disk_reserved_bytes_per_s: int
    disk_used_bytes_per_s: int


@dataclass(frozen=True, kw_only=True)
class HostTotals(Capacity):
    """Of all hosts that were wanted."""

    tag: ClassVar[str] = "Totals"


@dataclass(frozen=True, kw_only=True)
class Hosts:
    """All, or a page; ``next`` is None when it is the last one."""

    tag: ClassVar[str] = "Hosts"
    next: str | None = None
    totals: HostTotals | None = None
    hosts: tuple[Host, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Site:
    """A network and a domain of trust; the ``first`` was always there."""

    tag: ClassVar[str] = "Site"
    site: str
    name: str
    first: bool
    notes: str | None = None
    pool_count: int
    capacity: Capacity


@dataclass(frozen=True, kw_only=True)
class Sites:
    """A page; ``count`` of all that were wanted, when asked for."""

    tag: ClassVar[str] = "Sites"
    next: str | None = None
    count: int | None = None
    sites: tuple[Site, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Hosts between which VMs may move; ``site`` is a name."""

    tag: ClassVar[str] = "Pool"
    pool: str
    name: str
    site: str
    first: bool
    notes: str | None = None
    advised_moves: int | None = None
    rebalance: Rebalance = Rebalance.ADVISE
    capacity: Capacity


@dataclass(frozen=True, kw_only=True)
class Pools:
    """A page; ``count`` of all that were wanted, when asked for."""

    tag: ClassVar[str] = "Pools"
    next: str | None = None
    count: int | None = None
    pools: tuple[Pool, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlacedVm:
    tag: ClassVar[str] = "PlacedVm"
    name: str
    host: str
    cost: Decimal
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, kw_only=True)
class UnplacedVm:
    """One that fits nowhere beside the others, and each host's reason."""

    tag: ClassVar[str] = "UnplacedVm"
    name: str
    refused: tuple[RefusedHost, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Placements:
    """Where many VMs would go."""

    tag: ClassVar[str] = "Placements"
    placed: tuple[PlacedVm, ...] = ()
    unplaced: tuple[UnplacedVm, ...] = ()


@dataclass(frozen=True, kw_only=True)
class NewVm:
    """One of many VMs that shall be there."""

    tag: ClassVar[str] = "NewVm"
    pool: str | None = None
    spec: Spec
    pins: tuple[Pin, ...] = ()
    groups: tuple[GroupRef, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Member:
    """A VM of a group; ``misplaced`` when it stands against the rule."""

    tag: ClassVar[str] = "Member"
    vm: str
    vm_name: str
    host: str | None = None
    misplaced: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Group:
    """VMs that shall be on one host, or on different ones."""

    tag: ClassVar[str] = "Group"
    group: str
    name: str
    rule: GroupKind
    soft: bool
    violated: bool
    notes: str | None = None
    members: tuple[Member, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Groups:
    """A page; ``count`` of all that were wanted, when asked for."""

    tag: ClassVar[str] = "Groups"
    next: str | None = None
    count: int | None = None
    groups: tuple[Group, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TagUse:
    tag: ClassVar[str] = "Tag"
    name: str
    vm_count: int
    host_count: int


@dataclass(frozen=True, kw_only=True)
class FolderUse:
    """VMs in folders below it are not counted."""

    tag: ClassVar[str] = "Folder"
    path: str
    vm_count: int


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Tags and folders in use; ``cut`` when there are still more."""

    tag: ClassVar[str] = "Labels"
    cut: bool | None = None
    tags: tuple[TagUse, ...] = ()
    folders: tuple[FolderUse, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VmRates:
    """What a VM was measured to use, ``age_ms`` before this came."""

    tag: ClassVar[str] = "Rates"
    age_ms: int
    cpu_milli: int | None = None
    disk_bytes_per_s: int | None = None
    disk_requests_per_s: int | None = None
    network_bytes_per_s: int | None = None


@dataclass(frozen=True, kw_only=True)
class Vm:
    """A VM; ``stale`` when its host is not heard and this is what was."""

    tag: ClassVar[str] = "Vm"
    vm: str
    phase: Phase
    reason: str | None = None
    host: str | None = None
    stale: bool
    vcpus_online: int
    memory_now_kib: int
    saved_path: str | None = None
    saved_host: str | None = None
    drift: str | None = None
    misplaced: str | None = None
    pool: str | None = None
    site: str | None = None
    folder: str | None = None
    notes: str | None = None
    spec: Spec
    rates: VmRates | None = None
    tags: tuple[Tag, ...] = ()
    pins: tuple[Pin, ...] = ()
    groups: tuple[GroupRef, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VmTotals:
    """What all VMs that were wanted are and use together."""

    tag: ClassVar[str] = "Totals"
    vm_count: int
    running_count: int
    vcpus_online: int
    memory_now_kib: int
    cpu_used_milli: int
    disk_used_bytes_per_s: int
    network_used_bytes_per_s: int


@dataclass(frozen=True, kw_only=True)
class Vms:
    """A page; ``next`` is None when it is the last one."""

    tag: ClassVar[str] = "Vms"
    next: str | None = None
    totals: VmTotals | None = None
    vms: tuple[Vm, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Part:
    """One term of a cost, which is without unit."""

    tag: ClassVar[str] = "Part"
    name: str
    cost: Decimal


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """What a placement thinks of one host; costs are without unit."""

    tag: ClassVar[str] = "Candidate"
    host: str
    eligible: bool
    cost_cpu: Decimal
    cost_memory: Decimal
    cost_disk_io: Decimal
    cost: Decimal
    reason: str
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PlannedMove:
    """Moves of one wave fit at the same time; without ``move_bytes`` it would not converge."""

    tag: ClassVar[str] = "Move"
    wave: int
    vm: str
    vm_name: str
    source: str
    destination: str
    temporary: bool
    move_bytes: int | None = None
    move_ms: int | None = None
    downtime_ms: int | None = None
    cost_here: Decimal
    cost_there: Decimal
    cost_move: Decimal
    reason: str


@dataclass(frozen=True, kw_only=True)
class KeptVm:
    """A VM that stays, and why."""

    tag: ClassVar[str] = "Kept"
    vm: str
    vm_name: str
    host: str
    cost_here: Decimal
    reason: str


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Moves in an order in which each fits."""

    tag: ClassVar[str] = "Plan"
    potential_before: Decimal
    potential_after: Decimal
    moves: tuple[PlannedMove, ...] = ()
    kept: tuple[KeptVm, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Way:
    """One way to give a VM more; without ``move_bytes`` it stays in place."""

    tag: ClassVar[str] = "Way"
    host: str
    in_place: bool
    cost: Decimal
    move_bytes: int | None = None
    move_ms: int | None = None
    downtime_ms: int | None = None
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RefusedHost:
    """A host that cannot, and why."""

    tag: ClassVar[str] = "RefusedHost"
    host: str
    by: str | None = None
    reason: str


@dataclass(frozen=True, kw_only=True)
class Growth:
    """The cheapest way first; none when nobody has room."""

    tag: ClassVar[str] = "Growth"
    ways: tuple[Way, ...] = ()
    refused: tuple[RefusedHost, ...] = ()


@dataclass(frozen=True, kw_only=True)
class MigrationPlan:
    """Where a VM would move; ``destination`` is None when nobody has room."""

    tag: ClassVar[str] = "MigrationPlan"
    vm: str
    vm_name: str
    source: str
    destination: str | None = None
    downtime_ms_max: int
    deadline_s: int
    ways: tuple[Way, ...] = ()
    refused: tuple[RefusedHost, ...] = ()


class MigrationRole(StrEnum):
    """Which end of a migration a host is."""

    SOURCE = "Source"
    DESTINATION = "Destination"


class MigrationStage(StrEnum):
    """How far one end of a migration is."""

    RECEIVING = "Receiving"
    READY = "Ready"
    STARTED = "Started"
    DISCARDED = "Discarded"
    SENDING = "Sending"
    OFFERED = "Offered"
    GONE = "Gone"
    RESUMED = "Resumed"


class MigrationActivity(StrEnum):
    """What the source of a migration is doing."""

    COMPACT = "Compact"
    LOG = "Log"
    FIRST_PASS = "FirstPass"
    SPRINT = "Sprint"
    STOPPING = "Stopping"
    REST = "Rest"
    WAITING = "Waiting"


@dataclass(frozen=True, kw_only=True)
class Migration:
    """A move that goes on; ``peer`` is the name of the other host."""

    tag: ClassVar[str] = "Migration"
    migration: str
    role: MigrationRole
    peer: str
    stage: MigrationStage
    activity: MigrationActivity | None = None
    rounds: int
    sent_bytes: int
    left_bytes: int
    dirty_bytes_per_s: int | None = None
    downtime_ms: int | None = None
    left_ms: int | None = None
    brake_percent: int | None = None


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a VM goes; ``chosen`` is None when no host can take it."""

    tag: ClassVar[str] = "Placement"
    chosen: str | None = None
    candidates: tuple[Candidate, ...] = ()


class DecisionKind(StrEnum):
    """What was asked of the scheduler."""

    PLACE = "Place"
    BATCH = "Batch"
    REBALANCE = "Rebalance"
    EVACUATE = "Evacuate"
    GROW = "Grow"
    MIGRATION = "Migration"


class Progress(StrEnum):
    """How far a plan is that the manager carries out."""

    UNDER_WAY = "UnderWay"
    DONE = "Done"
    STOPPED = "Stopped"


@dataclass(frozen=True, kw_only=True)
class CarriedMove:
    """One move of it; without a task it waits, or was not begun."""

    tag: ClassVar[str] = "CarriedMove"
    vm: str
    vm_name: str
    source: str
    destination: str
    state: TaskState
    task: str | None = None
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class CarryOut:
    """What came of a plan that the manager carries out; ``moves`` of one decision only."""

    tag: ClassVar[str] = "CarryOut"
    progress: Progress
    pool: str
    reason: str | None = None
    moves: tuple[CarriedMove, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Decision:
    """A decision of the scheduler; with its terms when it is shown."""

    tag: ClassVar[str] = "Decision"
    decision: int
    at_ms: int
    question: DecisionKind
    vm: str | None = None
    vm_name: str | None = None
    task: str | None = None
    answer: str
    placement: Placement | None = None
    placements: Placements | None = None
    plan: Plan | None = None
    growth: Growth | None = None
    carry_out: CarryOut | None = None


@dataclass(frozen=True, kw_only=True)
class Decisions:
    """The latest first; ``next`` goes on before it."""

    tag: ClassVar[str] = "Decisions"
    next: int | None = None
    decisions: tuple[Decision, ...] = ()


@dataclass(frozen=True, kw_only=True)
class DecisionText:
    """A piece of what a decision was made of."""

    tag: ClassVar[str] = "DecisionText"
    size_bytes: int
    data: bytes


@dataclass(frozen=True, kw_only=True)
class Vcpus:
    """How far a guest came; ``note`` says why no further."""

    tag: ClassVar[str] = "Vcpus"
    asked: int
    online: int
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Memory:
    """How far a guest came; ``note`` says why no further."""

    tag: ClassVar[str] = "Memory"
    asked_kib: int
    reached_kib: int
    note: str | None = None


@dataclass(frozen=True, kw_only=True)
class Orphan:
    """A VM that a host runs and the manager does not know."""

    tag: ClassVar[str] = "Orphan"
    host: str
    vm: str
    phase: Phase
    vcpus_online: int
    memory_kib: int
    domid: int | None = None


@dataclass(frozen=True, kw_only=True)
class Orphans:
    """All of them."""

    tag: ClassVar[str] = "Orphans"
    orphans: tuple[Orphan, ...] = ()


@dataclass(frozen=True, kw_only=True)
class VmRef:
    """A VM by its id or name."""

    tag: ClassVar[str] = "VmRef"
    vm: str


@dataclass(frozen=True, kw_only=True)
class AddVm(VmRef):
    """A VM that shall be in a group."""

    tag: ClassVar[str] = "Add"


@dataclass(frozen=True, kw_only=True)
class RemoveVm(VmRef):
    """A VM that shall not be in it."""

    tag: ClassVar[str] = "Remove"


@dataclass(frozen=True, kw_only=True)
class TaskPhase:
    """One step of a task."""

    tag: ClassVar[str] = "TaskPhase"
    name: str
    status: PhaseStatus


@dataclass(frozen=True, kw_only=True)
class TaskChild:
    """One VM of a task that is about several."""

    tag: ClassVar[str] = "TaskChild"
    vm: str
    vm_name: str
    state: TaskState
    task: str | None = None
    host: str | None = None
    code: FaultCode | None = None
    message: str | None = None


@dataclass(frozen=True, kw_only=True)
class TaskLine:
    """One line of a task's log."""

    tag: ClassVar[str] = "TaskLine"
    at_ms: int
    text: str


@dataclass(frozen=True, kw_only=True)
class Task:
    """A change that takes its time. ``vm`` is empty when it is about
    something else."""

    tag: ClassVar[str] = "Task"
    task: str
    verb: str
    vm: str
    vm_name: str
    state: TaskState
    step: str
    target_kind: TargetKind | None = None
    target: str | None = None
    target_name: str | None = None
    host: str | None = None
    initiator: str | None = None
    created_ms: int | None = None
    started_ms: int | None = None
    finished_ms: int | None = None
    progress_done: int | None = None
    progress_all: int | None = None
    place: int | None = None
    waits_for: str | None = None
    retry_of: str | None = None
    parent: str | None = None
    fault: TaskFault | None = None
    placement: Placement | None = None
    vcpus: Vcpus | None = None
    memory: Memory | None = None
    migration: Migration | None = None
    phases: tuple[TaskPhase, ...] = ()
    children: tuple[TaskChild, ...] = ()
    lines: tuple[TaskLine, ...] = ()

    @property
    def over(self) -> bool:
        return self.state in (
            TaskState.DONE,
            TaskState.FAILED,
            TaskState.CANCELLED,
        )


@dataclass(frozen=True, kw_only=True)
class Tasks:
    """The newest first; while there is a ``next``, ask with it."""

    tag: ClassVar[str] = "Tasks"
    next: str | None = None
    tasks: tuple[Task, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Gone:
    """An object that is not there any more."""

    tag: ClassVar[str] = "Gone"
    object: ObjectKind
    id: str


@dataclass(frozen=True, kw_only=True)
class Events:
    """What has changed since a cursor, each object as it is now.

    ``resync``: this begins with everything, and what has not come until
    ``more`` is false is gone. ``more``: there is more already.
    """

    tag: ClassVar[str] = "Events"
    cursor: str
    resync: bool
    more: bool
    hosts: tuple[Host, ...] = ()
    vms: tuple[Vm, ...] = ()
    tasks: tuple[Task, ...] = ()
    pools: tuple[Pool, ...] = ()
    sites: tuple[Site, ...] = ()
    groups: tuple[Group, ...] = ()
    gone: tuple[Gone, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ConsoleText:
    """``data`` is the end of what the guest wrote; any bytes."""

    tag: ClassVar[str] = "ConsoleText"
    dropped_bytes: int
    data: bytes


# Certificates.


@dataclass(frozen=True, kw_only=True)
class Certificate:
    """X.509, DER, and that of the authority that signed it."""

    tag: ClassVar[str] = "Certificate"
    certificate: bytes
    authority: bytes


@dataclass(frozen=True, kw_only=True)
class JoinRequest:
    """What an applicant says; ``address`` is an agent's host:port."""

    tag: ClassVar[str] = "JoinRequest"
    signing_request: bytes
    address: str | None = None


@dataclass(frozen=True, kw_only=True)
class Admitted:
    """The applicant's certificate, X.509, DER."""

    tag: ClassVar[str] = "Admitted"
    certificate: bytes


@dataclass(frozen=True, kw_only=True)
class Denied:
    """Why an applicant gets none."""

    tag: ClassVar[str] = "Denied"
    fault: TaskFault


# What is measured. A rate needs two samples: None in the first.


@dataclass(frozen=True, kw_only=True)
class VcpuStats:
    tag: ClassVar[str] = "Vcpu"
    index: int
    online: bool
    cpu_time_ns: int
    running: bool | None = None
    blocked: bool | None = None
    pcpu: int | None = None


@dataclass(frozen=True, kw_only=True)
class DiskStats:
    tag: ClassVar[str] = "Disk"
    device: str
    reads: int
    writes: int
    read_bytes: int
    written_bytes: int
    errors: int | None = None


@dataclass(frozen=True, kw_only=True)
class NicStats:
    tag: ClassVar[str] = "Nic"
    index: int
    received_bytes: int
    received_packets: int
    received_drops: int
    sent_bytes: int
    sent_packets: int
    sent_drops: int


@dataclass(frozen=True, kw_only=True)
class VmStats:
    tag: ClassVar[str] = "VmStats"
    vm: str
    at_ms: int
    cpu_milli: int | None = None
    cpu_time_ns: int
    memory_kib: int
    memory_target_kib: int
    memory_max_kib: int
    memory_guest_free_kib: int | None = None
    disk_bytes_per_s: int | None = None
    network_bytes_per_s: int | None = None
    vcpus: tuple[VcpuStats, ...] = ()
    disks: tuple[DiskStats, ...] = ()
    nics: tuple[NicStats, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PcpuStats:
    tag: ClassVar[str] = "Pcpu"
    index: int
    idle_ns: int
    busy_milli: int | None = None


@dataclass(frozen=True, kw_only=True)
class HostDiskStats:
    tag: ClassVar[str] = "Disk"
    device: str
    reads: int
    writes: int
    read_bytes: int
    written_bytes: int
    bytes_per_s: int | None = None
    latency_us: int | None = None


@dataclass(frozen=True, kw_only=True)
class HostNicStats:
    tag: ClassVar[str] = "Nic"
    device: str
    received_bytes: int
    sent_bytes: int
    drops: int
    bytes_per_s: int | None = None


@dataclass(frozen=True, kw_only=True)
class HostStats:
    tag: ClassVar[str] = "HostStats"
    at_ms: int
    cpu_milli: int | None = None
    memory_total_kib: int
    memory_free_kib: int
    disk_bytes_per_s: int | None = None
    xen_version: str | None = None
    xen_capabilities: str | None = None
    pcpus: tuple[PcpuStats, ...] = ()
    disks: tuple[HostDiskStats, ...] = ()
    nics: tuple[HostNicStats, ...] = ()
