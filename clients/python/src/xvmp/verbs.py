# SPDX-License-Identifier: MIT OR Apache-2.0
"""The requests that a manager answers (section 7): one class a verb.

A verb knows its element's name, its reply, and whether it changes something;
what changes something is sent with ``idem``. ``vm`` is an id or a name,
``host`` too; ``wait_ms_max`` is how long the guest may take.

A new verb is a new class here, and nothing else. Until it has one, it goes
through ``Client.call_element``.

Nothing here fails; the manager judges what a verb says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, ClassVar, Generic, TypeVar

from . import model
from .model import (
    Add, AddVm, Autostart, Disk, GroupKind, GroupRef, NewVm, Nic, OnEvent, Pin,
    Remove, RemoveVm, Scheduling, Spec, Task, VmRef,
)

Reply = TypeVar("Reply", covariant=True)

#: How long a guest may take, if nobody says.
WAIT_MS_MAX = 30_000


class Verb(Generic[Reply]):
    """A request whose reply is a ``Reply``."""

    tag: ClassVar[str]
    reply: ClassVar[type[Any]]
    changes: ClassVar[bool] = False


class TaskVerb(Verb[Task]):
    """A change that is answered with a task when it is decided."""

    reply = Task
    changes = True


@dataclass(frozen=True, kw_only=True)
class _OneVm(TaskVerb):
    vm: str


@dataclass(frozen=True, kw_only=True)
class _OneVmInTime(TaskVerb):
    vm: str
    wait_ms_max: int = WAIT_MS_MAX


# Hosts.


@dataclass(frozen=True, kw_only=True)
class Ping(Verb[model.Pong]):
    tag = "Ping"
    reply = model.Pong
    text: str


@dataclass(frozen=True, kw_only=True)
class AddHost(Verb[model.HostRef]):
    """``address`` is host:port."""

    tag = "AddHost"
    reply = model.HostRef
    changes = True
    name: str
    address: str
    pool: str | None = None


@dataclass(frozen=True, kw_only=True)
class RemoveHost(Verb[model.Done]):
    tag = "RemoveHost"
    reply = model.Done
    changes = True
    host: str


@dataclass(frozen=True, kw_only=True)
class SetMaintenance(Verb[model.Done]):
    tag = "SetMaintenance"
    reply = model.Done
    changes = True
    host: str
    maintenance: bool


@dataclass(frozen=True, kw_only=True)
class _List:
    """Which, in which order, from where on; ``totals`` sums all of them.

    ``where`` is in the query language of section 7, ``sort`` has its fields
    with commas between, ``after`` is the ``next`` of the page before.
    """

    where: str | None = None
    sort: str | None = None
    after: str | None = None
    count_max: int | None = None
    totals: bool | None = None


@dataclass(frozen=True, kw_only=True)
class ListHosts(_List, Verb[model.Hosts]):
    """All, if nothing is said."""

    tag = "ListHosts"
    reply = model.Hosts


@dataclass(frozen=True, kw_only=True)
class SetHostPool(Verb[model.Done]):
    """Nothing may be on the host."""

    tag = "SetHostPool"
    reply = model.Done
    changes = True
    host: str
    pool: str


@dataclass(frozen=True, kw_only=True)
class LabelHost(Verb[model.Done]):
    """What is None stays as it was; something must be said."""

    tag = "LabelHost"
    reply = model.Done
    changes = True
    host: str
    notes: str | None = None
    add: tuple[Add, ...] = ()
    remove: tuple[Remove, ...] = ()


# Sites and pools.


@dataclass(frozen=True, kw_only=True)
class DefineSite(Verb[model.Done]):
    """Makes it, or changes it; with ``new_name`` it must be there."""

    tag = "DefineSite"
    reply = model.Done
    changes = True
    site: str
    new_name: str | None = None
    notes: str | None = None


@dataclass(frozen=True, kw_only=True)
class RemoveSite(Verb[model.Done]):
    tag = "RemoveSite"
    reply = model.Done
    changes = True
    site: str


@dataclass(frozen=True, kw_only=True)
class ListSites(_List, Verb[model.Sites]):
    tag = "ListSites"
    reply = model.Sites


@dataclass(frozen=True, kw_only=True)
class DefinePool(Verb[model.Done]):
    """Makes it, or changes it; with ``new_name`` it must be there."""

    tag = "DefinePool"
    reply = model.Done
    changes = True
    pool: str
    new_name: str | None = None
    site: str | None = None
    notes: str | None = None
    rebalance: model.Rebalance | None = None


@dataclass(frozen=True, kw_only=True)
class RemovePool(Verb[model.Done]):
    tag = "RemovePool"
    reply = model.Done
    changes = True
    pool: str


@dataclass(frozen=True, kw_only=True)
class ListPools(_List, Verb[model.Pools]):
    tag = "ListPools"
    reply = model.Pools


@dataclass(frozen=True, kw_only=True)
class PlanMoves(Verb[model.Plan]):
    """Which moves would pay now; nothing is moved."""

    tag = "PlanMoves"
    reply = model.Plan
    pool: str | None = None
    moves_max: int | None = None


@dataclass(frozen=True, kw_only=True)
class PlanEvacuation(Verb[model.Plan]):
    """Where everybody on a host would go."""

    tag = "PlanEvacuation"
    reply = model.Plan
    host: str


@dataclass(frozen=True, kw_only=True)
class PlanGrowth(Verb[model.Growth]):
    """How a VM that runs would get this much in all."""

    tag = "PlanGrowth"
    reply = model.Growth
    vm: str
    vcpus: int | None = None
    memory_kib: int | None = None


@dataclass(frozen=True, kw_only=True)
class _Move:
    """Where to and how; the manager's choice where it is not said."""

    vm: str
    host: str | None = None
    downtime_ms_max: int | None = None
    slowdown_ms_max: int | None = None
    deadline_s: int | None = None
    bandwidth_bytes_per_s: int | None = None


