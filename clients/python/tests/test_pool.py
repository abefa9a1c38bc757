# SPDX-License-Identifier: MIT OR Apache-2.0
r"""A whole life of a VM with a real manager.

Say where it is, then run only these:

    XVMP_MANAGER=HOST:PORT XVMP_CREDENTIALS=DIR XVMP_TOKEN=TOKEN \
        pytest -m pool

The principal must be an operator at least. The token is of the same manager,
and nobody has used it; without one, one test fails. Kernel and disk are files
on the hosts: XVMP_KERNEL and XVMP_DISK, or, with the simulated hosts of the
demonstration, ``kernel`` and a disk made here beside the credentials.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from registrar import text

from xvmp import (
    Client,
    Credentials,
    Fault,
    Follower,
    JoinRefused,
    WrongPeer,
    certify,
    codec,
    model,
    verbs,
)
from xvmp.join import join
from xvmp.model import Phase
from xvmp.watch import Thing

pytestmark = pytest.mark.pool


NEEDED = {
    "XVMP_MANAGER": "these tests need a manager, HOST:PORT",
    "XVMP_CREDENTIALS": "these tests need a credentials directory",
    "XVMP_TOKEN": "this test needs an invitation that nobody has used",
}


def needed(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        pytest.fail(f"set {name}: {NEEDED[name]}", pytrace=False)
    return value


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    address = needed("XVMP_MANAGER")
    credentials = Credentials.load(needed("XVMP_CREDENTIALS"))
    with Client(address, credentials) as talking:
        yield talking


@pytest.fixture(scope="module")
def kernel() -> str:
    beside = Path(needed("XVMP_CREDENTIALS")).parent / "kernel"
    return os.environ.get("XVMP_KERNEL", str(beside))


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> str:
    if "XVMP_DISK" in os.environ:
        return os.environ["XVMP_DISK"]
    path = tmp_path_factory.mktemp("disk") / "disk.img"
    path.write_bytes(bytes(512))
    return str(path)


@pytest.fixture(scope="module")
def spec(kernel: str) -> model.Spec:
    return model.Spec(
        name=f"python-{uuid.uuid4().hex[:8]}",
        vcpus=1,
        vcpus_max=4,
        memory_kib=131_072,
        memory_max_kib=524_288,
        kernel=kernel,
    )


@pytest.fixture(scope="module")
def vm(client: Client, spec: model.Spec) -> Iterator[str]:
    """A running VM; afterwards it is gone, whatever became of it."""
    client.carry_out(verbs.CreateVm(spec=spec))
    yield spec.name
    try:
        if client.call(verbs.ShowVm(vm=spec.name)).host:
            client.carry_out(verbs.DestroyVm(vm=spec.name))
        client.call(verbs.DeleteVm(vm=spec.name))
    except Fault as fault:
        if fault.code not in ("UnknownVm", "BadState"):
            raise


def test_hosts_are_listed(client: Client) -> None:
    hosts = client.call(verbs.ListHosts()).hosts
    assert any(host.health is model.Health.UP for host in hosts)
    assert all(host.facts for host in hosts if host.heard_ms_ago is not None)
    stats = client.call(verbs.GetHostStats(host=hosts[0].name))
    assert stats.memory_total_kib > 0 and stats.pcpus


def test_a_dry_run_does_nothing(client: Client, spec: model.Spec) -> None:
    placement = client.call(verbs.TryCreateVm(spec=spec))
    chosen = {
        each.host for each in placement.candidates if each.eligible
    }
    assert placement.chosen in chosen
    names = [vm.spec.name for vm in client.call(verbs.ListVms()).vms]
    assert spec.name not in names


def test_it_runs_as_defined(
    client: Client, vm: str, spec: model.Spec
) -> None:
    shown = client.call(verbs.ShowVm(vm=vm))
    assert shown.phase is Phase.RUNNING and shown.host
    assert (shown.spec.name, shown.spec.kernel) == (vm, spec.kernel)
    assert shown.vm in [each.vm for each in client.call(verbs.ListVms()).vms]


def test_vcpus_grow_while_it_runs(client: Client, vm: str) -> None:
    task = client.carry_out(verbs.SetVcpus(vm=vm, vcpus=3))
    assert task.vcpus and (task.vcpus.asked, task.vcpus.online) == (3, 3)
    stats = client.call(verbs.GetVmStats(vm=vm))
    assert sum(vcpu.online for vcpu in stats.vcpus) == 3


def test_memory_grows_while_it_runs(client: Client, vm: str) -> None:
    before = client.call(verbs.GetVmStats(vm=vm)).memory_kib
    task = client.carry_out(verbs.SetMemory(vm=vm, memory_kib=262_144))
    assert task.memory and task.memory.asked_kib == 262_144
    assert task.memory.reached_kib >= 262_144
    assert client.call(verbs.GetVmStats(vm=vm)).memory_kib > before


def test_a_disk_comes_and_goes(client: Client, vm: str, disk: str) -> None:
    client.carry_out(verbs.AttachDisk(
        vm=vm, disk=model.Disk(path=disk, device="xvdb")
    ))
    disks = client.call(verbs.ShowVm(vm=vm)).spec.disks
    assert [(each.device, each.path) for each in disks] == [("xvdb", disk)]
    client.carry_out(verbs.DetachDisk(vm=vm, device="xvdb"))
    assert client.call(verbs.ShowVm(vm=vm)).spec.disks == ()


def test_a_watcher_sees_it_pause_and_go_on(client: Client, vm: str) -> None:
    follower = Follower(client, hosts=False, tasks=False)
    while not any(named(each, vm) for each in follower.known):
        follower.step()
    client.carry_out(verbs.PauseVm(vm=vm))
    assert Phase.PAUSED in phases_until(follower, vm, Phase.PAUSED)
    client.carry_out(verbs.UnpauseVm(vm=vm))
    assert Phase.RUNNING in phases_until(follower, vm, Phase.RUNNING)


def phases_until(follower: Follower, name: str, last: Phase) -> list[Phase]:
    seen: list[Phase] = []
    end_s = time.monotonic() + 60
    while last not in seen and time.monotonic() < end_s:
        for change in follower.step():
            if isinstance(change.after, model.Vm) and named(
                change.after, name
            ):
                seen.append(change.after.phase)
    return seen


def named(thing: Thing, name: str) -> bool:
    return isinstance(thing, model.Vm) and thing.spec.name == name


def test_a_change_comes_while_the_watcher_waits(
    client: Client, vm: str
) -> None:
    follower = Follower(client, hosts=False, tasks=False)
    while not any(named(each, vm) for each in follower.known):
        follower.step()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(phases_until, follower, vm, Phase.PAUSED)
        client.carry_out(verbs.PauseVm(vm=vm))
        assert Phase.PAUSED in waiting.result(60)
    client.carry_out(verbs.UnpauseVm(vm=vm))


def test_everything_is_told_in_pages(client: Client, vm: str) -> None:
    whole = Follower(client)
    whole.step()
    pages = Follower(client, count_max=1)
    for _ in range(10 * len(whole.known)):
        pages.step()
        if len(pages.known) >= len(whole.known):
            break
    assert {type(each) for each in pages.known} == {
        model.Host, model.Vm, model.Task
    }
    assert len(pages.known) >= len(whole.known)


def test_after_a_restart_everything_is_told_again(
    client: Client, vm: str
) -> None:
    """To the manager, a cursor of nobody's is one from before a restart."""
    follower = Follower(client, tasks=False)
    follower.step()
    before = {each for each in follower.known if isinstance(each, model.Vm)}
    follower._cursor = "0123456789abcdef.1.0"
    assert follower.step() == []
    assert before <= set(follower.known)
    assert not follower._cursor.startswith("0123456789abcdef")


