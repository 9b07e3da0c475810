"""Commands whose disk fails once, or that are killed, at every call that changes a file.

python bench/experiments/faults.py [--minutes M] [--record FILE] [COMMAND ...]

Each command that writes runs on a small input, once undisturbed and then once for every kind of fault at
every call: opening a file to create it, write, fsync, rename, link, unlink, truncate, mkdir (including those
of SQLite). After each fault the same command runs again without one and is compared with the undisturbed run.
Prints a Markdown table, and what differs on standard error. First every call gets one kind of fault, in
turn, then another one, so if ``--minutes`` per command are not enough, calls are left out last. What the file
of ``--record`` holds counts and is not run again, so several runs add up: delete the file when the code has
changed. Needs Linux and gcc.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
from disturbed_commands import Undisturbed, disturbed_commands
from faulty_disk import FAILURES, KINDS, FaultyDisk

_FOUND = ("lost", "changed", "left", "said")
_COUNTED = ("moments", "faults", "failures", "kills", *_FOUND)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=math.inf)
    parser.add_argument("--record", type=Path, default=Path(os.devnull))
    parser.add_argument("commands", nargs="*")
    given = parser.parse_args()
    heads = ("command", "moments", "faults", "failures run", "kills run", "promises lost", "results changed")
    print("| " + " | ".join((*heads, "files left", "unclear")) + " |")
    print("|---|" + "---:|" * 8, flush=True)
    total: Counter[str] = Counter()
    kinds = [*KINDS]
    noted = (
        [json.loads(line) for line in given.record.read_text().splitlines()] if given.record.exists() else []
    )
    began = time.monotonic()
    with (
        tempfile.TemporaryDirectory() as folder,
        FaultyDisk(Path(folder) / "root") as disk,
        disturbed_commands() as commands,
        given.record.open("a") as record,
    ):
        for name in given.commands or commands:
            alone = Undisturbed(commands[name], disk)
            faults = list(alone.faults())
            tally = Counter(moments=len({fault.at for fault in faults}), faults=len(faults))
            before = {(note["kind"], note["at"]): note["found"] for note in noted if note["command"] == name}
            random.Random(0).shuffle(faults)
            faults.sort(key=lambda fault: (kinds.index(fault.kind) - fault.at) % len(kinds))
            end = time.monotonic() + 60 * given.minutes
            for fault in faults:
                found = before.get((fault.kind, fault.at))
                if found is None:
                    if time.monotonic() > end:
                        continue
                    finding = alone.disturb(fault)
                    if not finding.clean:
                        print(finding, file=sys.stderr, flush=True)
                    found = [what for what in _FOUND if getattr(finding, what)]
                    note = {"command": name, "kind": fault.kind, "at": fault.at, "found": found}
                    print(json.dumps(note), file=record, flush=True)
                tally["failures" if fault.kind in FAILURES else "kills"] += 1
                tally.update(found)
                if not (tally["failures"] + tally["kills"]) % 50:
                    print(
                        f"{time.monotonic() - began:.0f} s: {_row(name, tally)}", file=sys.stderr, flush=True
                    )
            print(_row(name, tally), flush=True)
            total += tally
    print(_row("all", total))
    print(f"{time.monotonic() - began:.0f} s", file=sys.stderr)


def _row(name: str, tally: Counter[str]) -> str:
    cells = (tally[each] for each in _COUNTED)
    return f"| {name} | " + " | ".join(f"{cell:,}" for cell in cells) + " |"


if __name__ == "__main__":
    main()
