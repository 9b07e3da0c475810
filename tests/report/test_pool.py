"""What a pool holds, told in the terminal and on a page, against the pool itself. Needs Chromium."""

import io
import json
import os
import re
import shutil
import subprocess
from collections import Counter
from html import unescape
from html.parser import HTMLParser
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from click.testing import CliRunner
from PIL import Image
from rich.console import Console

from counterground.build import discover_pairs
from counterground.cli._pool import pool as command
from counterground.errors import UsageError
from counterground.inference import Settings
from counterground.metrics import cohen_kappa, proportion_interval
from counterground.photos import photo_id
from counterground.pool import BACKGROUND_LABELS, open_pool
from counterground.report import PoolView, summarise_pool, write_pool_report
from counterground.report._numbers import bounds, percent
from counterground.report._pool_heat import background_counts, discard_counts, referee_accuracy
from counterground.report._pool_shades import SHADES

NASTY = "<script>alert('x')</script>\"&[bold]"
LICENCES = ("cc0", "cc-by", "cc-by-nc", None)


def make_pool(root, sizes, *, size=8):
    """A pool of photos of noise; ``sizes``: class name -> how many."""
    pool = open_pool(root, create=True)
    rows = []
    for name, number in sizes.items():
        folder = pool.files / pool.class_folder(name)
        folder.mkdir()
        for k in range(number):
            file = folder / f"inaturalist-{k:03}.png"
            seed = [k, *name.encode()]
            noise = np.random.default_rng(seed).integers(0, 256, (size, size, 3), np.uint8)
            Image.fromarray(noise).save(file)
            path = file.relative_to(pool.root).as_posix()
            row = {"path": path, "photo_id": photo_id(file), "class_name": name, "licence": LICENCES[k % 4]}
            rows.append(row | {"cluster": f"observer {k // 2}"})
    pool.add_photos(rows)
    return pool


def event(path, who, task, *labels, **more):
    return {"path": path, "annotator": who, "task": task, "labels": list(labels)} | more


@pytest.fixture
def pool(tmp_path):
    """Three classes whose every count is known; see the tests."""
    pool = make_pool(tmp_path / "pool", {"ice bear": 8, "flamingo": 6, NASTY: 2})
    paths = pool.photos()["path"].to_list()
    bears, birds = ([path for path in paths if name in path] for name in ("ice_bear", "flamingo"))
    pool.decide_all(
        [
            # Bears: 5 kept (one settled), 1 discarded, 1 disputed, 1 undecided and postponed.
            *(event(path, "ann", "review", "keep", seconds=2.0) for path in bears[:4]),
            *(event(path, "bob", "review", "keep", seconds=9.0, suggestion="{}") for path in bears[:3]),
            event(bears[4], "ann", "review", "clarity", "ambiguity", seconds=4.0),
            event(bears[5], "ann", "review", "keep", seconds=3.0),
            event(bears[5], "bob", "review", "duplicate"),
            event(bears[6], "ann", "review", "keep"),
            event(bears[6], "bob", "review", "label noise"),
            event(bears[6], "cyd", "review", "keep", settles=True),
            event(bears[7], "ann", "review", "later", seconds=30.0, suggestion="{}"),
            # Flamingos: 2 kept, 2 discarded as label noise, 2 undecided.
            *(event(path, "ann", "review", "keep") for path in birds[:2]),
            *(event(path, "bob", "review", "label noise") for path in birds[2:4]),
            *(event(path, "ann", "background", "snow", "ground", seconds=1.0) for path in bears[:3]),
            *(event(path, "bob", "background", "snow") for path in bears[:2]),
            event(bears[2], "bob", "background", "water"),
            event(bears[3], "ann", "background", "grass"),
            event(bears[4], "ann", "background", "sky"),  # discarded: counts nowhere
            event(birds[0], "ann", "background", "water"),
            event(birds[4], "ann", "background", "water"),  # undecided, and stands
        ]
    )
    pool.decide(birds[1], annotator="ann", task="background", labels=["indoor"])
    pool.undo("ann", "background")
    wanted = [{"key": f"inaturalist:{k}", "class_name": "flamingo", "position": k} for k in range(5)]
    pool.add_candidates([*wanted, {"key": "inaturalist:9", "class_name": "dugong", "position": 0}])
    reasons = ("404 Not Found", "404 Not Found", "not a photo: <text/html>")
    pool.mark_candidates([(f"inaturalist:{k}", "flamingo", "failed", r) for k, r in enumerate(reasons)])
    pool.mark_candidates([("inaturalist:3", "flamingo", "got", None)])
    return pool


