"""Whether the network may be used: ``--offline``, anywhere in a command, forbids it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar
from urllib.parse import urlsplit

from counterground.errors import CounterGroundError

OFFLINE = "COUNTERGROUND_OFFLINE"
"""The variable that forbids it, for this process and those that it starts."""

Given = ParamSpec("Given")
R = TypeVar("R")

_HERE = frozenset({"localhost", "127.0.0.1", "::1"})
# What other libraries read for the same; huggingface_hub and datasets do so when they are imported.
_OTHERS = ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")


def is_offline() -> bool:
    """Whether the network must not be used."""
    return os.environ.get(OFFLINE, "") not in ("", "0")


def is_local(url: str) -> bool:
    """Whether an address is this machine's own, which is no network."""
    try:
        return urlsplit(url).hostname in _HERE
    except ValueError:
        return False


def check_online(what: str) -> None:
    """Refuse what needs the network where it must not be used.

    Raises:
        CounterGroundError: ``--offline``.
    """
    if is_offline():
        raise CounterGroundError(f"{what} needs the network, and --offline forbids it.")


@contextmanager
def offline(*, forbid: bool = True, libraries: bool = False) -> Iterator[None]:
    """Forbid the network meanwhile, to all threads of this process and to the processes that it starts.

    Args:
        forbid: False: change nothing.
        libraries: tell those of Hugging Face, too. What was imported meanwhile keeps to it.
    """
    names = ((OFFLINE,) if forbid else ()) + (_OTHERS if forbid and libraries else ())
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(before, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def obeys_offline(call: Callable[Given, R]) -> Callable[Given, R]:
    """Let the keyword ``offline`` of a function forbid the network for as long as it runs."""

    @wraps(call)
    def obeying(*given: Given.args, **named: Given.kwargs) -> R:
        with offline(forbid=bool(named.get("offline"))):
            return call(*given, **named)

    return obeying
