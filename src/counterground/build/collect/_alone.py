"""One collection at a time in a pool: two would list, and fetch, the same photos."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from counterground.build.collect._http import Waiting
from counterground.errors import CounterGroundError

LOCK_FILE = ".collect.lock"


@contextmanager
def alone(root: Path, waiting: Waiting) -> Iterator[None]:
    """Wait until no other process collects into the pool; the system frees the lock of a killed one."""
    with _open(root / LOCK_FILE) as lock:
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


def _open(file: Path) -> BinaryIO:
    """Open the lock; a stranger's pool may hold a link in its place, which would be followed and emptied."""
    try:
        return os.fdopen(os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o644), "r+b")
    except OSError as error:
        what = "is a link: remove it" if file.is_symlink() else f"cannot be opened ({error.strerror})"
        raise CounterGroundError(f"{file} {what}, and collect again.") from error
