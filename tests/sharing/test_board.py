"""Boards say where each row comes from, refuse what does not fit, and stay small and usable."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from made_bundles import answer, audited, forge, made_bundle
from made_runs import fresh_run
from paper_sized import make_paper_run

from counterground.api import scores
from counterground.cli import main
from counterground.comparison import model_points, rank_models
from counterground.files import file_sha256
from counterground.sharing import Entry, read_board, write_board


@pytest.fixture(scope="session")
def example(tmp_path_factory):
    """A board with a row of each kind; the recomputed bundle is found before the audited one."""
    board = tmp_path_factory.mktemp("example") / "board"
    made_bundle(board / "a" / "recomputed", "second", (0.7, 0.3), weights="b" * 64)
    audited(made_bundle(board / "b" / "of" / "2025" / "audited", "first"))
    made_bundle(board / "claimed", "third", (0.9, 0.8), weights="c" * 64, version="cd34" * 16)
    return board


@pytest.fixture
def board(example, tmp_path):
    return shutil.copytree(example, tmp_path / "board")


def tables(page):
    """Rows of each table of a page: the values of cells by column, and the row's name."""
    found = []
    for body in re.findall(r"<tbody.*?</tbody>", page.read_text(), re.DOTALL):
        found.append([])
        for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL):
            cells = dict(re.findall(r'data-label="([^"]*)" data-value="([^"]*)"', row))
            (cells["Model"],) = re.findall(r'scope="row" data-value="([^"]*)"', row)
            (cells["shown ranks"],) = re.findall(r'data-label="Ranks" data-value="[^"]*"><span>([^<]*)<', row)
            found[-1].append(cells)
    return found


def test_each_row_says_where_it_comes_from(board, capsys):
    assert main(["board", str(board), "--check"]) == 0
    said = {path: origin for origin, path in map(str.split, capsys.readouterr().out.splitlines())}
    assert said == {
        str(board / "a/recomputed"): "recomputed",
        str(board / "b/of/2025/audited"): "audited",
        str(board / "claimed"): "claimed",
    }

    page = board / "index.html"
    assert main(["board", str(board), "-o", str(page)]) == 0

    assert [[row["From"] for row in table] for table in tables(page)] == [
        ["audited", "recomputed"],
        ["claimed"],
        ["printed"] * 43,
    ]
    for link in re.findall(r'<a href="([^"]*)"', page.read_text()):
        assert (page.parent / link / "run.json").is_file() or (page.parent / link).is_file()


def test_figures_are_those_of_the_bundles(example, tmp_path):
    page = write_board(read_board(example)[0], tmp_path / "index.html")
    rows = {row["Model"]: row for table in tables(page) for row in table if row["From"] != "printed"}
    for folder in ("a/recomputed", "b/of/2025/audited", "claimed"):
        every = scores(example / folder)
        every = every.filter(pl.col("class_index").is_null(), pl.col("metric").is_in(["accuracy", "drop"]))
        values = {row["level"] or row["metric"]: row["value"] for row in every.iter_rows(named=True)}
        row = rows[every["model"][0]]
        for name in ("drop", "common", "counter"):
            assert float(row[name.capitalize()]) == pytest.approx(values[name], abs=1e-4)
        assert float(row["Balanced accuracy"]) == pytest.approx(values["accuracy"], abs=1e-4)
    assert len(rows) == 3


def test_the_papers_43_rows_have_the_ranks_of_compare(tmp_path):
    (table,) = tables(write_board([], tmp_path / "index.html"))
    points = model_points()
    ranks = rank_models(points).with_columns(label=points["label"]).sort("rank", maintain_order=True)
    assert len(table) == 43
    assert [(row["Model"], int(row["Ranks"]), row["shown ranks"]) for row in table] == [
        (label, rank, f"{low}–{high}" if low < high else f"{low}")
        for label, rank, low, high in ranks.select("label", "rank", "rank_low", "rank_high").iter_rows()
    ]
    drops = [float(row["Drop"]) for row in table]
    assert drops == sorted(drops)
    assert {row["From"] for row in table} == {"printed"}


