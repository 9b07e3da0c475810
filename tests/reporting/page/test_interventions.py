"""Swapped backgrounds and mitigations on the page: two answers, and a part of the section for each."""

import json
import re
import shutil

import numpy as np
import polars as pl
import pytest
from disc_photos import background_only, coin, disc_photos, foreground_only
from html_page import Page
from PIL import Image
from planted_photos import Planted, planted_benchmark

import counterground as cg
from counterground.photos import load_photo
from counterground.reporting import write_report
from counterground.results import read_mitigation, select_models

MODELS = {"background": background_only, "foreground": foreground_only, "coin": coin}
COSTS = ("pasted_cost", "refilled_cost", "same_label_cost")
QUICK = {"label_space": "benchmark", "report": False}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Runs of discs by networks that see one part only, and of planted photos with two of its mitigations."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(folder / "cache"))
        discs = disc_photos(folder / "discs", 6, soft=True)
        planted = planted_files(folder / "planted")
        swap = {"backgrounds_per_label": 2, **QUICK}
        mend = {"label_space": "benchmark"}
        methods = ["template-ensemble", "text-projection"]
        yield {
            "discs": cg.evaluate(discs, MODELS, out=folder / "a", **QUICK),
            "discs swapped": cg.swap(discs, MODELS, out=folder / "b", **swap),
            "planted": cg.evaluate(planted, {"one": Planted()}, out=folder / "c", **QUICK),
            "planted swapped": cg.swap(
                planted, {"other": Planted()}, out=folder / "d", foregrounds=12, **swap
            ),
            "planted mitigated": cg.mitigate(planted, Planted(), methods, out=folder / "e", **mend).run,
            "planted in vain": cg.mitigate(planted, Planted(), methods[0], out=folder / "f", **mend).run,
        }


def planted_files(folder):
    """Write planted photos and the masks of their objects, which are squares in the middle."""
    made = planted_benchmark()
    (folder / "masks").mkdir(parents=True)
    for path, area in made.photos.select("path", "object_area").iter_rows():
        photo = load_photo(made.photo_source(path)).image
        photo.save(folder / path)
        side = round(photo.width * float(area) ** 0.5)
        start = (photo.width - side) // 2
        alpha = np.zeros((photo.height, photo.width), np.uint8)
        alpha[start : start + side, start : start + side] = 255
        Image.fromarray(alpha).save(folder / "masks" / path)
    columns = ("path", "class_name", "background", "group", "cluster")
    table = made.photos.select(*columns, mask="masks/" + pl.col("path"))
    return cg.Benchmark.from_frame(table, root=folder, name="planted")


@pytest.fixture(scope="module")
def written(made, tmp_path_factory):
    """Function: (*names of runs) -> the page of these runs, written once."""
    pages = {}

    def write(*names):
        if names not in pages:
            out = tmp_path_factory.mktemp("page") / "report.html"
            pages[names] = write_report([made[name] for name in names], out, photos=False)
        return pages[names]

    return write


def told(page):
    """The findings of a page: sentences by code."""
    found = re.findall(r'data-code="(\w+)">(.*?)</(?:li|p|h2)>', page.read_text(), re.DOTALL)
    return {code: words(text) for code, text in found}


def words(html):
    return Page(html).text.strip()


def figures(run, model, *names):
    rows = run.effects().filter(pl.col("class_index").is_null(), model=model)
    return {row["metric"]: row for row in rows.iter_rows(named=True) if row["metric"] in names}


def said(row):
    numbers = (
        f"{100 * row[end]:.1f}".replace("-0.0", "0.0").replace("-", "−") for end in ("value", "low", "high")
    )
    return "{} points [{}, {}]".format(*numbers)


def test_the_effect_of_the_background_is_the_answer(made, written):
    own = figures(made["planted swapped"], "other", "background_effect")
    found = told(written("planted", "planted swapped"))
    assert f"one loses {said(own['background_effect'])}" in found["caused"]
    assert not {"do_swap", "not_caused"} & set(found)


def test_an_effect_of_more_classes_than_the_drop_is_said_to_be(tmp_path):
    discs = disc_photos(tmp_path / "discs", 4)
    few = (pl.col("class_name") == "ox") & (pl.col("group") == "counter") & ~pl.col("path").str.contains("0")
    some = cg.Benchmark(discs.name, discs.root, discs.photos.filter(~few), discs.classes)
    run = cg.swap(some, {"coin": coin}, out=tmp_path / "run", backgrounds_per_label=2, **QUICK)
    page = words(write_report([run], tmp_path / "report.html", photos=False).read_text())
    own = figures(run, "coin", "background_effect", "background_part", "observed_drop", "rest")
    assert own["background_effect"]["value"] != own["background_part"]["value"]
    (checked,) = cg.check(run, max_drop=0.05).verdicts
    assert checked.value == own["background_effect"]["value"]
    assert said(own["background_part"]).replace(" points", "") in page
    assert "Background effect, of all classes" in page
    assert "= background, of these classes" in page


