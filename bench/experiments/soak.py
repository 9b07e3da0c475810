"""Commands that are killed at random moments, up to six times in a row, before they may finish.

python bench/experiments/soak.py [KILLS_OF_EACH [COMMAND ...]]

The result is compared with that of an undisturbed run. Prints a Markdown table, and what differs on standard
error. Needs Linux and gcc.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))
from disturbed_commands import Undisturbed, disturbed_commands
from faulty_disk import FaultyDisk


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kills", nargs="?", type=int, default=100, metavar="KILLS_OF_EACH")
    parser.add_argument("commands", nargs="*", metavar="COMMAND")
    given = parser.parse_args()
    seed = int(time.time())
    print(f"seed {seed}", file=sys.stderr)
    print("| command | kills | runs completed | promises lost | results changed | files left |")
    print("|---|" + "---:|" * 5)
    with (
        tempfile.TemporaryDirectory() as folder,
        FaultyDisk(Path(folder) / "root") as disk,
        disturbed_commands() as commands,
    ):
        for name in given.commands or commands:
            found = Undisturbed(commands[name], disk).soak(given.kills, random.Random(seed))
            cells = (found.kills, found.rounds, found.lost, found.changed, found.left)
            print(f"| {name} | " + " | ".join(f"{cell:,}" for cell in cells) + " |", flush=True)
            for note in found.notes:
                print(f"{name}: {note}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
