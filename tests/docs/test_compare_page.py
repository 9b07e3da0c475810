"""What the pages about comparisons show is what the commands print."""

import os
import re
import subprocess
import sys
from pathlib import Path

from counterground.paper.claims import EVERY, claim_by_setting
from counterground.published import SETTINGS, published_models
from counterground.text import bounds, signed

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "write-up.md").read_text()
PROMPTS = (ROOT / "docs" / "research" / "prompts.md").read_text()
COMMAND = Path(sys.executable).parent / "counterground"


def lines_of(*words):
    done = subprocess.run(
        [str(COMMAND), *words],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "COLUMNS": "80"},
        timeout=120,
    )
    return [line.rstrip() for line in done.stdout.splitlines()]


def stands_in(shown, printed):
    """Every line that is shown is printed, in this order."""
    rest = iter(printed)
    return [line for line in shown if line.strip() not in ("...", "") and line not in rest]


def test_the_output_without_a_run_is_real():
    (block,) = re.findall(
        r"```console\n\$ counterground compare --published\n(.*?)```", PAGE, flags=re.DOTALL
    )
    assert stands_in(block.splitlines(), lines_of("compare", "--published")) == []


def test_the_scaling_answers_are_real():
    block = re.search(r"```console\n  \.\.\.\n(Do size.*?)```", PROMPTS, flags=re.DOTALL).group(1)
    assert block.count("Do larger models help?") == 2
    assert stands_in(block.splitlines(), lines_of("paper", "compare")) == []


def test_the_papers_claim_in_its_settings():
    rows = re.findall(r"^\| (\d+ and \d+): [^|]*\| ([^|]*) \| ([^|]*) \|$", PROMPTS, flags=re.MULTILINE)
    expected = [
        (
            row["tables"].removeprefix("Tables "),
            f"{signed(row['distance'])} {bounds(row['distance_low'], row['distance_high'])}",
            f"{row['interval_below']} / {row['interval_above']}",
        )
        for row in claim_by_setting().filter(subset=EVERY).iter_rows(named=True)
    ]
    assert rows == expected
    assert all((published_models(setting).filter(family="clip")["drop"] > 0).all() for setting in SETTINGS)
