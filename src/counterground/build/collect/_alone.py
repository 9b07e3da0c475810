"""One collection at a time in a pool: two would list, and fetch, the same photos."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from counterground.build.collect._http import Waiting
from counterground.errors import CounterGroundError

LOCK_FILE = ".collect.lock"


@contextmanager
def alone(root: Path, waiting: Waiting) -> Iterator[None]:
    """Wait until no other process collects into the pool; the system frees the lock of a killed one."""
    file = root / LOCK_FILE
    lock = FileLock(file)
    try:
        _acquire(lock, waiting)
    except OSError as error:  # a stranger's pool may hold a link in its place, which is not followed
        what = "is a link: remove it" if file.is_symlink() else f"cannot be opened ({error.strerror})"
        raise CounterGroundError(f"{file} {what}, and collect again.") from error
    try:
        yield
    finally:
        lock.release()


def _acquire(lock: FileLock, waiting: Waiting) -> None:
    try:
        lock.acquire(timeout=0)
    except Timeout:
        waiting("another collect is at work on this pool: waiting for it")
        lock.acquire(poll_interval=0.2)
