"""Recently used values, up to a number of bytes, shared by the threads of a process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from threading import Lock
from typing import Generic, Protocol, TypeVar


class _Sized(Protocol):
    @property
    def nbytes(self) -> int: ...


T = TypeVar("T", bound=_Sized)


class Recent(Generic[T]):
    """Values by key; the least recently used goes first when they exceed ``most`` bytes.

    Threads that ask for the same value at once share one computation.
    """

    def __init__(self, most: int) -> None:
        self._most, self._bytes = most, 0
        self._kept: OrderedDict[Hashable, Future[T]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return the value of a key; ``make`` computes it if it is not kept."""
        with self._lock:
            kept = self._kept.get(key)
            if kept is None:
                mine = self._kept[key] = Future[T]()
            else:
                self._kept.move_to_end(key)
        if kept is not None:
            return kept.result()
        try:
            value = make()
        except BaseException as error:
            with self._lock:
                del self._kept[key]
            mine.set_exception(error)
            raise
        mine.set_result(value)
        with self._lock:
            self._bytes += value.nbytes
            self._drop()
        return value

    def _drop(self) -> None:
        for key in list(self._kept):
            if self._bytes <= self._most:
                return
            if self._kept[key].done():
                self._bytes -= self._kept.pop(key).result().nbytes
