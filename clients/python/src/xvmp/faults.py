# SPDX-License-Identifier: MIT OR Apache-2.0
"""Everything that this package raises.

A failed call is one of three things, and each wants something else done:

* ``Fault``: the request arrived, and somebody said no. ``code`` says what,
  ``hop`` says where, ``message`` says what to do, and ``retryable`` whether
  the same request makes sense again.
* ``TransportError``: no answer. With ``maybe_done`` the request may have been
  carried out; call again with the same ``idem`` to find out.
* ``BadMessage``, ``CredentialsError``, ``WrongPeer``: what came is not to be
  trusted. ``BadMessage`` always says the same, so that it tells an attacker
  who sees it in a log nothing about how far a forgery got.
"""

from __future__ import annotations


class XvmpError(Exception):
    """The root of all errors here."""


class Fault(XvmpError):
    """A request was refused or failed; this is the peer's own account."""

    def __init__(
        self, code: str, hop: str, retryable: bool, message: str
    ) -> None:
        super().__init__(f"{code} ({hop}): {message}")
        self.code = code
        self.hop = hop
        self.retryable = retryable
        self.message = message


class BadMessage(XvmpError):
    """A document is not exactly what the protocol allows. Never says why."""

    def __init__(self) -> None:
        super().__init__("bad message")


class UnexpectedReply(XvmpError):
    """A genuine answer has another shape than its verb promises."""


class CredentialsError(XvmpError):
    """The credentials directory cannot be used; the text says what to do."""


class WrongPeer(XvmpError):
    """The server's certificate does not name whom we mean to reach."""


class TransportError(XvmpError):
    """No answer came. ``maybe_done``: it may have been carried out."""

    def __init__(self, text: str, *, maybe_done: bool) -> None:
        super().__init__(text)
        self.maybe_done = maybe_done


class ConnectionLost(TransportError):
    """The connection could not be made, or broke."""


class DeadlinePassed(TransportError):
    """The caller's own time was over first."""


class SessionRefused(TransportError):
    """400, also with a new session."""


class JoinRefused(TransportError):
    """400 to an application: the token's secret is not what is known there."""

    def __init__(self) -> None:
        super().__init__(
            "the manager does not know this token; is it complete, of this"
            " manager, and not too old?",
            maybe_done=False,
        )


class HttpRefused(TransportError):
    """A status that repeating does not mend; 500 leaves the outcome open."""

    def __init__(self, status: int) -> None:
        super().__init__(
            f"the server answered HTTP {status}", maybe_done=status == 500
        )
        self.status = status
