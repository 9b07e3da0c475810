"""An end for what must not hang: reading a file may take 20 seconds of processor time, however it is made."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

LONGEST = 20.0


@contextmanager
def no_hang() -> Iterator[None]:
    """Fail once the block has used `LONGEST` seconds of processor time."""

    def stop(*_: object) -> None:
        raise AssertionError(f"no end after {LONGEST:.0f} s of processor time")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, LONGEST)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
