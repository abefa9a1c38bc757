# SPDX-License-Identifier: MIT OR Apache-2.0
"""A client of XVMP/1, the wire protocol of the Xen VM manager smps-vmm.

The rooms, from the wire inwards:

========== ==========================================================
credentials who we are, and whether the server is whom we mean
store       credentials on the disk, changed whole or not at all
certify     new keys, and the certificate that is asked for them
join        from a token to a credentials directory
transport   mutual TLS 1.3, HTTP/1.1, verified connections kept open
values      numbers, bytes, ids in text: one form each
gate        bytes to XML, by the strict rules of section 3
keys        the key schedule, pure functions
envelope    messages: W3C XML Encryption in one shape, replay window
handshake   Noise messages, and the documents that carry them
session     a session's handshake, and when it is old
codec       dataclasses to elements and back, one form a value
model       what a VM, a host, a task is
verbs       one class a request, each knows its reply
client      one call from verb to reply, with all its retries
watch       what changes in a pool, as it changes
faults      everything that can be raised
========== ==========================================================

>>> from xvmp import Client, Credentials, verbs
>>> with Client("manager:7400", Credentials.load("operator")) as client:
...     client.call(verbs.ListHosts())
"""

from . import model, verbs
from .client import Client
from .credentials import Credentials
from .faults import (
    BadMessage,
    ConnectionLost,
    CredentialsError,
    DeadlinePassed,
    Fault,
    HttpRefused,
    JoinRefused,
    SessionRefused,
    TransportError,
    UnexpectedReply,
    WrongPeer,
    XvmpError,
)
from .watch import Change, Follower

__all__ = [
    "BadMessage",
    "Change",
    "Client",
    "ConnectionLost",
    "Credentials",
    "CredentialsError",
    "DeadlinePassed",
    "Fault",
    "Follower",
    "HttpRefused",
    "JoinRefused",
    "SessionRefused",
    "TransportError",
    "UnexpectedReply",
    "WrongPeer",
    "XvmpError",
    "model",
    "verbs",
]
