# SPDX-License-Identifier: MIT OR Apache-2.0
"""One call, from a verb to its reply, with all that happens in between.

    verb -> element -> Request -> sealed -> POST -> opened -> reply | Fault

What the client does by itself, and how often (section 2):

* 400: opens a new session and sends again, once.
* 503: waits as told and sends again, while the deadline lasts; with all
  other reasons to do so, three times at most.
* A broken connection: sends again, once. That is safe because a verb either
  changes nothing or carries ``idem``, and doing it twice does it once.
* A session three quarters used: opens a new one first.
* Half of the time of a user's certificate over: has it renewed first, and
  begins anew with it. If that fails, the call goes on with the old one; it is
  tried again ten minutes later.

A request that is sent again keeps its id and ``idem`` and takes a new number.
All else is the caller's: a ``Fault`` is raised, also a retryable one. A reply
that is not genuine is a ``BadMessage``, and the outcome is open: call again
with the same ``idem``.
"""

from __future__ import annotations

import datetime
import logging
import secrets
import time
import uuid
from collections.abc import Iterator
from itertools import count
from threading import Lock
from types import TracebackType
from typing import TypeVar, cast

from lxml import etree

from . import certify, codec, keys, store
from .certify import NewKeys
from .credentials import MANAGER, Credentials
from .faults import (
    ConnectionLost,
    CredentialsError,
    DeadlinePassed,
    Fault,
    SessionRefused,
    TransportError,
    UnexpectedReply,
    WrongPeer,
    XvmpError,
)
from .gate import NAMESPACE
from .model import Certificate, Task, TaskFault, TaskState, Vm
from .session import OPEN_PATH, Handshake, Session
from .transport import Answer, Deadline, Transport, pause, typed
from .verbs import ListVms, RenewCertificate, Verb, WaitTask

Reply = TypeVar("Reply")

#: How long a call waits if its caller does not say.
TIMEOUT_S = 30.0
#: A server honours no more.
TIMEOUT_S_MAX = 600.0
#: How long one WaitTask may be held by the manager.
_WAIT_STEP_S = 20.0
#: Between one WaitTask and the next.
_WAIT_PAUSE_S = 0.1
#: What a reply may take to travel, beyond what the server was told.
_TRAVEL_S = 5.0
#: How long a call may be delayed by a renewal of the certificate.
_RENEWAL_S_MAX = 10.0
#: Between a renewal that has failed and the next attempt.
_RENEWAL_PAUSE_S = 600.0

_log = logging.getLogger("xvmp")


