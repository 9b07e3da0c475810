"""A pool's page and the command that writes it, against the pool itself."""

import re
import shutil
from collections import Counter

import polars as pl
import pytest
from click.testing import CliRunner

from counterground.construction.cli import pool as command
from counterground.construction.pool_page import summarise_pool, write_pool_report

# The cells that both renderers draw.
from counterground.construction.pool_page._page import background_counts, discard_counts, referee_accuracy
from counterground.discovery import discover_pairs
from counterground.errors import UsageError
from counterground.settings import DiscoverSettings
from counterground.text import bounds, percent


def test_the_page_says_what_the_pool_says(pool, tmp_path, page, cells, nasty):
    summary = summarise_pool(pool)
    shown = page(pool, cells=cells, referee="a referee")
    heats = (background_counts(summary), discard_counts(summary), referee_accuracy(cells, summary.labels))
    titles = {attributes.get("title") for attributes in shown.all("td")}
    for heat in heats:
        for row in heat.grid:
            assert {cell.title for cell in row} <= titles
    text = shown.text
    assert "ice bear 8 5 1 1 1" in " ".join(text.split())
    assert "3 of 7 labelled" not in text
    assert "3 of 6 labelled" in text
    assert "2 of 6" in text
    for row in cells.iter_rows(named=True):
        assert f"{percent(row['accuracy'])} {bounds(row['low'], row['high'])}".strip() in text
    assert "1 fetched, 3 failed, 2 pending." in text
    assert "first labels all 5 60.0" in " ".join(text.split())
    for warning in summary.warnings:
        assert warning in text


def test_the_page_loads_nothing_and_escapes_every_name(pool, tmp_path, page, cells, nasty):
    shown = page(pool, cells=cells, referee=nasty)
    html = (tmp_path / "pool.html").read_text("utf-8")
    policy = next(m["content"] for m in shown.all("meta") if m.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'; img-src data:"
    assert not shown.all("script")
    assert "<script" not in html
    assert "not a photo: <text/html>" in shown.text
    assert shown.text.count(nasty) >= 4
    assert not re.search(r"(?:src|href|url)\s*[=(]", html)
    tables = re.findall(r"<table.*?</table>", html, re.DOTALL)
    assert tables
    for table in tables:
        assert "<thead" in table
        assert 'scope="row"' in table or "<tbody>\n</tbody>" in table


def test_a_summary_gives_the_same_page_and_a_folder_gets_pool_html(pool, tmp_path):
    (tmp_path / "out").mkdir()
    first = write_pool_report(pool, tmp_path / "out")
    assert first == tmp_path / "out" / "pool.html"
    other = write_pool_report(summarise_pool(pool), tmp_path / "other.html")
    assert first.read_bytes() == other.read_bytes()


def test_the_page_shows_a_few_photos_of_each_class_with_their_credits(tmp_path, page, make_pool, nasty):
    pool = make_pool(tmp_path / "pool", {"ice bear": 9, nasty: 2})
    bears = [path for path in pool.photos()["path"] if "ice_bear" in path]
    for number, path in enumerate(bears):
        label = "water" if number == 8 else "snow"
        pool.decide(path, annotator="ann", task="background", labels=[label])
    pool.decide(bears[8], annotator="ann", task="review", labels=["keep"])
    shown = page(pool, photos=pool)
    pictures = shown.all("img")
    assert all(picture["src"].startswith("data:image/webp;base64,") for picture in pictures)
    alts = Counter(picture["alt"] for picture in pictures)
    assert alts == {"ice bear on snow": 5, "ice bear on water": 1, nasty: 2}  # every background has its turn
    assert shown.text.count("no credit recorded") == 8
    assert "cc-by-nc" in shown.text

    for path in bears:
        pool.decide(path, annotator="ann", task="review", labels=["clarity"])
    pool.photo_file(pool.photos().filter(pl.col("class_name") == nasty)["path"][0]).write_bytes(b"changed")
    without = page(pool, photos=pool)
    assert [picture["alt"] for picture in without.all("img")] == [nasty]
    assert "1 left out" in without.text
    assert page(pool).all("img") == []


def test_the_command_with_a_real_discovery(tmp_path, monkeypatch, make_pool):
    pool = make_pool(tmp_path / "pool", {"ice bear": 24, "flamingo": 24})
    pool.decide_all(
        [
            {"path": path, "annotator": "ann", "task": "background", "labels": [("snow", "grass")[k % 2]]}
            for k, path in enumerate(pool.photos()["path"])
        ]
    )
    frozen = pool.freeze()
    (tmp_path / "colours.py").write_text(
        f"NAMES = {list(frozen.classes.names)!r}\n"
        "import torch\n"
        "from torchvision.transforms.v2.functional import pil_to_tensor\n"
        "def classifier():\n"
        "    layers = torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(3, 2)\n"
        "    network = torch.nn.Sequential(*layers)\n"
        "    with torch.no_grad():\n"
        "        network[2].weight.copy_(torch.eye(3)[:2])\n"
        "        network[2].bias.zero_()\n"
        "    return network, lambda image: pil_to_tensor(image).float() / 255, NAMES\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    settings = DiscoverSettings(label_space="benchmark", min_drop=0, min_photos=1)
    found = discover_pairs(frozen, "colours:classifier", settings, tmp_path / "pairs")
    ran = CliRunner().invoke(
        command,
        [str(pool.root), "--discovery", str(tmp_path / "pairs"), "--out", str(tmp_path / "pool.html")],
        catch_exceptions=False,
    )
    assert ran.exit_code == 0
    assert f"Report: {tmp_path / 'pool.html'}" in ran.output
    run = pl.read_parquet(tmp_path / "pairs" / "referee" / "predictions.parquet")
    for (name, background), photos in run.group_by("class_name", "background"):
        title = f"{name}, {background}: {percent(photos['correct'].mean())} % of {len(photos)} photos"
        assert title in (tmp_path / "pool.html").read_text("utf-8")
    assert found.cells["n"].sum() == len(run)


def test_a_discovery_of_another_pool_is_named(tmp_path, make_pool):
    pool = make_pool(tmp_path / "pool", {"ice bear": 8, "flamingo": 8})
    for k, path in enumerate(pool.photos()["path"]):
        pool.decide(path, annotator="ann", task="background", labels=[("snow", "grass")[k % 2]])
    settings = DiscoverSettings(
        label_space="benchmark", min_drop=0, min_photos=1, split="none", write_anyway=True
    )
    discover_pairs(pool.freeze(), "colour_model:brightness", settings, tmp_path / "pairs")
    words = ["--discovery", str(tmp_path / "pairs")]
    assert CliRunner().invoke(command, [str(pool.root), *words]).exit_code == 0
    shutil.copytree(pool.root, tmp_path / "other")
    refused = CliRunner().invoke(command, [str(tmp_path / "other"), *words]).exception
    assert isinstance(refused, UsageError)
    assert "was made from another pool" in str(refused)


def test_what_is_no_pool_or_no_discovery_is_named(pool, tmp_path):
    def refused(*words):
        with pytest.raises(UsageError) as caught:
            CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
        return str(caught.value)

    assert "There is no pool in" in refused(tmp_path / "nothing")
    assert "was not written by discover" in refused(pool.root, "--discovery", tmp_path)
