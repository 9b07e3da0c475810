"""What packages register: built-in benchmarks, and readers of folders."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from counterground.errors import UsageError, did_you_mean
from counterground.photos import Benchmark


@dataclass(frozen=True)
class BuiltInBenchmark:
    """A benchmark that is opened by its name.

    Another package adds one with an entry point of the group ``counterground.benchmarks``.

    Attributes:
        name: what commands call it, and the name of another package's entry point; without a slash.
        description: one line for ``counterground benchmarks``.
        n_photos: how many photos it has; 0 if not published.
        folder: where it lies in the cache, fetched or not.
        is_ready: whether it can be opened without fetching anything.
        get: function that fetches or builds it, from a folder or archive (None: from where it is published),
            with or without a progress bar on standard error.
        source: option of ``benchmarks get`` that names that folder or archive: ``--from`` an archive, or
            ``--packages`` a folder of packages.
        on_demand: whether opening it by name may fetch it; else it must be fetched first.
        licence: licence of its photos, in a few words.
        homepage: where it is published.
        options: what a name may choose, as in ``waterbirds?split=val``: option -> values, the default first.
        variant: function that takes the value of every option as keywords and returns that benchmark.
    """

    name: str
    description: str
    n_photos: int
    folder: Callable[[], Path]
    is_ready: Callable[[], bool]
    get: Callable[[Path | None, bool], Benchmark]
    source: Literal["archive", "packages"] = "archive"
    on_demand: bool = False
    licence: str = ""
    homepage: str = ""
    options: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    variant: Callable[..., BuiltInBenchmark] | None = None

    def chosen(self, query: str) -> BuiltInBenchmark:
        """Return the variant that ``option=value&...`` chooses.

        Raises:
            UsageError: no such option or value.
        """
        if not query:
            return self
        chosen = {option: known[0] for option, known in self.options.items()}
        for part in query.split("&"):
            option, _, value = part.partition("=")
            known = self.options.get(option, ())
            if value not in known:
                what, listed = (
                    (f"{option} {value!r}", known) if known else (f"option {option!r}", self.options)
                )
                raise UsageError(
                    f"{self.name} has no {what}; it has {', '.join(listed) or 'none'}."
                    f"{did_you_mean(value if known else option, listed)}"
                )
            chosen[option] = value
        assert self.variant is not None
        return self.variant(**chosen)


@dataclass(frozen=True)
class FolderReader:
    """Reads folders that only it knows. Added by an entry point of the group ``counterground.folders``.

    Attributes:
        name: the name of the entry point.
        find: function that returns the folder that a path names, None for a path of another kind.
        read: function that reads such a folder.
    """

    name: str
    find: Callable[[Path], Path | None]
    read: Callable[[Path], Benchmark]
