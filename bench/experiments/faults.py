"""Commands whose disk fails once, or that are killed, at every call that changes a file.

python bench/experiments/faults.py [--every N] [COMMAND ...]

Each command that writes runs on a small input, once undisturbed and then once for every kind of fault at
every call: opening a file to make it, write, fsync, rename, link, unlink, truncate, mkdir (those of SQLite
included). After each the same command runs again without a fault and is compared with the undisturbed run.
Prints a table in Markdown, and on standard error what differs. ``--every N`` takes each Nth fault only. Needs
Linux and gcc.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from itertools import islice
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
from disturbed_commands import Undisturbed, disturbed_commands
from faulty_disk import FAILURES, FaultyDisk


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("commands", nargs="*")
    given = parser.parse_args()
    print("| command | moments | failures | kills | promises lost | results changed | files left | unclear |")
    print("|---|" + "---:|" * 7)
    total: Counter[str] = Counter()
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        FaultyDisk(Path(folder) / "root") as disk,
        disturbed_commands() as commands,
    ):
        for name, command in commands.items():
            if given.commands and name not in given.commands:
                continue
            alone = Undisturbed(command, disk)
            tally = Counter(moments=len(alone.calls))
            for fault in islice(alone.faults(), 0, None, given.every):
                found = alone.disturb(fault)
                tally["failures" if fault.kind in FAILURES else "kills"] += 1
                for what in ("lost", "changed", "left", "said"):
                    tally[what] += bool(getattr(found, what))
                if not found.clean:
                    print(found, file=sys.stderr, flush=True)
            print(_row(name, tally), flush=True)
            total += tally
    print(_row("all", total))
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)


def _row(name: str, tally: Counter[str]) -> str:
    cells = (tally[each] for each in ("moments", "failures", "kills", "lost", "changed", "left", "said"))
    return f"| {name} | " + " | ".join(f"{cell:,}" for cell in cells) + " |"


if __name__ == "__main__":
    main()