@dataclass(frozen=True, kw_only=True)
class PlanMigration(_Move, Verb[model.MigrationPlan]):
    """What ``MigrateVm`` would do."""

    tag = "PlanMigration"
    reply = model.MigrationPlan


@dataclass(frozen=True, kw_only=True)
class MigrateVm(_Move, TaskVerb):
    """Moves a VM that runs to another host of its pool."""

    tag = "MigrateVm"


@dataclass(frozen=True, kw_only=True)
class EvacuateHost(TaskVerb):
    """Moves all VMs off a host, and lets no new one come."""

    tag = "EvacuateHost"
    host: str
    dry_run: bool = field(default=False, init=False)
    at_once: int | None = None
    downtime_ms_max: int | None = None
    slowdown_ms_max: int | None = None
    deadline_s: int | None = None
    bandwidth_bytes_per_s: int | None = None


@dataclass(frozen=True, kw_only=True)
class TryEvacuateHost(Verb[model.Plan]):
    """Who would go where; nothing is done."""

    tag = "EvacuateHost"
    reply = model.Plan
    changes = True
    host: str
    dry_run: bool = field(default=True, init=False)
    at_once: int | None = None
    downtime_ms_max: int | None = None
    slowdown_ms_max: int | None = None
    deadline_s: int | None = None
    bandwidth_bytes_per_s: int | None = None


@dataclass(frozen=True, kw_only=True)
class ListDecisions(Verb[model.Decisions]):
    """Decisions of the scheduler, the latest first."""

    tag = "ListDecisions"
    reply = model.Decisions
    vm: str | None = None
    before: int | None = None
    count_max: int | None = None


@dataclass(frozen=True, kw_only=True)
class ShowDecision(Verb[model.Decision]):
    """One of them, made again with every term."""

    tag = "ShowDecision"
    reply = model.Decision
    decision: int