def test_vms_are_listed_in_pages(client: Client, vm: str) -> None:
    names = [each.spec.name for each in client.vms()]
    assert vm in names and names == sorted(names)
    first = client.call(verbs.ListVms(count_max=1))
    assert [each.spec.name for each in first.vms] == names[:1]
    if first.next is not None:
        rest = client.call(verbs.ListVms(after=first.next))
        assert [each.spec.name for each in rest.vms] == names[1:]


def test_what_is_not_known_in_a_verb_is_refused(client: Client) -> None:
    element = codec.write(verbs.Ping(text="a"))
    element.set("unknown", "attribute")
    with pytest.raises(Fault) as raised:
        client.call_element(element)
    assert raised.value.code == "BadRequest"


def test_a_certificate_is_renewed(client: Client, tmp_path: Path) -> None:
    """In a copy of the directory: the runner's own stays as it is."""
    copy = tmp_path / "credentials"
    copy.mkdir(mode=0o700)
    for name in ("ca.pem", "cert.pem", "key.pem", "inner.key"):
        shutil.copy(Path(needed("XVMP_CREDENTIALS")) / name, copy / name)
    before = Credentials.load(copy)
    with Client(needed("XVMP_MANAGER"), before) as renewing:
        after = renewing.renew_certificate()
        assert renewing.call(verbs.Ping(text="new")).text == "new"
    assert after.identity.principal == before.identity.principal
    assert after.identity.inner_key != before.identity.inner_key
    assert after.valid_until >= before.valid_until
    with Client(needed("XVMP_MANAGER"), Credentials.load(copy)) as again:
        assert again.call(verbs.Ping(text="again")).text == "again"


def test_a_token_becomes_credentials(tmp_path: Path) -> None:
    """XVMP_TOKEN is good once: for the first directory, and no other."""
    address, token = needed("XVMP_MANAGER"), needed("XVMP_TOKEN")
    credentials = join(address, token, tmp_path / "first")
    with Client(address, credentials) as joined:
        assert joined.call(verbs.Ping(text="joined")).text == "joined"
    assert sorted(each.name for each in (tmp_path / "first").iterdir()) == [
        "ca.pem", "cert.pem", "inner.key", "key.pem"
    ]
    with pytest.raises(Fault) as raised:
        join(address, token, tmp_path / "second")
    assert raised.value.code == "Denied"


