"""One collection at a time in a pool: two would list, and fetch, the same photos."""

from __future__ import annotations

import fcntl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from counterground.build.collect._http import Waiting

LOCK_FILE = ".collect.lock"


@contextmanager
def alone(root: Path, waiting: Waiting) -> Iterator[None]:
    """Wait until no other process collects into the pool; the system frees the lock of a killed one."""
    with (root / LOCK_FILE).open("w") as lock:
        told = False
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not told:
                    waiting("another collect is at work on this pool: waiting for it")
                    told = True
                time.sleep(0.2)
        yield