def counts(frame, *keys):
    return {tuple(row[key] for key in keys): row["n"] for row in frame.iter_rows(named=True)}


def test_every_photo_is_counted_once_on_one_side(pool):
    summary = summarise_pool(pool)
    rows = {row["class_name"]: row for row in summary.classes.iter_rows(named=True)}
    assert list(rows) == [NASTY, "dugong", "flamingo", "ice bear"]
    assert rows["ice bear"] == {
        "class_name": "ice bear",
        "photos": 8,
        "reviewed": 7,
        "kept": 5,
        "undecided": 1,
        "disputed": 1,
        "discarded": 1,
        "labelled": 3,
        "unlabelled": 2,
        "unsettled": 1,
    }
    assert [rows["flamingo"][name] for name in ("kept", "discarded", "disputed", "undecided")] == [2, 2, 0, 2]
    assert [rows["flamingo"][name] for name in ("labelled", "unlabelled", "unsettled")] == [2, 2, 0]
    assert rows[NASTY]["undecided"] == rows[NASTY]["unlabelled"] == 2
    assert set(rows["dugong"].values()) == {"dugong", 0}
    assert counts(summary.discards, "class_name", "reason") == {
        ("ice bear", "clarity"): 1,
        ("flamingo", "label noise"): 2,
    }


def test_backgrounds_are_those_of_the_frozen_benchmark(pool):
    summary, frozen = summarise_pool(pool), pool.freeze()
    expected = Counter(
        (row["path"].split("/")[1], row["background"])
        for row in frozen.photos.iter_rows(named=True)
        if row["background"]
    )
    found = counts(summary.backgrounds, "class_name", "background")
    assert {(name.replace(" ", "_"), label): n for (name, label), n in found.items()} == dict(expected)
    assert found["ice bear", "snow"] == 2
    assert summary.total("kept") + summary.total("undecided") == len(frozen.photos)
    assert summary.total("labelled") == sum(expected.values())
    assert summary.labels == list(BACKGROUND_LABELS)


def test_labels_of_a_list_that_was_edited_are_still_shown(pool):
    pool.set_setting("background_labels", ["reef", "water"])
    summary = summarise_pool(pool)
    assert summary.labels == ["reef", "water", "grass", "snow"]
    assert background_counts(summary).columns == summary.labels


def test_pace_leaves_out_what_was_undone_or_postponed(pool):
    rows = {
        (row["annotator"], row["task"]): row for row in summarise_pool(pool).annotators.iter_rows(named=True)
    }
    ann = rows["ann", "review"]
    assert (ann["decisions"], ann["photos"], ann["postponed"], ann["undone"]) == (9, 9, 1, 0)
    assert ann["suggested"] == 0
    assert ann["seconds"] == np.median([2, 2, 2, 2, 4, 3])
    assert rows["ann", "background"]["undone"] == 1
    assert rows["ann", "background"]["decisions"] == 7
    assert (rows["bob", "review"]["suggested"], rows["bob", "review"]["seconds"]) == (3, 9.0)
    assert rows["bob", "background"]["seconds"] is None
    assert rows["cyd", "review"]["decisions"] == 1


def test_agreement_is_that_of_votes_and_its_thinness_is_told(pool):
    summary = summarise_pool(pool)
    whole = summary.agreement.filter(pl.col("class_name").is_null(), pl.col("label").is_null())
    review = whole.row(by_predicate=pl.col("task") == "review", named=True)
    ann = ["keep"] * 5
    bob = ["keep"] * 3 + ["duplicate", "label noise"]
    assert (review["photos"], review["agreement"]) == (5, 3 / 5)
    assert review["kappa"] == pytest.approx(cohen_kappa(ann, bob))
    assert whole.row(by_predicate=pl.col("task") == "background", named=True)["agreement"] == 2 / 3
    shown = summary.agreement.filter(pl.col("task") == "background")["label"].drop_nulls().to_list()
    assert shown == [label for label in BACKGROUND_LABELS if label in shown]
    assert summary.warnings[0].startswith("Only 5 photos have the review of two annotators")
    assert summary.warnings[1].startswith("Only 3 photos have the background of two annotators")
    assert summary.warnings[2].startswith("3 of 17 decisions on review were made with a model's suggestion")