@pytest.mark.parametrize("model", MODELS)
def test_the_answer_is_no_stronger_than_the_interval(made, tmp_path, model):
    run = made["discs swapped"]
    own = figures(run, model, "background_effect")["background_effect"]
    (alone,) = select_models({run.path: run}, [model]).values()
    found = told(write_report([alone], tmp_path / "report.html", photos=False))
    costs = figures(run, model, *COSTS).values()
    assert ("placebo_large" in found) == any(abs(cost["value"]) > 0.02 for cost in costs)
    code = "caused" if own["low"] > 0 else "not_caused"
    assert said(own) in found[code]
    assert len({"caused", "not_caused"} & set(found)) == 1


def test_mitigations_that_help_are_named_with_gain_and_cost(made, written):
    record = read_mitigation(made["planted mitigated"].path)
    vain, good = record.methods
    assert good.gain.significant
    assert not vain.gain.significant
    found = told(written("planted", "planted mitigated"))["mended"]
    assert found.startswith("text-projection ")
    assert f"{good.gain.text} points {good.gain.interval}, at a cost of {good.cost.text} points" in found


@pytest.mark.parametrize("kind", ["smaller by loss", "reversed"])
def test_a_drop_that_shrinks_by_loss_or_turns_round_is_not_mended(made, tmp_path, kind):
    folder = shutil.copytree(made["planted mitigated"].path, tmp_path / "run")
    record = json.loads((folder / "mitigation.json").read_bytes())
    if kind == "reversed":
        record["methods"][1]["mitigated"]["drop"] |= {"value": -0.5, "low": -0.7, "high": -0.3}
    else:
        record["methods"][1]["cost"] = record["methods"][1]["gain"]
    (folder / "mitigation.json").write_text(json.dumps(record))
    page = write_report([cg.open_run(folder)], tmp_path / "report.html", photos=False)
    assert "not_mended" in told(page)
    assert f"({kind}) " in page.read_text()


def test_a_swapped_run_alone_is_about_the_same_objects(written):
    page = written("planted swapped")
    found = told(page)
    assert "swap=" not in words(page.read_text())
    assert "models rely on the background" in words(page.read_text())
    assert "caused" in found
    assert "confounded" not in found


def test_a_mitigated_run_alone_is_about_the_model_as_it_is(written):
    page = written("planted mitigated")
    table = page.read_text().partition('id="table1"')[2].partition("</table>")[0]
    assert table.count("<tr") == 2
    found = told(page)
    assert found["mended"].startswith("text-projection ")
    assert {"do_swap"} <= set(found)
    assert "do_mitigate" not in found
    assert "rely" not in words(page.read_text()).split("Run details")[0]


def test_each_background_and_class_has_its_effect(made, written):
    page = written("planted", "planted swapped", "planted mitigated").read_text()
    part = page.partition('id="causes1"')[2]
    run = made["planted swapped"]
    rows, classes = run.effects(), dict(run.photos.select("class_name", "class_index").rows())
    for name in ("grass", "snow", "water"):
        against = rows.filter(pl.col("class_index").is_null(), metric="background_against_mean", level=name)
        (row,) = against.iter_rows(named=True)
        assert f"one, {name}: {said(row)}" in part
    for name in ("ox", "goose", "otter", "crab"):
        (row,) = rows.filter(metric="background_effect", class_index=classes[name]).iter_rows(named=True)
        assert f"one, {name}: {said(row)}" in part


def test_every_reader_can_use_the_page(visit, written, complaints):
    page, width = written("planted", "planted swapped", "planted mitigated"), 390
    tab = visit(page, width=width, bypass_csp=True)
    tab.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
    assert complaints(tab) == []
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    cut = """[...document.querySelectorAll('.verdict *, .cures text, .strip text, .drops th, .by th, .by td')]
        .filter(each => each.getClientRects().length && !each.closest('.scroll, thead'))
        .map(each => [each.getBoundingClientRect(), each.textContent.trim().slice(0, 40)])
        .filter(([box]) => box.left < -1 || box.right > innerWidth + 1).map(([, text]) => text)"""
    assert tab.evaluate(cut) == []


@pytest.mark.parametrize("kind", ["background_only", "same"])
def test_composites_without_an_effect_show_no_reliance(tmp_path, kind):
    """Each background has objects of its own, or no object; `check` decides nothing about them either."""
    discs = disc_photos(tmp_path / "discs", 4)
    run = cg.swap(discs, {"one": foreground_only}, out=tmp_path / "run", kinds=kind, **QUICK)
    page = write_report([run], tmp_path / "report.html", photos=False)
    assert {"no_effect", "do_swap_kinds"} <= set(told(page))
    assert not {"loses", "caused"} & set(told(page))
    assert "Composites are not kept as files." in words(page.read_text())
