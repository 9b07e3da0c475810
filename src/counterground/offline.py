"""Whether the network may be used: ``--offline``, anywhere in a command, forbids it."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, wraps
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from counterground.errors import CounterGroundError

OFFLINE = "COUNTERGROUND_OFFLINE"
"""The variable that forbids it, for this process and those that it starts."""

Given = ParamSpec("Given")
R = TypeVar("R")

_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
# Python's audit events of sockets that may reach another machine.
_EVENTS = {
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "socket.connect",
    "socket.sendto",
    "socket.sendmsg",
}
# The variables of other libraries for the same purpose; huggingface_hub and datasets read them when imported.
_OTHERS = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")

# Calls in several threads end in any order: the first one notes what the last one restores.
_lock = threading.Lock()
_calls: Counter[str] = Counter()
_before: dict[str, str | None] = {}


def is_offline() -> bool:
    """Return whether the network must not be used."""
    return os.environ.get(OFFLINE, "") not in ("", "0")


def is_local(url: str) -> bool:
    """Return whether an address is this machine's own, which is not the network."""
    try:
        return urlsplit(url).hostname in _HERE
    except ValueError:
        return False


def check_online(what: str) -> None:
    """Refuse what needs the network if it must not be used.

    Raises:
        CounterGroundError: ``--offline`` is set.
    """
    if is_offline():
        raise CounterGroundError(f"{what} needs the network, and --offline forbids it.")


@cache
def guard_process() -> None:
    """Make any Python code of this process fail, while ``--offline`` holds, when it contacts another machine.

    For commands, whose process is ours: libraries may open addresses that untrusted files name. Connections,
    datagrams and look-ups of names end in an ``OSError``. Native code (the look-ups of a C library, say) is
    not seen, nor is what goes through a connected datagram socket.
    """
    sys.addaudithook(_refuse_elsewhere)


def _refuse_elsewhere(event: str, given: tuple[Any, ...]) -> None:
    if event in _EVENTS and is_offline() and not _stays_here(event, *given):
        raise OSError(errno.ENETUNREACH, "--offline forbids using the network")


def _stays_here(event: str, asking: Any, address: Any = None, *_: Any) -> bool:
    """Return whether a socket reaches only this machine, or a look-up of a name needs no other."""
    if event in ("socket.getaddrinfo", "socket.gethostbyname"):
        host = _text(asking)
        return not host or _is_number(host) or _names_this_machine(host)
    if asking.family not in (socket.AF_INET, socket.AF_INET6) or address is None:
        return True  # without an address, it goes where the socket is connected
    if event == "socket.connect" and asking.type == socket.SOCK_DGRAM:
        return True  # nothing is sent: programs find their own address this way
    return _is_own(asking.family, _text(address[0]))


def _text(host: str | bytes | bytearray | None) -> str:
    return host if isinstance(host, str) else bytes(host or b"").decode(errors="replace")


def _names_this_machine(host: str) -> bool:
    return host.lower() in (*_HERE, socket.gethostname().lower())


def _is_number(host: str) -> bool:
    try:
        ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    return True


def _is_own(family: int, host: str) -> bool:
    """Return whether an address is this machine's own: a socket binds only to those and to groups."""
    if not _is_number(host):
        return not host or _names_this_machine(host)
    number = ipaddress.ip_address(host.partition("%")[0])
    if number.is_loopback or number.is_multicast:
        return number.is_loopback
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


@contextmanager
def offline(*, forbid: bool = True, libraries: bool = False) -> Iterator[None]:
    """Forbid the network within the block, to all threads of this process and the processes it starts.

    Args:
        forbid: False: change nothing.
        libraries: also tell those of Hugging Face. Libraries imported meanwhile stay offline.
    """
    names = ((OFFLINE,) if forbid else ()) + (_OTHERS if forbid and libraries else ())
    with _lock:
        for name in names:
            if not _calls[name]:
                _before[name] = os.environ.get(name)
            _calls[name] += 1
            os.environ[name] = "1"
    try:
        yield
    finally:
        with _lock:
            for name in names:
                _calls[name] -= 1
                if not _calls[name]:
                    _restore(name, _before.pop(name))


def _restore(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value


def obeys_offline(call: Callable[Given, R]) -> Callable[Given, R]:
    """Let the keyword ``offline`` of a function forbid the network while it runs."""

    @wraps(call)
    def obeying(*given: Given.args, **named: Given.kwargs) -> R:
        with offline(forbid=bool(named.get("offline"))):
            return call(*given, **named)

    return obeying
