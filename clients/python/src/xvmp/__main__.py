# SPDX-License-Identifier: MIT OR Apache-2.0
"""A small command line over the client; each command is one verb.

It ends with 0, with 1 after a fault or when no answer came (the reason stands
on standard error), and with 2 when the command line itself is wrong.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
from collections.abc import Callable, Sequence
from typing import TypeAlias

from . import verbs
from .client import Client
from .credentials import MANAGER, Credentials
from .faults import XvmpError
from .join import join
from .model import Disk, Host, Nic, Spec, Task, Vm
from .verbs import TaskVerb
from .watch import Follower, Thing

Arguments = argparse.Namespace
Command = Callable[[Client, Arguments], None]

_EPILOG = """\
examples (with --manager HOST:PORT --credentials DIR before the command):

  hosts                                   which hosts there are
  create web --kernel /boot/guest --vcpus 1 --vcpus-max 4 \\
         --memory 256M --memory-max 1G --dry-run
                                          where it would go, and why
  vcpus web 2                             two vCPUs, while it runs
  memory web 512M                         half a GiB, while it runs
  attach-disk web xvdb /srv/data.img      one more disk, while it runs
  watch                                   what changes, until Ctrl-C
  join --token TOKEN                      credentials of your own, from a
                                          token; DIR is made

--manager, --credentials and --server may also stand behind the command. A VM
is named by its name or id. Sizes take K, M, G or T (powers of 1024; KiB
without a letter). A change may carry --idem KEY: with the same key it is done
once, however often you call.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; the exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    for needed in ("manager", "credentials"):
        if getattr(given, needed) is None:
            parser.error(f"--{needed} is missing")
    logging.basicConfig(format="xvmp: %(message)s")
    try:
        if given.run is _join:
            _join(given)
            return 0
        credentials = Credentials.load(given.credentials)
        with Client(given.manager, credentials, given.server) as client:
            command: Command = given.run
            command(client, given)
    except KeyboardInterrupt:
        return 0
    except (XvmpError, ValueError) as error:
        print(f"xvmp: {error}", file=sys.stderr)
        return 1
    return 0


