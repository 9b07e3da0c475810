"""The data card and the credits: what they say, and that strangers' words stay words."""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import replace

import polars as pl
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from counterground.construction.exports import FORMATS, export

# Any text at all is tried with these two; a whole export for each would take hours.
from counterground.construction.exports._card import csv_text
from counterground.construction.exports._formats import yaml_head
from counterground.construction.settings import ExportSettings
from counterground.photos import LabelSpace
from counterground.text import markdown, one_line

GFM = MarkdownIt("commonmark", {"html": True}).enable("table")
FACTS = ExportSettings(
    title="Three animals",
    description="Drawn photos for a test.",
    creators=("Zoë", "三郎"),
    url="https://example.org/three",
    citation="",
    licence="cc-by-4.0",
    version="2.1.0",
)


def card(folder):
    return (folder / "README.md").read_text(encoding="utf-8")


def plain(html):
    import html as entities

    return entities.unescape(re.sub(r"<[^>]+>", "", html)).strip()


@pytest.mark.parametrize("form", FORMATS)
def test_every_photo_has_its_line_of_credit(grouped, form, tmp_path):
    export(grouped, tmp_path / "out", [form], FACTS)
    with (tmp_path / "out" / "ATTRIBUTION.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["path", "class", "attribution", "licence", "licence_url", "source"]
    assert len(rows) == len(grouped)
    credited = Counter((row["class"], row["attribution"], row["source"]) for row in rows)
    source = pl.col("source").fill_null("")
    assert credited == Counter(grouped.photos.select("class_name", "attribution", source).rows())
    assert {row["licence"]: row["licence_url"] for row in rows}["CC BY-SA 4.0"] == (
        "https://creativecommons.org/licenses/by-sa/4.0/"
    )


ANY = st.text(st.characters(exclude_categories=["Cs"]), max_size=60) | st.text(
    "-+*_`<>[](){}#!|&~^$@:/\\\"'=. 1a\n\t\r", max_size=40
)


@given(ANY)
def test_markdown_shows_any_text_as_it_is(text):
    html = GFM.render(f"x\n\n- {markdown(text)}\n\n| a | b |\n|---|---|\n| {markdown(text)} | end |\n")
    allowed = {"p", "ul", "li", "table", "thead", "tbody", "tr", "th", "td"}
    assert set(re.findall(r"</?([a-z0-9]+)", html)) <= allowed
    cells = re.findall(r"<td>(.*?)</td>", html, flags=re.DOTALL)
    assert [plain(cell) for cell in cells] == [one_line(text), "end"]
    assert plain(re.search(r"<li>(.*?)</li>", html, flags=re.DOTALL)[1]) == one_line(text)


@given(ANY)
def test_yaml_reads_any_text_back(text):
    assert yaml.safe_load(yaml_head({"name": text}).split("---\n")[1]) == {"name": text}


@given(st.lists(ANY, min_size=1, max_size=3))
def test_no_cell_is_a_formula_and_every_row_is_one_line(cells):
    text = csv_text(["a"] * len(cells), [cells])
    head, row = csv.reader(text.splitlines())
    assert head == ["a"] * len(cells)
    for cell, written in zip(row, cells, strict=True):
        assert not cell.startswith(("=", "+", "-", "@", "\t", "\r"))
        assert cell.removeprefix("'") == one_line(written).removeprefix("'")


HOSTILE = '=HYPERLINK("http://evil")|</td><script>alert(1)</script>\n# [x](javascript:y)'


def test_a_hostile_benchmark_is_shown_and_not_obeyed(grouped, tmp_path):
    names = {"black swan": HOSTILE, "flamingo": "flamingo", "ice bear": "-1+1"}
    space = LabelSpace("x", tuple(names.values()), (None,) * 3)
    photos = grouped.photos.with_columns(
        pl.col("class_name").replace(names), background=pl.lit(HOSTILE), attribution=pl.lit(HOSTILE)
    )
    hostile = replace(grouped, name=HOSTILE, classes=space, photos=photos, notes=(HOSTILE,))
    facts = ExportSettings(description=HOSTILE, creators=(HOSTILE,), url=HOSTILE, licence=HOSTILE)
    for form in FORMATS:
        export(hostile, tmp_path / form, [form], facts)
        text = card(tmp_path / form)
        if form == "huggingface":
            head, text = text.split("---\n")[1:]
            assert yaml.safe_load(head)["pretty_name"] == HOSTILE
        html = GFM.render(text)
        assert "<script" not in html
        assert '<a href="javascript' not in html
        assert html.count("<h1>") == 1
        assert html.count("<table>") == 2
        with (tmp_path / form / "ATTRIBUTION.csv").open(encoding="utf-8", newline="") as file:
            rows = list(csv.reader(file))
        assert len(rows) == len(grouped) + 1
        assert {row[1] for row in rows[1:]} == {f"'{one_line(HOSTILE)}", "flamingo", "'-1+1"}