def test_a_run_on_the_papers_photos_stands_among_its_rows(tmp_path):
    run = make_paper_run({"open_clip:ViT-B-32/laion2b_s34b_b79k": (0.9, 0.8)})
    elsewhere = make_paper_run({"efficientnet-lite0": (0.9, 0.5)}, sizes=np.full((6, 2), 40), name="mine")
    entries = [Entry(replace(run, path=tmp_path / "a"), "claimed"), Entry(elsewhere, "claimed")]
    paper, other = tables(write_board(entries, tmp_path / "index.html"))
    assert [len(paper), len(other)] == [44, 1]
    (place,) = [place for place, row in enumerate(paper) if row["From"] == "claimed"]
    assert 0 < place < 43
    drops = [float(row["Drop"]) for row in paper]
    assert drops[place] == pytest.approx(0.1, abs=0.002)
    assert drops == sorted(drops)


def test_without_groups_accuracy_ranks(tmp_path):
    entries = [
        Entry(fresh_run({model: level}, groups=False, path=model), "claimed")
        for model, level in {"low": (0.5, 0.5), "high": (0.9, 0.9), "middle": (0.7, 0.7)}.items()
    ]
    table = tables(write_board(entries, tmp_path / "index.html"))[0]
    assert [row["Model"] for row in table] == ["high", "middle", "low"]
    assert [row["Ranks"] for row in table] == ["1", "2", "3"]
    assert not {"Drop", "Common", "Counter"} & table[0].keys()


@pytest.mark.parametrize("others", [0, 1])
def test_models_near_chance_are_last_without_a_rank(tmp_path, others):
    # One name and folder for all: what is near chance is a matter of the row.
    entries = [
        Entry(fresh_run({"first": level}, per_group=3, path=f"{folder}/first"), "claimed")
        for folder, level in (("a", (-1, -1)), *[("b", (0.9, 0.7))] * others)
    ]
    table = tables(write_board(entries, tmp_path / "index.html"))[0]
    assert [row["Ranks"] for row in table] == ["1", ""][1 - others :]
    assert "Drop" in table[0]


@pytest.mark.parametrize(
    ("change", "culprit"),
    [
        ({"bundle": "0" * 64}, "other files"),
        ({"photos": 59}, "60 photos"),
        ({"of": 61}, "60 photos"),
        ({"mismatches": ["00000007", "00000009"]}, "2 photos"),
        ({"bound": "little"}, "not an audit"),
        ({"by": "me"}, "not an audit"),
        ("no JSON", "not an audit"),
        ("[]", "not an audit"),
    ],
)
def test_a_bad_audit_is_refused(board, refusal, change, culprit):
    folder = board / "b/of/2025/audited"
    if isinstance(change, str):
        (folder / "audit.json").write_text(change)
    else:
        audited(folder, **change)

    status, said = refusal("board", board, "--check")
    assert (status, str(folder / "audit.json") in said, culprit in said) == (1, True, True)

    status, said = refusal("board", board, "-o", board / "index.html")
    assert (status, str(folder) in said) == (1, True)
    assert not (board / "index.html").exists()


def test_a_small_bundle_is_audited_as_a_whole(tmp_path, refusal):
    folder = audited(made_bundle(tmp_path / "board/small", per_group=2))  # 36 photos
    assert [entry.origin for entry in read_board(folder.parent)[0]] == ["audited"]
    audited(folder, photos=35)
    assert refusal("board", folder.parent, "--check")[0] == 1


@pytest.mark.parametrize(
    ("alter", "culprit"),
    [
        ({"edit": lambda rows: rows[:-1]}, "359 photos"),
        (
            {"edit": lambda rows: rows.with_columns(photo_id=pl.lit("f") + pl.col("photo_id"))},
            "photo_id of photo",
        ),
        ({"edit": lambda rows: rows.with_columns(background=pl.lit("snow"))}, "background of photo"),
        ({"edit": lambda rows: rows.with_columns(~pl.col("correct"))}, "correct"),
        ({"benchmark__split": "A"}, "split"),
    ],
)
def test_what_differs_from_the_audited_bundle_is_refused_and_the_others_stand(
    board, refusal, capsys, alter, culprit
):
    forge(board / "a/recomputed", **alter)

    status, said = refusal("board", board, "--check")

    assert status == 1
    assert str(board / "a/recomputed") in said
    assert culprit in said
    entries, problems = read_board(board)
    assert ([entry.bundle.path.name for entry in entries], len(problems)) == (["audited", "claimed"], 1)