def size_kib(text: str) -> int:
    """KiB of ``512``, ``64M``, ``2G``; for argparse."""
    match = re.fullmatch(r"([0-9]{1,12})([KMGT]?)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"{text!r} is no size such as 256M")
    return int(match[1]) << 10 * max(0, "KMGT".find(match[2] or "K"))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m xvmp",
        description="Speak XVMP/1 with a manager of Xen VMs.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    _add_whereabouts(parser)
    parser.set_defaults(manager=None, credentials=None, server=MANAGER)
    commands = parser.add_subparsers(
        title="commands", metavar="COMMAND", required=True
    )
    _add_looking(commands)
    _add_life(commands)
    _add_devices(commands)
    _add_certificates(commands)
    return parser


def _add_whereabouts(parser: argparse.ArgumentParser) -> None:
    """Before the command and behind it; what is not said changes nothing."""
    parser.add_argument(
        "--manager", metavar="HOST:PORT", default=argparse.SUPPRESS
    )
    parser.add_argument(
        "--credentials", metavar="DIR", default=argparse.SUPPRESS,
        help="ca.pem, cert.pem, key.pem and inner.key",
    )
    parser.add_argument(
        "--server", metavar="PRINCIPAL", default=argparse.SUPPRESS,
        help=f"who must answer there (default: {MANAGER})",
    )


Commands: TypeAlias = (
    "argparse._SubParsersAction[argparse.ArgumentParser]"
)


def _add(
    commands: Commands,
    name: str,
    run: Command | Callable[[Arguments], None],
    text: str,
    *positional: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=text, description=text)
    _add_whereabouts(parser)
    for each in positional:
        parser.add_argument(each)
    parser.set_defaults(run=run)
    return parser


def _add_looking(commands: Commands) -> None:
    _add(commands, "list", _list, "the VMs and where they are")
    _add(commands, "hosts", _hosts, "the hosts, and what is left of them")
    _add(commands, "show", _show, "all of one VM", "vm")
    _add(commands, "stats", _stats, "what one VM uses", "vm")
    console = _add(commands, "console", _console, "its last output", "vm")
    console.add_argument("--bytes", type=int, default=65_536)
    _add(commands, "tasks", _tasks, "the latest tasks")
    _add(commands, "wait", _wait, "waits until a task is over", "task")
    _add(commands, "cancel", _cancel, "cancels a task", "task")
    _add(commands, "watch", _watch, "what changes, until Ctrl-C")


def _add_life(commands: Commands) -> None:
    create = _add(commands, "create", _create, "defines and starts a VM")
    create.add_argument("name")
    create.add_argument("--kernel", required=True, help="a path on the host")
    create.add_argument("--initramfs", help="a path on the host")
    create.add_argument("--cmdline", default="")
    create.add_argument("--vcpus", type=int, default=1)
    create.add_argument("--vcpus-max", type=int)
    create.add_argument("--memory", type=size_kib, default=262_144)
    create.add_argument("--memory-max", type=size_kib)
    create.add_argument(
        "--disk", action="append", default=[], metavar="PATH",
        help="on the host; the first becomes xvda, and so on",
    )
    create.add_argument(
        "--dry-run", action="store_true", help="only say where it would go"
    )
    create.add_argument("--idem", help="do it once, however often called")
    for name, (verb, text) in _LIFE.items():
        parser = _add(commands, name, _life(verb), text, "vm")
        parser.add_argument("--idem", help="do it once")
    delete = _add(commands, "delete", _delete, "forgets a stopped VM", "vm")
    delete.add_argument("--idem", help="do it once")


def _add_devices(commands: Commands) -> None:
    vcpus = _add(commands, "vcpus", _vcpus, "sets its vCPUs", "vm")
    vcpus.add_argument("vcpus", type=int)
    memory = _add(commands, "memory", _memory, "sets its memory", "vm")
    memory.add_argument("memory", type=size_kib, metavar="SIZE")
    disk = _add(
        commands, "attach-disk", _attach_disk, "adds a disk", "vm", "device",
        "path",
    )
    disk.add_argument("--read-only", action="store_true")
    less = _add(
        commands, "detach-disk", _detach_disk, "removes one", "vm", "device"
    )
    nic = _add(commands, "attach-nic", _attach_nic, "adds a NIC", "vm")
    nic.add_argument("index", type=int)
    nic.add_argument("mac")
    nic.add_argument("bridge")
    away = _add(commands, "detach-nic", _detach_nic, "removes one", "vm")
    away.add_argument("index", type=int)
    for parser in (less, away):
        parser.add_argument(
            "--force", action="store_true", default=None,
            help="although the guest holds it",
        )
    for parser in (vcpus, memory, disk, less, nic, away):
        parser.add_argument("--idem", help="do it once")


def _add_certificates(commands: Commands) -> None:
    joining = _add(
        commands, "join", _join, "credentials of your own, from a token"
    )
    joining.add_argument(
        "--token", required=True,
        help="what the manager's operator gave you; - reads a line of"
        " standard input, so that nobody sees it in the list of processes",
    )
    _add(
        commands, "renew", _renew,
        "a new certificate, also before half of its time is over",
    )


def _join(given: Arguments) -> None:
    token = sys.stdin.readline().strip() if given.token == "-" else given.token
    _say_who(join(given.manager, token, given.credentials))


def _renew(client: Client, _given: Arguments) -> None:
    _say_who(client.renew_certificate())


def _say_who(credentials: Credentials) -> None:
    print(
        f"{credentials.identity.principal}  until {credentials.valid_until}"
        f"  {credentials.directory}"
    )


def _list(client: Client, _given: Arguments) -> None:
    for vm in client.vms():
        print(_line(vm))


def _hosts(client: Client, _given: Arguments) -> None:
    for host in client.call(verbs.ListHosts()).hosts:
        free = f"{host.load.memory_free_kib >> 10} MiB free" if (
            host.load
        ) else "not heard yet"
        print(f"{_host_line(host)}  {free}")


def _show(client: Client, given: Arguments) -> None:
    vm = client.call(verbs.ShowVm(vm=given.vm))
    print(_line(vm))
    print(f"  id {vm.vm}")
    if vm.reason:
        print(f"  reason {vm.reason}")
    print(f"  kernel {vm.spec.kernel} {vm.spec.cmdline}".rstrip())
    for disk in vm.spec.disks:
        print(f"  disk {disk.device} {disk.path}")
    for nic in vm.spec.nics:
        print(f"  nic {nic.index} {nic.mac} {nic.bridge}")


def _stats(client: Client, given: Arguments) -> None:
    stats = client.call(verbs.GetVmStats(vm=given.vm))
    print(f"cpu      {_rate(stats.cpu_milli, 'thousandths of one')}")
    print(f"memory   {stats.memory_kib} KiB of {stats.memory_max_kib}")
    print(f"disk     {_rate(stats.disk_bytes_per_s, 'bytes/s')}")
    print(f"network  {_rate(stats.network_bytes_per_s, 'bytes/s')}")


def _console(client: Client, given: Arguments) -> None:
    verb = verbs.ReadConsole(vm=given.vm, bytes_max=given.bytes)
    text = client.call(verb).data.decode("utf-8", "replace")
    # What a guest writes must not steer the terminal of who reads it.
    print("".join(
        each if each.isprintable() or each in "\n\t" else "\N{MIDDLE DOT}"
        for each in text.replace("\r\n", "\n")
    ))


def _tasks(client: Client, _given: Arguments) -> None:
    for task in client.call(verbs.ListTasks()).tasks:
        _say(task)


def _wait(client: Client, given: Arguments) -> None:
    task = client.call(verbs.WaitTask(task=given.task, wait_ms_max=0))
    _say(client.wait(task))


def _cancel(client: Client, given: Arguments) -> None:
    _say(client.call(verbs.CancelTask(task=given.task)))


def _watch(client: Client, _given: Arguments) -> None:
    for change in Follower(client, on_trouble=_say_trouble):
        if change.after:
            print(_thing_line(change.after), flush=True)
        elif change.before:
            print(f"{_thing_name(change.before)}  is gone", flush=True)


def _say_trouble(error: XvmpError) -> None:
    print(f"xvmp: {error}; asking again", file=sys.stderr, flush=True)


def _thing_line(thing: Thing) -> str:
    if isinstance(thing, Host):
        return f"host  {_host_line(thing)}"
    if isinstance(thing, Vm):
        return f"vm    {_line(thing)}"
    return f"task  {_task_line(thing)}"


def _thing_name(thing: Thing) -> str:
    if isinstance(thing, Host):
        return f"host  {thing.name}"
    if isinstance(thing, Vm):
        return f"vm    {thing.spec.name}"
    return f"task  {thing.task}"


def _create(client: Client, given: Arguments) -> None:
    spec = _spec(given)
    if not given.dry_run:
        _run(client, verbs.CreateVm(spec=spec), given)
        return
    placement = client.call(verbs.TryCreateVm(spec=spec), idem=given.idem)
    for each in placement.candidates:
        mark = "*" if each.host == placement.chosen else " "
        print(f"{mark} {each.host}  cost {each.cost:.3f}  {each.reason}")


def _spec(given: Arguments) -> Spec:
    return Spec(
        name=given.name,
        vcpus=given.vcpus,
        vcpus_max=given.vcpus_max or given.vcpus,
        memory_kib=given.memory,
        memory_max_kib=given.memory_max or given.memory,
        kernel=given.kernel,
        initramfs=given.initramfs,
        cmdline=given.cmdline,
        disks=tuple(
            Disk(path=path, device=f"xvd{chr(ord('a') + index)}")
            for index, path in enumerate(given.disk)
        ),
    )


def _life(verb: Callable[..., TaskVerb]) -> Command:
    def run(client: Client, given: Arguments) -> None:
        _run(client, verb(vm=given.vm), given)

    return run


_LIFE: dict[str, tuple[Callable[..., TaskVerb], str]] = {
    "start": (verbs.StartVm, "starts a stopped VM"),
    "pause": (verbs.PauseVm, "stops its vCPUs"),
    "unpause": (verbs.UnpauseVm, "lets its vCPUs go on"),
    "shutdown": (verbs.ShutdownVm, "asks the guest to power off"),
    "reboot": (verbs.RebootVm, "asks the guest to reboot"),
    "suspend": (verbs.SuspendVm, "asks the guest to suspend"),
    "resume": (verbs.ResumeVm, "lets a suspended guest go on"),
    "destroy": (verbs.DestroyVm, "takes a VM off its host at once"),
}


def _delete(client: Client, given: Arguments) -> None:
    client.call(verbs.DeleteVm(vm=given.vm), idem=given.idem)
    print(f"{given.vm} is deleted")


def _vcpus(client: Client, given: Arguments) -> None:
    verb = verbs.SetVcpus(vm=given.vm, vcpus=given.vcpus)
    task = _run(client, verb, given)
    if task.vcpus:
        print(f"{task.vcpus.online} online  {task.vcpus.note or ''}".rstrip())


def _memory(client: Client, given: Arguments) -> None:
    verb = verbs.SetMemory(vm=given.vm, memory_kib=given.memory)
    task = _run(client, verb, given)
    if task.memory:
        memory = task.memory
        print(f"{memory.reached_kib} KiB  {memory.note or ''}".rstrip())


def _attach_disk(client: Client, given: Arguments) -> None:
    disk = Disk(
        path=given.path, device=given.device, read_only=given.read_only
    )
    _run(client, verbs.AttachDisk(vm=given.vm, disk=disk), given)


def _detach_disk(client: Client, given: Arguments) -> None:
    verb = verbs.DetachDisk(
        vm=given.vm, device=given.device, force=given.force
    )
    _run(client, verb, given)


def _attach_nic(client: Client, given: Arguments) -> None:
    nic = Nic(index=given.index, mac=given.mac, bridge=given.bridge)
    _run(client, verbs.AttachNic(vm=given.vm, nic=nic), given)


def _detach_nic(client: Client, given: Arguments) -> None:
    verb = verbs.DetachNic(vm=given.vm, index=given.index, force=given.force)
    _run(client, verb, given)


def _run(client: Client, verb: TaskVerb, given: Arguments) -> Task:
    task = client.carry_out(verb, idem=given.idem)
    _say(task)
    return task


def _say(task: Task) -> None:
    print(_task_line(task))


def _task_line(task: Task) -> str:
    why = f"  {task.fault.code}: {task.fault.message}" if task.fault else ""
    return f"{task.task}  {task.verb} {task.vm_name}  {task.state}{why}"


def _host_line(host: Host) -> str:
    away = " (maintenance)" if host.maintenance else ""
    return (
        f"{host.name}  {host.health}{away}  {host.address}"
        f"  {host.vm_count} VMs"
    )


def _line(vm: Vm) -> str:
    return (
        f"{vm.spec.name}  {vm.phase}  {vm.host or '-'}"
        f"  {vm.vcpus_online} vCPUs  {vm.memory_now_kib >> 10} MiB"
        f"{'  (not heard)' if vm.stale else ''}"
    )


def _rate(value: int | None, unit: str) -> str:
    return "not known yet" if value is None else f"{value} {unit}"


if __name__ == "__main__":
    sys.exit(main())