def test_an_invented_token_is_refused(
    client: Client, tmp_path: Path
) -> None:
    client.call(verbs.Ping(text="a"))
    authority = client.credentials.authority
    pin = hashlib.sha256(certify.spki(authority)).digest()
    token = f"xvmpj1.{'0' * 16}.{text(os.urandom(32))}.{text(pin)}"
    with pytest.raises(JoinRefused):
        join(needed("XVMP_MANAGER"), token, tmp_path / "nobody")
    other = f"xvmpj1.{'0' * 16}.{text(bytes(32))}.{text(os.urandom(32))}"
    with pytest.raises(WrongPeer):
        join(needed("XVMP_MANAGER"), other, tmp_path / "nobody")


def test_the_same_key_does_it_once(client: Client, vm: str) -> None:
    idem = str(uuid.uuid4())
    verb = verbs.SetVcpus(vm=vm, vcpus=2)
    first = client.carry_out(verb, idem=idem)
    client.renew_session()
    again = client.call(verb, idem=idem)
    assert again.task == first.task
    with pytest.raises(Fault) as raised:
        client.call(verbs.SetVcpus(vm=vm, vcpus=1), idem=idem)
    assert raised.value.code == "IdempotencyMismatch"


def test_a_task_is_listed_and_waited_for(client: Client, vm: str) -> None:
    task = client.call(verbs.SetVcpus(vm=vm, vcpus=1))
    assert client.wait(task).state is model.TaskState.DONE
    listed = client.call(verbs.ListTasks()).tasks
    assert task.task in [each.task for each in listed]


def test_the_console_is_read(client: Client, vm: str) -> None:
    text = client.call(verbs.ReadConsole(vm=vm, bytes_max=4096))
    assert 0 < len(text.data) <= 4096


def test_the_example_of_the_readme_works(
    client: Client, kernel: str
) -> None:
    text = (Path(__file__).parents[1] / "README.md").read_text()
    example = text.split("```python\n")[1].split("```")[0]
    name = f"python-{uuid.uuid4().hex[:8]}"
    for old, new in {
        "manager.example:7400": needed("XVMP_MANAGER"),
        '"operator"': repr(needed("XVMP_CREDENTIALS")),
        "/boot/guest": kernel,
        '"web"': repr(name),
        "create web, 1": f"create {name}",
    }.items():
        assert old in example
        example = example.replace(old, new)
    exec(compile(example, "README.md", "exec"), {})


def test_an_unknown_vm_is_a_fault(client: Client) -> None:
    with pytest.raises(Fault) as raised:
        client.call(verbs.StartVm(vm="there-is-none"))
    fault = raised.value
    assert (fault.code, fault.hop) == ("UnknownVm", "manager")
    assert not fault.retryable and fault.message


def test_a_task_that_fails_raises_its_fault(client: Client, vm: str) -> None:
    disk = model.Disk(path="/there/is/none", device="xvdc")
    with pytest.raises(Fault) as raised:
        client.carry_out(verbs.AttachDisk(vm=vm, disk=disk))
    assert raised.value.code == "FileNotFound"
    assert raised.value.hop.startswith("agent")


def test_a_session_is_renewed(client: Client) -> None:
    client.call(verbs.Ping(text="a"))
    before = client.session_id
    client.renew_session()
    client.call(verbs.Ping(text="b"))
    assert client.session_id not in (None, before)


def test_a_session_that_the_server_forgot_is_opened_anew(
    client: Client,
) -> None:
    client.call(verbs.Ping(text="a"))
    session = client._session
    assert session is not None
    # To the server, a session that it does not know is one it forgot.
    forgotten = "0" * 32
    session._channel.session = forgotten
    assert client.call(verbs.Ping(text="b")).text == "b"
    assert client.session_id not in (None, forgotten)


def test_threads_share_a_client(client: Client) -> None:
    def ping(number: int) -> str:
        if number % 10 == 0:
            client.renew_session()
        return client.call(verbs.Ping(text=str(number))).text

    with ThreadPoolExecutor(8) as threads:
        texts = list(threads.map(ping, range(60)))
    assert texts == [str(number) for number in range(60)]


def test_any_text_comes_back(client: Client) -> None:
    text = 'a<&>"\'\t\n\r\u20ac\U0001f600'
    assert client.call(verbs.Ping(text=text)).text == text


def test_it_is_destroyed_and_deleted(client: Client, vm: str) -> None:
    with pytest.raises(Fault) as raised:
        client.call(verbs.DeleteVm(vm=vm))
    assert raised.value.code == "BadState"
    client.carry_out(verbs.DestroyVm(vm=vm))
    shown = client.call(verbs.ShowVm(vm=vm))
    assert shown.phase is Phase.DESTROYED and shown.host is None
    client.call(verbs.DeleteVm(vm=vm))
    with pytest.raises(Fault) as raised:
        client.call(verbs.ShowVm(vm=vm))
    assert raised.value.code == "UnknownVm"