def test_altered_answers_make_an_audit_that_of_other_files(board, refusal):
    folder = board / "b/of/2025/audited"
    before = file_sha256(folder / "predictions.parquet")
    forge(folder, answer(["00000003"], 5))
    assert file_sha256(folder / "predictions.parquet") != before
    status, said = refusal("board", board, "--check")
    assert (status, str(folder) in said, "other files" in said) == (1, True, True)


def test_two_models_need_two_names(tmp_path, refusal):
    board = tmp_path / "board"
    for folder, weights in (("ada", "a"), ("ben", "a")):
        made_bundle(board / folder, "first", weights=weights * 64)
    assert main(["board", str(board), "-o", str(tmp_path / "index.html")]) == 0
    assert [row["Model"] for row in tables(tmp_path / "index.html")[0]] == ["first", "first"]

    made_bundle(board / "eve", "first", (0.9, 0.9), weights="e" * 64)
    status, said = refusal("board", board, "--check")
    assert (status, str(board / "eve") in said, str(board / "ada") in said, "first" in said) == (
        1,
        True,
        True,
        True,
    )


@pytest.mark.parametrize(
    "words", [("board",), ("board", "--check", "-o", "x.html"), ("none", "--check"), ("board", "-o", "x.txt")]
)
def test_wrong_usage(board, refusal, monkeypatch, words):
    monkeypatch.chdir(board.parent)
    assert refusal("board", *words)[0] == 2
    assert {file.name for file in board.parent.iterdir()} == {"board"}


def many(folder, count):
    """Entries of as many models, with drops of all sizes."""
    entries = []
    for k in range(10, 10 + count):
        name = f"open_clip:ViT-B-{k}-quickgelu/laion2b_s34b_b{k}k"
        run = fresh_run({name: (0.5 + 0.4 * (37 * k % 97) / 97, 0.4)}, per_group=2)
        origin = ("audited", "recomputed", "claimed")[k % 3]
        entries.append(Entry(replace(run, path=folder / f"bundles/{k}"), origin))
    return entries


@pytest.mark.slow
def test_five_hundred_rows_are_less_than_a_megabyte(tmp_path):
    page = write_board(many(tmp_path, 500), tmp_path / "index.html")
    assert [len(table) for table in tables(page)] == [500, 43]
    assert page.stat().st_size <= 1_000_000


@pytest.fixture
def tab(chromium, example, tmp_path):
    """Function: (width, entries) -> a board in the browser."""
    contexts, trouble = [], []

    def visit(width, entries=None):
        page = write_board(entries or read_board(example)[0], tmp_path / "index.html")
        # The page's policy would not let the checking script in.
        context = chromium.new_context(viewport={"width": width, "height": 900}, bypass_csp=True)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: trouble.append(message.text))
        tab.on("pageerror", lambda error: trouble.append(str(error)))
        tab.goto(page.as_uri())
        tab.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
        return tab

    yield visit
    for context in contexts:
        context.close()
    assert trouble == []


@pytest.mark.parametrize("width", [390, 1280])
def test_every_reader_can_use_a_board(tab, complaints, width):
    page = tab(width)
    assert page.locator("tbody tr").count() == 46
    assert complaints(page) == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    wide = """() => [...document.querySelectorAll('main *')]
        .filter(e => !e.closest('thead') && e.getClientRects().length)
        .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
        .map(e => e.outerHTML)"""
    assert page.evaluate(wide) == []


@pytest.mark.parametrize(
    ("title", "numeric"), [("Drop", True), ("Ranks", True), ("Model", False), ("From", False)]
)
def test_heads_sort_a_board(tab, tmp_path, title, numeric):
    page = tab(1280, many(tmp_path, 12))
    table = page.locator("table").first
    titles = [text.strip() for text in table.locator("thead th").all_inner_texts()]
    read = "(rows, k) => rows.map(row => row.cells[k].dataset.value)"
    place = titles.index(title)
    before = table.locator("tbody tr").evaluate_all(read, place)

    table.locator("thead th").nth(place).get_by_role("button").click()

    after = table.locator("tbody tr").evaluate_all(read, place)
    assert after == sorted(before, key=float if numeric else str.lower, reverse=numeric)
    assert after != before
    page.get_by_role("searchbox").first.fill("B-17-")
    assert table.locator("tbody tr:visible").count() == 1


def test_the_results_of_this_repository_are_audited(capsys):
    assert main(["board", str(Path(__file__).parents[2] / "results"), "--check"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in said] == ["audited"] * 5