@dataclass(frozen=True, kw_only=True)
class ReadDecision(Verb[model.DecisionText]):
    """A piece of the text that it was made of."""

    tag = "ReadDecision"
    reply = model.DecisionText
    decision: int
    offset: int | None = None


@dataclass(frozen=True, kw_only=True)
class GetHostStats(Verb[model.HostStats]):
    tag = "GetHostStats"
    reply = model.HostStats
    host: str


# The life of a VM.


@dataclass(frozen=True, kw_only=True)
class CreateVm(TaskVerb):
    """Defines and starts a VM."""

    tag = "CreateVm"
    dry_run: bool = field(default=False, init=False)
    pool: str | None = None
    spec: Spec
    pins: tuple[Pin, ...] = ()
    groups: tuple[GroupRef, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TryCreateVm(Verb[model.Placement]):
    """Where ``CreateVm`` would put it now; nothing is done."""

    tag = "CreateVm"
    reply = model.Placement
    changes = True
    dry_run: bool = field(default=True, init=False)
    pool: str | None = None
    spec: Spec
    pins: tuple[Pin, ...] = ()
    groups: tuple[GroupRef, ...] = ()


@dataclass(frozen=True, kw_only=True)
class CreateVms(TaskVerb):
    """Defines, places together and starts many VMs: all, or ``partial``."""

    tag = "CreateVms"
    dry_run: bool = field(default=False, init=False)
    partial: bool | None = None
    vms: tuple[NewVm, ...] = ()


@dataclass(frozen=True, kw_only=True)
class TryCreateVms(Verb[model.Placements]):
    """Where ``CreateVms`` would put them now; nothing is done."""

    tag = "CreateVms"
    reply = model.Placements
    changes = True
    dry_run: bool = field(default=True, init=False)
    partial: bool | None = None
    vms: tuple[NewVm, ...] = ()


@dataclass(frozen=True, kw_only=True)
class StartVm(_OneVm):
    tag = "StartVm"


@dataclass(frozen=True, kw_only=True)
class PauseVm(_OneVm):
    """Stops the vCPUs; the guest does not know."""

    tag = "PauseVm"


@dataclass(frozen=True, kw_only=True)
class UnpauseVm(_OneVm):
    tag = "UnpauseVm"


@dataclass(frozen=True, kw_only=True)
class ShutdownVm(_OneVmInTime):
    tag = "ShutdownVm"


@dataclass(frozen=True, kw_only=True)
class RebootVm(_OneVmInTime):
    tag = "RebootVm"


@dataclass(frozen=True, kw_only=True)
class SuspendVm(_OneVmInTime):
    """The guest suspends by itself; its memory stays on its host."""

    tag = "SuspendVm"


@dataclass(frozen=True, kw_only=True)
class ResumeVm(_OneVm):
    tag = "ResumeVm"


@dataclass(frozen=True, kw_only=True)
class SaveVm(TaskVerb):
    """Writes the memory to ``path`` on its host, where nothing may be; ``Xl``: as ``xl save`` does, in the clear."""

    tag = "SaveVm"
    vm: str
    path: str
    format: model.SavedFormat | None = None
    wait_ms_max: int = WAIT_MS_MAX


@dataclass(frozen=True, kw_only=True)
class RestoreVm(TaskVerb):
    """``path``: where it was saved to."""

    tag = "RestoreVm"
    vm: str
    path: str | None = None


@dataclass(frozen=True, kw_only=True)
class DiscardSaved(Verb[model.Done]):
    """A saved VM becomes an ordinary stopped one; the file stays."""

    tag = "DiscardSaved"
    reply = model.Done
    changes = True
    vm: str


@dataclass(frozen=True, kw_only=True)
class DestroyVm(_OneVm):
    """Takes a VM off its host at once, without asking the guest."""

    tag = "DestroyVm"


@dataclass(frozen=True, kw_only=True)
class DeleteVm(Verb[model.Done]):
    """Forgets a stopped VM."""

    tag = "DeleteVm"
    reply = model.Done
    changes = True
    vm: str


# A VM that changes.


@dataclass(frozen=True, kw_only=True)
class SetVcpus(TaskVerb):
    """The task's ``vcpus`` says how far the guest came."""

    tag = "SetVcpus"
    vm: str
    vcpus: int
    wait_ms_max: int = WAIT_MS_MAX


@dataclass(frozen=True, kw_only=True)
class SetMemory(TaskVerb):
    """The task's ``memory`` says how far the guest came."""

    tag = "SetMemory"
    vm: str
    memory_kib: int
    wait_ms_max: int = WAIT_MS_MAX


@dataclass(frozen=True, kw_only=True)
class AttachDisk(TaskVerb):
    tag = "AttachDisk"
    vm: str
    wait_ms_max: int = WAIT_MS_MAX
    disk: Disk


@dataclass(frozen=True, kw_only=True)
class DetachDisk(TaskVerb):
    """``force`` takes it although the guest holds it: writes are lost."""

    tag = "DetachDisk"
    vm: str
    device: str
    wait_ms_max: int = WAIT_MS_MAX
    force: bool | None = None


@dataclass(frozen=True, kw_only=True)
class ResizeDisk(TaskVerb):
    """Larger only; a multiple of 512."""

    tag = "ResizeDisk"
    vm: str
    device: str
    size_bytes: int
    wait_ms_max: int = WAIT_MS_MAX


@dataclass(frozen=True, kw_only=True)
class AttachNic(TaskVerb):
    tag = "AttachNic"
    vm: str
    wait_ms_max: int = WAIT_MS_MAX
    nic: Nic


@dataclass(frozen=True, kw_only=True)
class DetachNic(TaskVerb):
    """``force`` takes it although the guest holds it."""

    tag = "DetachNic"
    vm: str
    index: int
    wait_ms_max: int = WAIT_MS_MAX
    force: bool | None = None


@dataclass(frozen=True, kw_only=True)
class RenameVm(TaskVerb):
    tag = "RenameVm"
    vm: str
    name: str


@dataclass(frozen=True, kw_only=True)
class ConfigureVm(TaskVerb):
    """What is None stays as it was; something must be said."""

    tag = "ConfigureVm"
    vm: str
    memory_min_kib: int | None = None
    scheduling: Scheduling | None = None
    on_event: OnEvent | None = None
    autostart: Autostart | None = None


# Looking.


@dataclass(frozen=True, kw_only=True)
class ShowVm(Verb[model.Vm]):
    tag = "ShowVm"
    reply = model.Vm
    vm: str


@dataclass(frozen=True, kw_only=True)
class ListVms(_List, Verb[model.Vms]):
    """A page; ``Client.vms`` asks for one after the other.

    ``after``: from the first. ``count_max``: 1000, and never more.
    """

    tag = "ListVms"
    reply = model.Vms


@dataclass(frozen=True, kw_only=True)
class LabelVm(Verb[model.Done]):
    """What is None stays as it was; something must be said."""

    tag = "LabelVm"
    reply = model.Done
    changes = True
    vm: str
    folder: str | None = None
    notes: str | None = None
    add: tuple[Add, ...] = ()
    remove: tuple[Remove, ...] = ()


@dataclass(frozen=True, kw_only=True)
class PinVm(TaskVerb):
    """The only hosts that it may be on; none: any of its pool."""

    tag = "PinVm"
    vm: str
    pins: tuple[Pin, ...] = ()


# Groups of VMs.


@dataclass(frozen=True, kw_only=True)
class DefineGroup(TaskVerb):
    """Makes it, or changes it and who is in it; a new one needs a rule."""

    tag = "DefineGroup"
    group: str
    new_name: str | None = None
    rule: GroupKind | None = None
    soft: bool | None = None
    notes: str | None = None
    add: tuple[AddVm, ...] = ()
    remove: tuple[RemoveVm, ...] = ()


@dataclass(frozen=True, kw_only=True)
class RemoveGroup(Verb[model.Done]):
    """Its VMs stay where they are."""

    tag = "RemoveGroup"
    reply = model.Done
    changes = True
    group: str


@dataclass(frozen=True, kw_only=True)
class ListGroups(_List, Verb[model.Groups]):
    tag = "ListGroups"
    reply = model.Groups


@dataclass(frozen=True, kw_only=True)
class ShowGroup(Verb[model.Group]):
    tag = "ShowGroup"
    reply = model.Group
    group: str


@dataclass(frozen=True, kw_only=True)
class ListLabels(Verb[model.Labels]):
    """The tags and folders in use."""

    tag = "ListLabels"
    reply = model.Labels


@dataclass(frozen=True, kw_only=True)
class ReadConsole(Verb[model.ConsoleText]):
    """The latest bytes that the guest wrote."""

    tag = "ReadConsole"
    reply = model.ConsoleText
    vm: str
    bytes_max: int = 65_536


@dataclass(frozen=True, kw_only=True)
class GetVmStats(Verb[model.VmStats]):
    tag = "GetVmStats"
    reply = model.VmStats
    vm: str


# Tasks.


@dataclass(frozen=True, kw_only=True)
class ListTasks(Verb[model.Tasks]):
    """What is said must hold for each. ``after`` is the last ``next``."""

    tag = "ListTasks"
    reply = model.Tasks
    after: str | None = None
    count_max: int | None = None
    state: model.TaskState | None = None
    over: bool | None = None
    vm: str | None = None
    host: str | None = None
    initiator: str | None = None
    since_ms: int | None = None
    parent: str | None = None


@dataclass(frozen=True, kw_only=True)
class WaitTask(Verb[Task]):
    """Answers when the task is over, or after ``wait_ms_max``."""

    tag = "WaitTask"
    reply = Task
    task: str
    wait_ms_max: int = WAIT_MS_MAX


@dataclass(frozen=True, kw_only=True)
class CancelTask(TaskVerb):
    tag = "CancelTask"
    task: str


@dataclass(frozen=True, kw_only=True)
class ListOrphans(Verb[model.Orphans]):
    tag = "ListOrphans"
    reply = model.Orphans


@dataclass(frozen=True, kw_only=True)
class DestroyOrphan(TaskVerb):
    """For good."""

    tag = "DestroyOrphan"
    host: str
    vm: str


@dataclass(frozen=True, kw_only=True)
class RetryTask(TaskVerb):
    """Asks again for what a task that came to nothing was to do."""

    tag = "RetryTask"
    task: str


@dataclass(frozen=True, kw_only=True)
class BulkVms(TaskVerb):
    """The same with many VMs; the task has a child for each.

    ``directory`` is where ``Save`` puts NAME.save on each host.
    """

    tag = "BulkVms"
    operation: model.BulkOperation
    wait_ms_max: int | None = None
    directory: str | None = None
    vms: tuple[VmRef, ...] = ()


# What changes, and who we are.


@dataclass(frozen=True, kw_only=True)
class WaitEvents(Verb[model.Events]):
    """Answers when something has changed since ``cursor`` (empty at first).

    ``wait_ms_max`` is 55 s at most, ``count_max`` 1000; what is ``False`` is
    left out. ``watch`` keeps the cursor and asks again.
    """

    tag = "WaitEvents"
    reply = model.Events
    cursor: str = ""
    wait_ms_max: int = WAIT_MS_MAX
    count_max: int = 1000
    hosts: bool | None = None
    vms: bool | None = None
    tasks: bool | None = None
    pools: bool | None = None
    sites: bool | None = None
    groups: bool | None = None


@dataclass(frozen=True, kw_only=True)
class RenewCertificate(Verb[model.Certificate]):
    """Signs new keys of the caller; ``signing_request`` is PKCS#10, DER.

    ``Client.renew_certificate`` makes the keys and keeps what comes.
    """

    tag = "RenewCertificate"
    reply = model.Certificate
    signing_request: bytes
