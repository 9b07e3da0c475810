"""docs/benchmarks.md: its tables are what the benchmarks are."""

import re
from pathlib import Path

from counterground.benchmarks import list_benchmarks
from counterground.benchmarks.layouts import LAYOUTS

PAGE = (Path(__file__).parents[2] / "docs" / "benchmarks.md").read_text()


def table(heading: str) -> dict[str, list[str]]:
    """The cells of a section's table by the name in the first one."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    rows = [line for line in section.splitlines() if line.startswith("| `")]
    cells = (
        [cell.strip() for cell in row.strip().removeprefix("|").removesuffix("|").split("|")] for row in rows
    )
    return {first.strip("`"): rest for first, *rest in cells}


def test_every_benchmark_is_in_both_tables():
    names = [info.name for info in list_benchmarks()]
    assert list(table("What is measured")) == list(table("Where they come from")) == names


def test_what_is_measured_is_what_the_designs_say():
    shown = table("What is measured")
    for info in LAYOUTS:
        design = info.get.__self__.design
        photos, _, cells, contrasts, shares = shown[info.name]
        assert photos == (f"{info.n_photos:,}" if info.n_photos else "")
        assert cells == ", ".join(design.cells)
        assert shares == ", ".join(design.weights)
        if info.name == "objectnet":
            continue
        assert contrasts.startswith(
            "`drop`" if design.contrasts[0].name == "drop" else f"`{design.contrasts[0]}`"
        )
        assert all(re.search(rf"`{contrast.name}\b", contrasts) for contrast in design.contrasts)
