# SPDX-License-Identifier: MIT OR Apache-2.0
"""Mutual TLS 1.3 and HTTP/1.1: documents there and back, nothing of inside.

A connection is verified before the first byte of ours: the chain and dates by
TLS, the principal and inner key by ``verify_server``. It is lent to one
caller at a time and kept open in between. http.client never reconnects on its
own here; it would skip the verification.

It fails by ``WrongPeer``, by ``ConnectionLost`` (``maybe_done`` unless nothing
was sent) and by ``DeadlinePassed``. A status is no failure here; the caller
knows what each means.
"""

from __future__ import annotations

import http.client
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from threading import Lock

from .credentials import Credentials, Identity, verify_server
from .faults import (
    BadMessage,
    ConnectionLost,
    DeadlinePassed,
    HttpRefused,
)
from .gate import MESSAGE
from .keys import CONTENT_TYPE

#: The server's identity from its certificate (DER), or ``WrongPeer``.
Accept = Callable[[bytes | None], Identity]

#: How often a request is sent again, for whatever reason.
AGAIN_MAX = 3

_ALPN = "http/1.1"
_IDLE_MAX = 8
#: A server closes what has been idle for 10 s; sending into that leaves open
#: whether it arrived.
_IDLE_S_MAX = 8.0
_CHUNK_BYTES = 64 << 10


@dataclass(frozen=True)
class Deadline:
    """A point of the monotonic clock."""

    at_s: float

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        return cls(time.monotonic() + seconds)

    def remaining_s(self, *, maybe_done: bool) -> float:
        """More than 0, or ``DeadlinePassed``."""
        remaining = self.at_s - time.monotonic()
        if remaining <= 0:
            raise DeadlinePassed("no time is left", maybe_done=maybe_done)
        return remaining


@dataclass(frozen=True)
class Answer:
    """What HTTP says; ``retry_after_s`` is 1 where the server names none."""

    status: int
    content_type: str
    retry_after_s: float
    body: bytes


class Connection:
    """One verified connection; for one thread at a time."""

    def __init__(
        self,
        address: tuple[str, int],
        context: ssl.SSLContext,
        alpn: str,
        accept: Accept,
        deadline: Deadline,
    ) -> None:
        timeout = deadline.remaining_s(maybe_done=False)
        self._http = http.client.HTTPSConnection(
            *address, timeout=timeout, context=context
        )
        try:
            self._http.connect()
            self._http.auto_open = 0
            self.server = self._verify(alpn, accept)
        except OSError as error:
            self.close()
            raise ConnectionLost(
                f"cannot connect to {address[0]}:{address[1]}: {error}",
                maybe_done=False,
            ) from error
        except Exception:
            self.close()
            raise

    def _verify(self, alpn: str, accept: Accept) -> Identity:
        tls = self._http.sock
        if not isinstance(tls, ssl.SSLSocket):
            raise ConnectionLost("this is not TLS", maybe_done=False)
        if tls.selected_alpn_protocol() != alpn:
            raise ConnectionLost(
                f"the server does not speak {alpn}", maybe_done=False
            )
        return accept(tls.getpeercert(binary_form=True))

    @property
    def usable(self) -> bool:
        return self._http.sock is not None

    def post(self, path: str, body: bytes, deadline: Deadline) -> Answer:
        """Sends a document and reads the answer, at most 8 MiB of it."""
        try:
            self._wait_until(deadline, maybe_done=False)
            headers = {"Content-Type": CONTENT_TYPE}
            self._http.request("POST", path, body, headers)
            self._wait_until(deadline)
            answer = self._http.getresponse()
            return Answer(
                answer.status,
                answer.getheader("Content-Type", ""),
                _retry_after_s(answer.getheader("Retry-After", "")),
                self._read(answer, deadline),
            )
        except TimeoutError as error:
            raise DeadlinePassed(
                "the server has not answered in time", maybe_done=True
            ) from error
        except (OSError, http.client.HTTPException) as error:
            raise ConnectionLost(
                f"the connection broke: {error or type(error).__name__}",
                maybe_done=True,
            ) from error

    def _read(
        self, answer: http.client.HTTPResponse, deadline: Deadline
    ) -> bytes:
        body = bytearray()
        while chunk := answer.read(_CHUNK_BYTES):
            body += chunk
            if len(body) > MESSAGE.document_bytes:
                raise ConnectionLost(
                    "the answer is too large", maybe_done=True
                )
            self._wait_until(deadline)
        return bytes(body)

    def _wait_until(
        self, deadline: Deadline, *, maybe_done: bool = True
    ) -> None:
        remaining = deadline.remaining_s(maybe_done=maybe_done)
        if self._http.sock is not None:
            self._http.sock.settimeout(remaining)

    def close(self) -> None:
        self._http.close()


class Transport:
    """Verified connections to one server; may be used by several threads."""

    def __init__(
        self, address: str, credentials: Credentials, principal: str
    ) -> None:
        self.credentials = credentials
        self._address = parse_address(address)
        self._accept = partial(verify_server, principal=principal)
        self._retired = False
        self._idle: list[tuple[float, Connection]] = []  # since, s
        self._lock = Lock()

    @contextmanager
    def connection(self, deadline: Deadline) -> Iterator[Connection]:
        """Lends a connection; one that has failed is not lent again."""
        connection = self._take() or Connection(
            self._address,
            self.credentials.tls(),
            _ALPN,
            self._accept,
            deadline,
        )
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        self._keep(connection)

    def close(self) -> None:
        """Closes what nobody uses; also when one was found to be stale."""
        with self._lock:
            idle, self._idle = self._idle, []
        for _, connection in idle:
            connection.close()

    def retire(self) -> None:
        """Closes what nobody uses now, and the others after their use."""
        self._retired = True
        self.close()

    def _take(self) -> Connection | None:
        """The connection that was used last, if that is not long ago."""
        with self._lock:
            if not self._idle:
                return None
            since_s, connection = self._idle.pop()
        if time.monotonic() - since_s < _IDLE_S_MAX:
            return connection
        connection.close()
        self.close()  # all others have been idle for longer
        return None

    def _keep(self, connection: Connection) -> None:
        with self._lock:
            room = len(self._idle) < _IDLE_MAX and not self._retired
            if connection.usable and room:
                self._idle.append((time.monotonic(), connection))
                return
        connection.close()


def parse_address(address: str) -> tuple[str, int]:
    """Host and port of HOST:PORT or [HOST]:PORT; ``ValueError``."""
    host, colon, port = address.rpartition(":")
    if not colon or not host or not (port.isascii() and port.isdigit()):
        raise ValueError(f"{address!r} is not HOST:PORT")
    return host.removeprefix("[").removesuffix("]"), int(port)


def pause(answer: Answer, again: int, deadline: Deadline) -> None:
    """Waits as a 503 says; raises where sending again does not help.

    ``again`` is how often it was sent again already.
    """
    if answer.status != 503 or again >= AGAIN_MAX:
        raise HttpRefused(answer.status)
    left_s = deadline.remaining_s(maybe_done=False)
    if answer.retry_after_s >= left_s:
        raise DeadlinePassed(
            f"the server has too much to do for {answer.retry_after_s:g} s",
            maybe_done=False,
        )
    time.sleep(answer.retry_after_s)


def typed(answer: Answer) -> Answer:
    """The answer, if a document came with it that says what it is."""
    if answer.status == 200 and answer.content_type != CONTENT_TYPE:
        raise BadMessage
    return answer


def _retry_after_s(text: str) -> float:
    return float(text) if text.isascii() and text.isdigit() else 1.0