def test_a_pool_with_one_annotator_says_that_agreement_is_unknown(tmp_path):
    pool = make_pool(tmp_path / "pool", {"ice bear": 2})
    pool.decide(pool.photos()["path"][0], annotator="ann", task="review", labels=["keep"])
    (warning,) = summarise_pool(pool).warnings
    assert warning.startswith("No photo has the review of two annotators")
    assert "nobody knows" in page(pool, tmp_path).text


def test_candidates_failures_and_licences(pool):
    summary = summarise_pool(pool)
    assert summary.candidates.rows() == [("dugong", 1, 0, 0), ("flamingo", 1, 1, 3)]
    assert counts(summary.failures, "reason") == {("404 Not Found",): 2, ("not a photo: <text/html>",): 1}
    licences = {row[0]: row[1:] for row in summary.licences.iter_rows()}
    expected = Counter(pool.photos()["licence"].to_list())
    assert {licence: photos for licence, (photos, _) in licences.items()} == dict(expected)
    assert sum(standing for _, standing in licences.values()) == len(pool.freeze().photos)


def test_reading_a_pool_changes_nothing(pool):
    before = (pool.decisions(), pool.photos(), pool.candidates())
    summarise_pool(pool)
    after = (pool.decisions(), pool.photos(), pool.candidates())
    assert all(one.equals(other) for one, other in zip(before, after, strict=True))


CELLS = pl.DataFrame(
    [
        ("ice bear", "snow", 10, 0.9, 0.55, 1.0, "chooses"),
        ("ice bear", "snow", 30, 0.5, 0.33, 0.67, "reports"),
        ("ice bear", "artificial turf with lines", 3, 1.0, 0.3, 1.0, "chooses"),
        (NASTY, "water", 1, 0.0, None, None, "reports"),
    ],
    schema=["class_name", "background", "n", "accuracy", "low", "high", "half"],
    orient="row",
)


def test_accuracy_counts_both_halves_by_their_photos():
    heat = referee_accuracy(CELLS, ["water", "snow"])
    assert heat.rows == [NASTY, "ice bear"]
    assert heat.columns == ["water", "snow", "artificial turf with lines"]
    water, snow, turf = heat.grid[1]
    assert (water.text, water.shade, water.title) == ("", None, "ice bear, water: no photos")
    assert (snow.text, snow.shade, snow.n, snow.weak) == ("60", 6, 40, False)
    assert snow.title == (
        "ice bear, snow: 60.0 % of 40 photos; photos that chose: 90.0 [55.0, 100.0], n 10; "
        "photos kept aside: 50.0 [33.0, 67.0], n 30"
    )
    assert (turf.text, turf.shade, turf.weak) == ("100", 9, True)
    assert heat.grid[0][0].text == "0"
    assert heat.grid[0][0].shade == 0
    assert "no interval" in heat.grid[0][0].title


@pytest.mark.parametrize("most", [1, 2, 9, 60, 999, 1000, 23456])
def test_shades_follow_counts_and_zero_has_none(pool, most):
    frame = pl.DataFrame(
        {"class_name": ["flamingo", "ice bear"], "background": ["snow", "sky"], "n": [1, most]}
    )
    summary = summarise_pool(pool)
    heat = background_counts(type(summary)(**{**vars(summary), "backgrounds": frame}))
    cells = {cell.n: cell for row in heat.grid for cell in row}
    assert (cells[0].text, cells[0].shade) == ("0", None)
    assert cells[1].shade == 0
    assert cells[most].shade == (9 if most > 1 else 0)
    assert len(cells[most].text) <= 4
    assert f"{most:,} photo" in cells[most].title
    shades = [shade for shade, _ in heat.key[1:]]
    assert shades == sorted(set(shades))
    assert len(shades) <= 7
    edges = [int(re.match(r"[\d,]+", words).group().replace(",", "")) for _, words in heat.key]
    assert edges == sorted(set(edges))
    assert edges[-1] <= most


def luminance(colour):
    values = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4 for v in values]
    return float(np.dot(linear, (0.2126, 0.7152, 0.0722)))


