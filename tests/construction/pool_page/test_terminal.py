"""A pool on the terminal: everything is there, fits, and can be read without colour."""

import io
import re

import pytest
from rich.console import Console

from counterground.construction.pool import BACKGROUND_LABELS, open_pool

# The cells that both renderers draw.
from counterground.construction.pool_page._heat import background_counts, discard_counts
from counterground.reporting import PoolView, summarise_pool


def printed(view, width=80, **options):
    console = Console(file=io.StringIO(), width=width, **options)
    console.print(view)
    return console.file.getvalue()


def test_the_terminal_tells_it_all_without_colour(pool, cells):
    text = printed(PoolView(summarise_pool(pool), cells, "a referee"))
    flat = re.sub(r"\s+", " ", text)
    assert "pool: 16 photos of 4 classes: 7 kept, 3 discarded, 1 disagreed, 5 undecided." in flat
    assert "6 have no background label yet and 1 has backgrounds on which annotators disagree" in flat
    assert re.search(r"ice bear +8 +5 +1 +1 +1 +2\b", text)
    assert re.search(r"all +16 +7 +3 +1 +5 +6\b", text)
    assert re.search(r"ann +review +9 +9 +1 +0 +2\.0", text)
    assert re.search(r"404 Not Found +2 +1\b", text)
    assert re.search(r"cc-by-nc +\d", text)
    assert re.search(r"all, first labels +5 +60\.0", text)
    assert "Accuracy of a referee by class and background, percent" in text
    assert re.search(r"ice bear +60 +~100", text)
    assert "~ fewer than 5 photos." in text
    assert "<script>alert('x')" in text
    assert "[bold]" in text
    assert "Warning: Only 5 photos have review decisions from two annotators" in flat
    assert "\x1b" not in text
    assert "\x1b[" in printed(PoolView(summarise_pool(pool)), force_terminal=True, color_system="truecolor")


def test_a_pool_without_backgrounds_has_no_tables_of_zeros(tmp_path, make_pool, page):
    pool = make_pool(tmp_path / "pool", {"ice bear": 2, "flamingo": 3})
    text = printed(PoolView(summarise_pool(pool)))
    assert "5 have no background label yet" in re.sub(r"\s+", " ", text)
    assert "Photos by class and background" not in text
    assert "Shades" not in text
    shown = page(pool)
    assert "No photo has an agreed background label yet." in shown.text
    assert not any("heat" in table.get("class", "") for table in shown.all("table"))


def test_numbers_in_the_terminal_are_those_of_the_heat_map(pool):
    summary = summarise_pool(pool)
    text = printed(PoolView(summary))
    for title, heat in (
        ("Photos by class and background", background_counts(summary)),
        ("Photos discarded, by class and reason", discard_counts(summary)),
    ):
        part = text[text.index(title) :]
        part = part[: part.index("Shades:")]
        rows = re.findall(rf"^\S.*?((?: +\d+){{{len(heat.columns)}}})$", part, re.MULTILINE)
        assert [row.split() for row in rows] == [[cell.text for cell in row] for row in heat.grid]


@pytest.mark.parametrize("width", [80, 100, 200])
def test_the_terminal_fits_its_width(big, width):
    summary, cells = big
    text = printed(PoolView(summary, cells, "open_clip:ViT-B-32-quickgelu/laion400m_e32"), width)
    assert max(map(len, text.splitlines())) <= width
    heads = text[text.index("Photos by class and background") :].splitlines()[2:]
    if width == 200:
        assert heads[0].split() == list(BACKGROUND_LABELS)
        return
    # Names stand upright above their column, each letter over the last digit.
    first = next(k for k, line in enumerate(heads) if re.search(r"\d", line))
    columns = [k for k, sign in enumerate(heads[first - 1]) if sign != " "]
    upright = ["".join(line.ljust(width)[k] for line in heads[:first]).strip() for k in columns]
    assert upright == list(BACKGROUND_LABELS)
    assert all(heads[first][k].isdigit() for k in columns)


def test_more_backgrounds_than_columns_go_into_blocks(tmp_path, make_pool):
    pool = make_pool(tmp_path / "pool", {"ice bear": 3})
    labels = [f"background number {k}" for k in range(50)]
    pool.set_setting("background_labels", labels)
    pool.decide(pool.photos()["path"][0], annotator="ann", task="background", labels=[labels[49]])
    summary = summarise_pool(pool)
    text = printed(PoolView(summary))
    rows = [line.split()[2:] for line in text.splitlines() if re.match(r"ice bear( +\d)+$", line)][:2]
    assert [int(n) for row in rows for n in row] == [0] * 49 + [1]
    blocks = list(background_counts(summary).blocks())
    assert [k for block in blocks for k in block] == list(range(50))
    assert {len(block) for block in blocks} == {12, 13}


def test_an_empty_pool_is_no_error(tmp_path, page):
    pool = open_pool(tmp_path / "pool", create=True)
    assert "pool: 0 photos of 0 classes" in printed(PoolView(summarise_pool(pool)))
    assert "There are no decisions yet." in page(pool).text
