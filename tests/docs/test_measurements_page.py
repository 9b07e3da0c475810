"""docs/measurements.md is the list of evidence: every bench, and every figure that is marked as measured."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "measurements.md").read_text()
MARKED = re.compile(r"<!-- measured -->\s(.+?)(?:\n\n|\n- |\Z)", re.DOTALL)
"""The rest of a paragraph, list item or table after this comment quotes figures that are listed."""
PAGES = sorted(
    page.relative_to(ROOT).as_posix() for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md")]
)


def test_every_bench_is_listed_and_every_listed_one_exists():
    folder = ROOT / "bench"
    benches = {str(path.relative_to(folder)) for path in folder.rglob("[!_]*.py")}
    assert set(re.findall(r"bench/([\w/]+\.py)", PAGE)) == benches


def test_every_link_of_the_list_leads_somewhere():
    links = re.findall(r"\]\(([^)#]+)\)", PAGE)
    assert links
    for link in links:
        assert (ROOT / "docs" / link).exists(), link


def test_every_page_with_a_date_of_measurement_is_in_the_list():
    dated = {page for page in PAGES if re.search(r"20\d\d-\d\d-\d\d", (ROOT / page).read_text())}
    named = {page for page in PAGES if Path(page).name in PAGE or page == "docs/measurements.md"}
    assert dated <= named


@pytest.mark.parametrize("page", [page for page in PAGES if MARKED.search((ROOT / page).read_text())])
def test_figures_marked_as_measured_are_listed(page):
    for paragraph in MARKED.findall((ROOT / page).read_text()):
        figures = re.findall(r"(?<![\w.])\d+\.\d+", paragraph)
        assert figures, "nothing to look up below the comment"
        for figure in figures:
            assert re.search(rf"(?<![\d.]){re.escape(figure)}(?!\d)", PAGE), f"{figure} in {page}"
