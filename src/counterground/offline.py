"""Whether the network may be used: ``--offline``, anywhere in a command, forbids it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from counterground.errors import CounterGroundError

OFFLINE = "COUNTERGROUND_OFFLINE"
"""The variable that forbids it, for this process and those that it starts."""

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
def offline() -> Iterator[None]:
    """Forbid the network meanwhile."""
    before = {name: os.environ.get(name) for name in (OFFLINE, *_OTHERS)}
    os.environ.update(dict.fromkeys(before, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
