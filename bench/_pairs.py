"""Timings in pairs: ours and something else, alternately, in one run on one machine.

A measuring script makes rows with `paired` or `alone` and passes each to `publish`::

    ours = partial(process, [sys.executable, "-m", "counterground", "evaluate", ...])  # a whole process, or
    theirs = partial(here, lambda: plain_loop(photos))                                  # a function
    publish(paired("what is done", ours, "against what", theirs, wanted="3", clock="whole processes"))

``BENCH_PAIRS`` sets the number of pairs (default 5). `make bench` runs the scripts and prints one table.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

PAIRS = int(os.environ.get("BENCH_PAIRS", "5"))
HEADER = (
    "| work | ours | against | ratio (lowest to highest pair) | by processor time | peak memory | wanted |\n"
    + 7 * "|---"
    + "|"
)


@dataclass(frozen=True)
class Run:
    """One execution: wall and processor time, and the peak memory of the largest process, in MB."""

    seconds: float
    processor: float
    peak_mb: float


Work = Callable[[], Run]


@dataclass(frozen=True)
class Row:
    """Executions of one task, ours and another's in turn; ``other`` is empty if nothing is compared.

    ``clock`` says what the measured time includes, ``notes`` what else was found, such as a difference.
    """

    work: str
    ours: list[Run]
    against: str = ""
    other: list[Run] = field(default_factory=list)
    wanted: str = ""
    clock: str = ""
    notes: str = ""

    def ratios(self, quantity: str = "seconds") -> list[float]:
        """Return for each pair how many times as much the other took as ours."""
        return [
            getattr(b, quantity) / getattr(a, quantity) for a, b in zip(self.ours, self.other, strict=True)
        ]

    def as_json(self) -> dict[str, object]:
        """Return everything that was measured, with the machine."""
        found: dict[str, object] = {}
        if self.other:
            found = {
                "ratio": statistics.median(self.ratios()),
                "processor_ratio": statistics.median(self.ratios("processor")),
            }
        return {**asdict(self), **found, "machine": machine(), "markdown": self.as_markdown()}

    def as_markdown(self) -> str:
        """Return a row for the table under `HEADER`."""
        ratio = processor = "–"
        against = self.against
        if self.other:
            ratios = self.ratios()
            ratio = f"**{statistics.median(ratios):.2f}** ({min(ratios):.2f} to {max(ratios):.2f})"
            processor = f"{statistics.median(self.ratios('processor')):.2f}"
            against = f"{against}: {_seconds(self.other)}"
        memory = f"{max(run.peak_mb for run in self.ours):,.0f} MB"
        if self.other:
            memory += f"; {max(run.peak_mb for run in self.other):,.0f} MB"
        cells = [self.work, _seconds(self.ours), against, ratio, processor, memory, self.wanted]
        return "| " + " | ".join(cells) + " |"


def paired(
    work: str,
    ours: Work,
    against: str,
    other: Work,
    *,
    pairs: int = PAIRS,
    wanted: str = "",
    clock: str = "",
    notes: str = "",
) -> Row:
    """Execute both in turn, ``pairs`` times; every other pair begins with ours, so that drift evens out."""
    runs: tuple[list[Run], list[Run]] = ([], [])
    for pair in range(pairs):
        for side in (0, 1) if pair % 2 == 0 else (1, 0):
            runs[side].append((ours, other)[side]())
    return Row(work, runs[0], against, runs[1], wanted, clock, notes)


def alone(work: str, ours: Work, *, runs: int = 1, wanted: str = "", clock: str = "", notes: str = "") -> Row:
    """Execute ours ``runs`` times, for rows in which only time and memory count."""
    return Row(work, [ours() for _ in range(runs)], wanted=wanted, clock=clock, notes=notes)


def process(
    command: Sequence[str | os.PathLike[str]],
    env: Mapping[str, str] | None = None,
    cold: bool = True,
) -> Run:
    """Run a command to its end; ``cold``: CounterGround's cache is an empty folder, new each time.

    Processor time includes the command's own children that it waited for. Peak memory is that of the largest
    of these processes.

    Raises:
        SystemExit: the command failed; its last lines are shown.
    """
    with tempfile.TemporaryDirectory() as folder:
        cache = {"COUNTERGROUND_CACHE": str(Path(folder) / "cache")} if cold else {}
        with (Path(folder) / "output").open("w+b") as output:
            start = time.perf_counter()
            child = subprocess.Popen(
                command, env={**os.environ, **cache, **(env or {})}, stdout=output, stderr=subprocess.STDOUT
            )
            _, status, usage = os.wait4(child.pid, 0)
            seconds = time.perf_counter() - start
            child.returncode = os.waitstatus_to_exitcode(status)
            if child.returncode:
                output.seek(0)
                last = output.read().decode(errors="replace").splitlines()[-20:]
                sys.exit("\n".join([f"{' '.join(map(str, command))} failed:", *last]))
    return Run(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024)


def here(function: Callable[[], object]) -> Run:
    """Call a function in this process; its peak memory includes what the process held before."""
    Path("/proc/self/clear_refs").write_text("5")  # forgets the peak so far
    start, processor = time.perf_counter(), time.process_time()
    function()
    seconds, processor = time.perf_counter() - start, time.process_time() - processor
    status = Path("/proc/self/status").read_text()
    peak = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))
    return Run(seconds, processor, peak / 1024)


def publish(row: Row) -> None:
    """Print a row, and append it to the file that ``BENCH_JSON`` names, one JSON object per line."""
    if into := os.environ.get("BENCH_JSON"):
        with Path(into).open("a", encoding="utf-8") as file:
            file.write(json.dumps(row.as_json()) + "\n")
    print(f"{HEADER}\n{row.as_markdown()}")
    for text in (row.clock, row.notes):
        if text:
            print(text)
    print(machine(), flush=True)


def machine() -> str:
    """Name processor, cores, memory, versions and date."""
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").is_file() else ""
    names = [line.partition(":")[2].strip() for line in info.splitlines() if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({names[0] if names else platform.machine()}), {memory:.0f} GiB, load "
        f"{os.getloadavg()[0]:.1f}; Python {platform.python_version()}, torch {version('torch')}; "
        f"{datetime.now(UTC).date()}"
    )


def _seconds(runs: Sequence[Run]) -> str:
    return f"{statistics.median(run.seconds for run in runs):.2f} s"