def contrast(one, other):
    darker, lighter = sorted((luminance(one), luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def test_shades_can_be_read_and_told_apart_by_lightness_alone():
    for shade in SHADES:
        assert contrast(shade.fill, shade.ink) >= 4.5
        assert contrast(shade.dark_fill, shade.dark_ink) >= 4.5
    light = [luminance(shade.fill) for shade in SHADES]
    dark = [luminance(shade.dark_fill) for shade in SHADES]
    assert all((a + 0.05) / (b + 0.05) > 1.14 for a, b in pairwise(light))
    assert all((b + 0.05) / (a + 0.05) > 1.14 for a, b in pairwise(dark))


# The terminal


def printed(view, width=80, **options):
    console = Console(file=io.StringIO(), width=width, **options)
    console.print(view)
    return console.file.getvalue()


def test_the_terminal_tells_it_all_without_colour(pool):
    text = printed(PoolView(summarise_pool(pool), CELLS, "a referee"))
    flat = re.sub(r"\s+", " ", text)
    assert "pool: 16 photos of 4 classes: 7 kept, 3 discarded, 1 disputed, 5 undecided." in flat
    assert "6 have no background label yet and 1 have backgrounds in dispute" in flat
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
    assert "Warning: Only 5 photos have the review of two annotators" in flat
    assert "\x1b" not in text
    assert "\x1b[" in printed(PoolView(summarise_pool(pool)), force_terminal=True, color_system="truecolor")


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


def test_more_backgrounds_than_columns_go_into_blocks(tmp_path):
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


def test_an_empty_pool_is_no_error(tmp_path):
    pool = open_pool(tmp_path / "pool", create=True)
    assert "pool: 0 photos of 0 classes" in printed(PoolView(summarise_pool(pool)))
    assert "Nothing was decided yet." in page(pool, tmp_path).text


# The page


class Page(HTMLParser):
    """Checks that tags nest, and collects tags, hover texts and the text of the page."""

    def __init__(self, html):
        super().__init__()
        self.open, self.tags, self.words, self.titles = [], [], [], []
        self.feed(html)
        self.close()
        assert not self.open, f"unclosed: {self.open}"

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        self.words.append(" " if tag in {"td", "th", "p", "li", "h1", "h2", "caption"} else "")
        if tag not in {"meta", "wbr"}:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> does not close the innermost element"

    def handle_data(self, data):
        if "style" not in self.open:
            (self.titles if self.open and self.open[-1] == "title" else self.words).append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", "".join(self.words))

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def page(pool, folder, **options):
    return Page(write_pool_report(pool, folder / "pool.html", **options).read_text("utf-8"))


def test_the_page_says_what_the_pool_says(pool, tmp_path):
    summary = summarise_pool(pool)
    shown = page(pool, tmp_path, cells=CELLS, referee="a referee")
    heats = (background_counts(summary), discard_counts(summary), referee_accuracy(CELLS, summary.labels))
    for heat in heats:
        for row in heat.grid:
            assert {cell.title for cell in row} <= set(shown.titles)
    said = [attributes.get("aria-label", "") for attributes in shown.all("svg")]
    assert "ice bear: snow 2, grass 1" in said
    assert f"{NASTY}: none" in said
    text = shown.text
    assert "8: 5 kept, 1 undecided, 1 disputed, 1 discarded" in text
    assert "dugong no photos yet" in text
    assert "3 of 7 labelled" not in text
    assert "3 of 6 labelled" in text
    assert "2 of 6 (33 %)" in text
    for row in CELLS.iter_rows(named=True):
        assert f"{percent(row['accuracy'])} {bounds(row['low'], row['high'])}".strip() in text
    assert "1 were fetched, 3 failed, 2 are still wanted." in text
    assert "5 with two annotators or more, of whom 60.0 % of pairs agree" in text
    for warning in summary.warnings:
        assert warning in text


def test_the_page_loads_nothing_and_escapes_every_name(pool, tmp_path):
    shown = page(pool, tmp_path, cells=CELLS, referee=NASTY)
    html = (tmp_path / "pool.html").read_text("utf-8")
    policy = next(m["content"] for m in shown.all("meta") if m.get("http-equiv"))
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"
    assert not shown.all("script")
    assert "<script" not in html
    assert "not a photo: <text/html>" in shown.text
    assert shown.text.count(NASTY) >= 4
    assert not re.search(r"(?:src|href|url)\s*[=(]", html)
    for table in re.findall(r"<table.*?</table>", html, re.DOTALL):
        assert "<thead" in table
        assert 'scope="row"' in table or "<tbody>\n</tbody>" in table


def test_a_summary_gives_the_same_page_and_a_folder_gets_pool_html(pool, tmp_path):
    (tmp_path / "out").mkdir()
    first = write_pool_report(pool, tmp_path / "out")
    assert first == tmp_path / "out" / "pool.html"
    other = write_pool_report(summarise_pool(pool), tmp_path / "other.html")
    assert first.read_bytes() == other.read_bytes()


# The command


def test_the_command_with_a_real_discovery(tmp_path, monkeypatch):
    pool = make_pool(tmp_path / "pool", {"ice bear": 24, "flamingo": 24})
    rows = pool.photos().to_dicts()
    pool.decide_all(
        [event(row["path"], "ann", "background", ("snow", "grass")[k % 2]) for k, row in enumerate(rows)]
    )
    frozen = pool.freeze()
    (tmp_path / "colours.py").write_text(
        f"NAMES = {list(frozen.label_space.names)!r}\n"
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
    settings = Settings(label_space="benchmark")
    options = {"min_drop": 0, "min_photos": 1, "split": "half", "seed": 0}
    found = discover_pairs(frozen, "colours:classifier", settings, tmp_path / "pairs", **options)
    ran = CliRunner().invoke(
        command,
        [str(pool.root), "--discovery", str(tmp_path / "pairs"), "--html", str(tmp_path / "pool.html")],
        catch_exceptions=False,
    )
    assert ran.exit_code == 0
    assert "Accuracy of colours:classifier by class and background" in ran.output
    assert f"Report: {tmp_path / 'pool.html'}" in ran.output
    run = pl.read_parquet(tmp_path / "pairs" / "referee" / "predictions.parquet")
    for (name, background), photos in run.group_by("class_name", "background"):
        title = f"{name}, {background}: {percent(photos['correct'].mean())} % of {len(photos)} photos; "
        assert title in (tmp_path / "pool.html").read_text("utf-8")
    assert found.cells["n"].sum() == len(run)


def test_what_is_no_pool_or_no_discovery_is_named(pool, tmp_path):
    def refused(*words):
        with pytest.raises(UsageError) as caught:
            CliRunner().invoke(command, [str(word) for word in words], catch_exceptions=False)
        return str(caught.value)

    assert "There is no pool in" in refused(tmp_path / "nothing")
    assert "was not written by discover" in refused(pool.root, "--discovery", tmp_path)


# The page as a browser lays it out


@pytest.fixture(scope="module")
def big(tmp_path_factory):
    """45 classes with long names x 14 backgrounds, as (summary, cells)."""
    kinds = ("black-footed ferret", "Gila monster", "American egret", "prairie chicken", "three-toed sloth")
    sizes = {f"{kind} {k}{' of a rather long name' * (k % 3)}": 20 for k in range(9) for kind in kinds}
    pool = make_pool(tmp_path_factory.mktemp("big") / "pool", sizes)
    rng = np.random.default_rng(0)
    labels, reasons = BACKGROUND_LABELS, ("label noise", "feature noise", "ambiguity", "clarity", "duplicate")
    events = []
    for path in pool.photos()["path"]:
        side = rng.random()
        if side < 0.8:
            first = "keep" if side < 0.6 else reasons[rng.integers(5)]
            events += [
                event(path, who, "review", first, seconds=2.0) for who in ("ann", "bob")[: 1 + (side < 0.3)]
            ]
            truth = labels[int(14 * rng.random() ** 2)]
            for who in ("ann", "bob")[: 1 + (side < 0.3)]:
                given = truth if rng.random() < 0.8 else labels[rng.integers(14)]
                events.append(event(path, who, "background", given))
    pool.decide_all(events)
    summary = summarise_pool(pool)
    cells = []
    for name, background, n in summary.backgrounds.iter_rows():
        interval = proportion_interval(rng.random(n) < 0.7)
        cells.append((name, background, n, interval.value, interval.low, interval.high, "chooses"))
    columns = ["class_name", "background", "n", "accuracy", "low", "high", "half"]
    return summary, pl.DataFrame(cells, schema=columns, orient="row", infer_schema_length=None)


FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",
]
# A headless window is never narrower than 500 pixels, so the page is measured in a frame of the wanted width.
OUTER = """<!DOCTYPE html><iframe src="probed.html" style="border:0;width:{width}px;height:900px"></iframe>
<script>addEventListener("message", e => {{ document.documentElement.dataset.probe = e.data; }});</script>"""
PROBE = """<script>
addEventListener("load", () => {
  document.querySelectorAll("details").forEach(d => d.open = true);
  const root = document.documentElement, width = root.clientWidth, box = e => e.getBoundingClientRect();
  const inScroller = e => e.closest(".scroll") && !e.classList.contains("scroll");
  const wide = [...document.body.querySelectorAll("*")].filter(e => e.getClientRects().length)
    .filter(e => !inScroller(e) && !e.closest("thead") && box(e).right > width + 1)
    .map(e => e.tagName + "." + e.getAttribute("class") + " " + e.textContent.slice(0, 30));
  const touching = list => {
    let n = 0;
    list.forEach((a, i) => list.slice(i + 1).forEach(b => {
      if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) n++;
    }));
    return n;
  };
  let heads = 0, headsOver = 0, headsCut = 0, cells = 0, spilled = 0;
  document.querySelectorAll(".heat thead svg.strip").forEach(svg => {
    const boxes = [...svg.querySelectorAll("text")].map(box);
    heads += boxes.length; headsOver += touching(boxes);
    headsCut += boxes.filter(b => b.top < box(svg).top - 1 || b.bottom > box(svg).bottom + 1).length;
  });
  const parse = c => c.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const lum = c => parse(c).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((s, v, k) => s + v * [.2126, .7152, .0722][k], 0);
  const page = getComputedStyle(document.body).backgroundColor;
  let lowest = 21;
  document.querySelectorAll(".heat .cells g").forEach(g => {
    const text = g.querySelector("text"), rect = g.querySelector("rect");
    cells++;
    if (!text) return;
    const inner = box(text), outer = box(rect);
    if (inner.left < outer.left || inner.right > outer.right) spilled++;
    if (inner.top < outer.top || inner.bottom > outer.bottom) spilled++;
    const fill = getComputedStyle(rect).fill, under = fill === "none" ? page : fill;
    const [a, b] = [lum(getComputedStyle(text).fill), lum(under)].sort((x, y) => x - y);
    lowest = Math.min(lowest, (b + .05) / (a + .05));
  });
  parent.postMessage(JSON.stringify({width, scrollWidth: root.scrollWidth, wide: wide.slice(0, 5), heads,
    headsOver, headsCut, cells, spilled, lowest, dark: lum(page) < .2}), "*");
});
</script></body>"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None and not os.environ.get("CI"):
        pytest.skip("Chromium is needed to see the page as readers do: apt-get install chromium")
    assert program, "continuous integration installs Chromium"

    def run(page, *options):
        profile = tmp_path_factory.mktemp("profile")
        line = [program, *FLAGS, f"--user-data-dir={profile}", *options, page.as_uri()]
        return subprocess.run(line, capture_output=True, text=True, timeout=60, check=True).stdout

    return run


def probe(chromium, report, width, dark):
    """Let a copy of the page measure itself; only the copy may run a script."""
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", report.read_text("utf-8"))
    report.with_name("probed.html").write_text(html.replace("</body>", PROBE), "utf-8")
    outer = report.with_name("outer.html")
    outer.write_text(OUTER.format(width=width), "utf-8")
    scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
    dom = chromium(outer, "--window-size=1400,1000", scheme, "--virtual-time-budget=3000", "--dump-dom")
    return json.loads(unescape(re.search(r'data-probe="([^"]*)"', dom).group(1)))


@pytest.mark.parametrize(("width", "dark"), [(390, False), (390, True), (800, False), (1280, True)])
def test_heat_maps_of_45_classes_fit_and_can_be_read(chromium, big, tmp_path, width, dark):
    summary, cells = big
    report = write_pool_report(
        summary, tmp_path / "pool.html", cells=cells, referee="a:referee/of-a-long-name"
    )
    seen = probe(chromium, report, width, dark)
    assert (seen["width"], seen["dark"]) == (width, dark)
    assert seen["scrollWidth"] <= width
    assert seen["wide"] == []
    assert (seen["heads"], seen["cells"]) == (14 + 14 + 5, 45 * (14 + 14 + 5))
    assert (seen["headsOver"], seen["headsCut"], seen["spilled"]) == (0, 0, 0)
    assert seen["lowest"] >= 4.5


@pytest.mark.parametrize("width", [390, 1280])
def test_strange_names_and_many_labels_fit_too(chromium, pool, tmp_path, width):
    labels = [f"{'long ' * (k % 4)}background {k}" for k in range(23)]
    pool.set_setting("background_labels", [*labels, "snow", "water"])
    seen = probe(chromium, write_pool_report(pool, tmp_path / "pool.html", cells=CELLS), width, dark=False)
    assert seen["scrollWidth"] <= width
    assert seen["wide"] == []
    assert (seen["headsOver"], seen["headsCut"], seen["spilled"]) == (0, 0, 0)
    assert seen["lowest"] >= 4.5
