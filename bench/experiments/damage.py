"""How damaged copies of each kind of file are read: the table of docs/reliability.md.

    python bench/experiments/damage.py [--most 2000]

Every byte of smaller files is changed, one at a time, and ``--most`` bytes of larger ones; files are also
truncated, emptied, and zeroed in blocks. A copy that is read as something else, or refused in more than one
line, is "missed".
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2] / "tests" / "support"))


def main() -> None:
    """Print a row for each kind of file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--most", type=int, default=2000, help="bytes that are changed in each file")
    most = parser.parse_args().most
    with tempfile.TemporaryDirectory() as place:
        os.environ["COUNTERGROUND_CACHE"] = f"{place}/cache"
        from damaged_files import cache_kinds, damage, decision_kinds, result_kinds

        print("| file | copies | made again | refused | without effect | missed |\n|---|---|---|---|---|---|")
        for number, kinds in enumerate((cache_kinds, result_kinds, decision_kinds)):
            folder = Path(place) / str(number)
            folder.mkdir()
            for name, kind in kinds(folder).items():
                found = damage(kind, most)
                figures = [found.counts[what] for what in ("rebuilt", "refused", "unchanged")]
                copies = sum(figures) + sum("Error: " in line for line in found.wrong)
                print(
                    "|", " | ".join([name, *map(str, (copies, *figures, len(found.wrong)))]), "|", flush=True
                )


if __name__ == "__main__":
    main()