class Client:
    """Speaks with one manager as one principal, from any thread.

    ``address`` is HOST:PORT; ``server`` the principal that must answer there.
    With ``renews`` it sees to it that the certificate in the credentials
    directory does not run out.
    """

    def __init__(
        self,
        address: str,
        credentials: Credentials,
        server: str = MANAGER,
        *,
        renews: bool = True,
    ) -> None:
        self._address = address
        self._server = server
        self._transport = Transport(address, credentials, server)
        self._session: Session | None = None
        self._lock = Lock()
        self._renews = renews
        self._renewing = Lock()
        self._renewal_not_before_s = 0.0  # monotonic

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connections and forgets the session."""
        self._transport.close()
        self.renew_session()

    def call(
        self,
        verb: Verb[Reply],
        *,
        idem: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> Reply:
        """Carries out a verb and returns its reply; raises its ``Fault``.

        ``ValueError`` when the verb cannot be sent: too large, a number that
        does not fit.

        ``idem`` (1 to 128 bytes) names a change, so that calling again does
        not do it again; without it each call is a change of its own.
        ``timeout_s`` is how long the manager may take, at most 600; five
        seconds are added for the way of its answer.
        """
        if verb.changes and idem is None:
            idem = str(uuid.uuid4())
        element = codec.write(verb)
        reply = self.call_element(element, idem=idem, timeout_s=timeout_s)
        return cast(Reply, codec.read(verb.reply, reply))

    def call_element(
        self,
        element: etree._Element,
        *,
        idem: str | None = None,
        timeout_s: float = TIMEOUT_S,
    ) -> etree._Element:
        """Like ``call``, for verbs without a class: elements both ways.

        The element is in the namespace ``urn:smps-vmm:xvmp:1``. A changing
        verb needs ``idem``; none is made here.
        """
        deadline = Deadline.after(min(timeout_s, TIMEOUT_S_MAX))
        self._renew_if_due(deadline)
        return self._ask(element, idem, deadline)

    def _ask(
        self, element: etree._Element, idem: str | None, deadline: Deadline
    ) -> etree._Element:
        """What an element is answered with; raises its ``Fault``."""
        reply = self._exchange(element, idem, deadline)
        if reply.tag == f"{{{NAMESPACE}}}Fault":
            raise codec.read(TaskFault, reply).error()
        return reply

    def vms(self, *, timeout_s: float = TIMEOUT_S) -> Iterator[Vm]:
        """All VMs in order of name, page after page.

        ``timeout_s`` is for each page. A VM that is renamed meanwhile may be
        missing; none comes twice.
        """
        seen: set[str] = set()
        after: str | None = None
        while True:
            page = self.call(ListVms(after=after), timeout_s=timeout_s)
            for vm in page.vms:
                if vm.vm not in seen:
                    seen.add(vm.vm)
                    yield vm
            if page.next is None:
                return
            if page.next == after:
                raise UnexpectedReply("the next page is this one")
            after = page.next

    def wait(self, task: Task, *, timeout_s: float = 300.0) -> Task:
        """The task when it is over; raises its ``Fault`` if it is not done.

        ``DeadlinePassed`` says only that we wait no longer: it goes on.
        """
        deadline = Deadline.after(timeout_s)
        while not task.over:
            left_s = deadline.remaining_s(maybe_done=True)
            step_s = min(left_s, _WAIT_STEP_S)
            verb = WaitTask(task=task.task, wait_ms_max=int(step_s * 1000))
            task = self.call(verb, timeout_s=step_s + TIMEOUT_S)
            if not task.over:
                # A manager may answer sooner than asked; do not hurry it.
                time.sleep(min(left_s, _WAIT_PAUSE_S))
        if task.state is TaskState.DONE:
            return task
        if task.fault is not None:
            raise task.fault.error()
        raise Fault(task.state, "manager", False, f"{task.verb}: {task.step}")

    def carry_out(
        self,
        verb: Verb[Task],
        *,
        idem: str | None = None,
        timeout_s: float = 300.0,
    ) -> Task:
        """``call`` and ``wait`` in one."""
        task = self.call(verb, idem=idem, timeout_s=min(timeout_s, TIMEOUT_S))
        return self.wait(task, timeout_s=timeout_s)

    def renew_session(self) -> None:
        """The next call opens a new session; calls under way go on."""
        with self._lock:
            self._session = None

    @property
    def credentials(self) -> Credentials:
        """Those that the next connection is made with."""
        return self._transport.credentials

    def renew_certificate(
        self, *, timeout_s: float = TIMEOUT_S
    ) -> Credentials:
        """New keys and a new certificate, now, in the same directory.

        Calls under way go on with the old ones. ``WrongPeer`` when the
        manager answers with something else than what was asked for;
        ``CredentialsError`` when it cannot be written. The old credentials
        stay then.
        """
        with self._renewing:
            return self._renew(Deadline.after(timeout_s))

    def _renew(self, deadline: Deadline) -> Credentials:
        old, new = self.credentials, NewKeys.make()
        verb = RenewCertificate(signing_request=new.signing_request())
        reply = self._ask(codec.write(verb), None, deadline)
        renewed = codec.read(Certificate, reply).certificate
        identity = certify.granted(renewed, old.authority, new)
        if identity.principal != old.identity.principal:
            raise WrongPeer(f"the new certificate is {identity.principal}'s")
        files = certify.files(renewed, old.authority, new)
        try:
            store.install(old.directory, files)
        except OSError as error:
            raise CredentialsError(f"{old.directory}: {error}") from error
        credentials = Credentials.load(old.directory)
        transport = Transport(self._address, credentials, self._server)
        with self._lock:
            retired, self._transport = self._transport, transport
            self._session = None
        retired.retire()
        return credentials

    def _renew_if_due(self, deadline: Deadline) -> None:
        """Unless another thread does so already."""
        if not (self._renews and self._due()):
            return
        if not self._renewing.acquire(blocking=False):
            return
        try:
            if self._due():
                soon = Deadline.after(_RENEWAL_S_MAX)
                self._renew(min(soon, deadline, key=lambda each: each.at_s))
        except XvmpError as error:
            self._renewal_not_before_s = time.monotonic() + _RENEWAL_PAUSE_S
            _log.warning("the certificate is not renewed yet: %s", error)
        finally:
            self._renewing.release()

    def _due(self) -> bool:
        now = datetime.datetime.now(datetime.UTC)
        return (
            self.credentials.due(now)
            and time.monotonic() >= self._renewal_not_before_s
        )

    @property
    def session_id(self) -> str | None:
        """The session that the next call would use, unless it is old."""
        session = self._session
        return session.id if session else None

    def _exchange(
        self, element: etree._Element, idem: str | None, deadline: Deadline
    ) -> etree._Element:
        message_id = f"m-{secrets.token_hex(16)}"
        reopened = lost = False
        for again in count():
            try:
                session = self._current_session(deadline)
                answer = self._send(
                    session, message_id, element, idem, deadline
                )
                if answer.status == 200:
                    return session.open_response(answer.body, message_id)
                if answer.status == 400 and not reopened:
                    reopened = True
                    self._forget(session)
                    continue
                _back_off(answer, again, deadline)
            except ConnectionLost as error:
                self._transport.close()
                if lost or not error.maybe_done:
                    error.maybe_done |= lost
                    raise
                lost = True
            except TransportError as error:
                error.maybe_done |= lost
                raise
        raise AssertionError("count() has no end")

    def _send(
        self,
        session: Session,
        message_id: str,
        element: etree._Element,
        idem: str | None,
        deadline: Deadline,
    ) -> Answer:
        left_s = deadline.remaining_s(maybe_done=False)
        request = session.seal_request(
            message_id, element, idem, max(1, int(left_s * 1000))
        )
        # The server's own TimedOut says more than ours: let it come.
        late = Deadline(deadline.at_s + _TRAVEL_S)
        with self._transport.connection(late) as connection:
            return typed(connection.post(keys.RPC_PATH, request, late))

    def _current_session(self, deadline: Deadline) -> Session:
        """The session for a new call; one thread opens, the others wait."""
        left_s = deadline.remaining_s(maybe_done=False)
        if not self._lock.acquire(timeout=left_s):
            raise DeadlinePassed("no session yet", maybe_done=False)
        try:
            session = self._session
            if session is None or session.old(time.monotonic()):
                session = self._open_session(deadline)
                self._session = session
            return session
        finally:
            self._lock.release()

    def _open_session(self, deadline: Deadline) -> Session:
        transport = self._transport
        for again in count():
            with transport.connection(deadline) as connection:
                handshake = Handshake(
                    transport.credentials, connection.server
                )
                opened_s = time.monotonic()
                answer = connection.post(
                    OPEN_PATH, handshake.open_session(), deadline
                )
            if answer.status == 200:
                return handshake.finish(typed(answer).body, opened_s)
            _back_off(answer, again, deadline)
        raise AssertionError("count() has no end")

    def _forget(self, session: Session) -> None:
        """Unless another thread has opened a new one already."""
        with self._lock:
            if self._session is session:
                self._session = None


def _back_off(answer: Answer, again: int, deadline: Deadline) -> None:
    """Waits, where that helps; raises, where it does not."""
    if answer.status == 400:
        raise SessionRefused(
            "the server refuses the message, also in a new session",
            maybe_done=False,
        )
    pause(answer, again, deadline)
