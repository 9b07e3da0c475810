"""Versions and label spaces of one benchmark are not mixed, and the same result does not count twice."""

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from paper_sized import classifier_record, clip_record

import counterground as cg
from counterground.comparison import (
    effective_robustness,
    full_comparison,
    model_points,
)
from counterground.metrics import compare_models

SIZES = np.full((6, 2), 40)
B32, L14 = "open_clip:ViT-B-32/openai", "open_clip:ViT-L-14/openai"
NEW = "z" * 64


@pytest.fixture
def stamps(make_run):
    """Function: (path, accuracies, **what differs) -> Run on stamps."""

    def make(path, levels, **differing):
        return make_run(levels, path=path, sizes=SIZES, name="stamps", **differing)

    return make


def lites(drop):
    return {f"efficientnet-lite{k}": (0.6 + 0.1 * k, 0.4 + 0.12 * k - drop) for k in range(4)}


def written(comparison, style):
    if style == "html":
        return comparison._repr_html_()
    if style != "table":
        return comparison.write(style)
    from rich.console import Console

    console = Console(width=100)
    with console.capture() as capture:
        console.print(comparison)
    return " ".join(capture.get().split())


def test_ranks_and_tests_of_one_version_do_not_depend_on_the_other(stamps):
    alike = stamps("vC", {B32: (0.8, 0.7), L14: (0.8, 0.68)}, version=NEW)
    apart = stamps("vA", {B32: (0.9, 0.2), L14: (0.9, 0.85)})
    alone = [full_comparison(run, published=False) for run in (alike, apart)]
    for runs in ([alike, apart], [apart, alike]):
        both = full_comparison(runs, published=False)
        for one in alone:
            version = one.points["benchmark_version"][0]
            ours = both.models.filter(benchmark_version=version)
            ranks = ["model", "rank", "rank_low", "rank_high"]
            assert ours.select(ranks).equals(one.models.select(ranks))
            assert both.tests.filter(benchmark_version=version).equals(one.tests)
    assert alone[0].models["rank_high"].to_list() == [2, 2]


def test_each_table_stands_above_its_own_line(stamps):
    """Of two label spaces and two versions, each equation is that of the models in its table."""
    runs = [
        stamps("a", lites(0)),
        stamps("b", lites(0.2), label_space="benchmark"),
        stamps("c", lites(0.3), version=NEW),
    ]
    found = full_comparison(runs, published=False)
    said = " ".join(written(found, "markdown").split())
    for run in runs:
        fit = effective_robustness(model_points([run], published=False)).fit
        place = (run.info.benchmark.version, run.info.candidates.name)
        line = next(x for x in found.robustness.lines if (x.benchmark_version, x.label_space) == place)
        assert line.fit == fit
        title = f"stamps (version {place[0][:8]}), label space {place[1]}"
        table = said.partition(f"### 4 models on {title}")[2].partition("###")[0]
        assert f"+ {fit.slope:.3f}" in table
    record = json.loads(found.write("json"))["lines"]
    assert len({(line["benchmark_version"], line["label_space"]) for line in record}) == 3


def test_a_run_of_the_papers_weights_is_measured_without_the_papers_row(make_run):
    run = make_run({"torchvision:alexnet": (0.596, 0.3924), "torchvision:resnet50": (0.8137, 0.6606)})
    points = model_points([run])
    found = effective_robustness(points).residuals
    for spec, model in (("torchvision:alexnet", "AlexNet"), ("torchvision:resnet50", "RN50")):
        row = points.with_row_index("row").filter(model=spec).row(0, named=True)
        assert row["paper_model"] == model
        left = points.filter((pl.col("source") != "paper") | (pl.col("model") != model))
        without = effective_robustness(left).residuals.filter(pl.col("model") == spec)
        assert found.filter(pl.col("model") == spec)["predicted"][0] == pytest.approx(without["predicted"][0])
    stranger = make_run({"torchvision:other": (0.6, 0.4)})
    assert effective_robustness(model_points([stranger])).residuals["predicted"][-1] == pytest.approx(
        effective_robustness(points).fit.predict(model_points([stranger])["common"][-1])
    )


@pytest.mark.parametrize(
    ("spec", "file"),
    [
        ("open_clip:seeds/last", "open_clip_model.safetensors"),  # a folder
        ("open_clip:ViT-B-32@seeds/last.pt", "last.pt"),
    ],
)
def test_files_and_folders_called_as_published_weights_are_several_models(spec, file, stamps):
    levels = [(0.6, 0.4), (0.7, 0.5), (0.8, 0.66), (0.9, 0.7)]
    folder = clip_record(spec)
    folder.description["weights"] = file
    runs = [
        stamps(
            f"seed{n}", {folder.spec: level}, records=[folder.model_copy(update={"fingerprint": f"{n}" * 64})]
        )
        for n, level in enumerate(levels)
    ]
    assert effective_robustness(model_points(runs, published=False), baseline="clip").fit.n == 4
    tags = [
        stamps(f"tag{n}", {B32: level}, records=[clip_record(B32).model_copy(update={"fingerprint": f"{n}"})])
        for n, level in enumerate(levels)
    ]
    assert effective_robustness(model_points(tags, published=False), baseline="clip").fit is None


def of_other_libraries(levels):
    """Records of the same weights, with the fingerprints they have under other versions of libraries."""
    return [classifier_record(spec).model_copy(update={"fingerprint": "e" * 64}) for spec in levels]


def test_published_weights_count_once_in_a_line_whatever_loaded_them(stamps):
    """The same answers under other libraries, and slightly other ones in another precision."""
    levels = lites(0)
    levels["efficientnet-lite1"] = (0.7, 0.57)
    first = stamps("a", levels)
    alone = full_comparison(first, published=False)
    for again in (levels, {spec: (a, b + 0.025) for spec, (a, b) in levels.items()}):
        second = stamps("b", again, records=of_other_libraries(again))
        found = full_comparison([first, second], published=False)
        assert found.robustness.fit == alone.robustness.fit
        assert found.robustness.fit.n == 4
        shown = found.models.filter(source="a").select("predicted", "residual", "residual_low")
        assert shown.rows() == [
            pytest.approx(row) for row in alone.models.select("predicted", "residual", "residual_low").rows()
        ]
        # A second result is measured against the line through the other models, as the first is.
        others = found.models.filter(source="b")
        assert others["predicted"].to_list() == pytest.approx(alone.models["predicted"].to_list())


def test_pairs_that_are_not_tested_are_said(stamps):
    """A classifier reads no prompts, but its run may have other ones than that of a CLIP."""
    runs = [
        stamps("a", {"efficientnet-lite0": (0.7, 0.5), "efficientnet-lite1": (0.8, 0.6)}),
        stamps("b", {B32: (0.8, 0.5)}, prompts="openai"),
    ]
    told = untested(full_comparison(runs, published=False))
    assert told == [("stamps", (f"efficientnet-lite0 and {B32}", f"efficientnet-lite1 and {B32}"))]
    told = untested(full_comparison(runs, published=False, against="efficientnet-lite1"))
    assert told[0] == ("stamps", (f"efficientnet-lite1 and {B32}",))
    runs[1] = stamps("b", {B32: (0.8, 0.5)})
    assert untested(full_comparison(runs, published=False)) == []


def untested(comparison):
    return [
        (each.subject, each.numbers["others"]) for each in comparison.findings if each.code == "not_tested"
    ]


def test_what_two_runs_hold_alike_is_one_row_that_names_both(stamps):
    levels = {**lites(0), B32: (0.7, 0.5)}
    first = stamps("n1", levels, names="openai")
    # A label space has another version where its names are written in another way.
    second = stamps("n2", {**levels, B32: (0.9, 0.2)}, names="wordnet", space_version="2")
    found = full_comparison([first, second], published=False)
    assert found.points.group_by("model").len().filter(pl.col("len") > 1)["model"].to_list() == [B32]
    assert set(found.points.filter(family="imagenet")["source"]) == {"n1, n2"}
    assert found.points.filter(model=B32)["source"].to_list() == ["n1", "n2"]
    assert found.robustness.fit == effective_robustness(model_points([first], published=False)).fit
    assert set(found.ranks["of"]) == {6}
    assert "efficientnet-lite0 (n1, n2)" in written(found, "markdown")
    # Six results make 15 pairs of class-wise drops.
    assert found.agreement.height == 15
    assert "n1, n2" in set(found.agreement["source"])
    # Classifiers are tested against each other once, not once for each list of names.
    classifiers = found.tests.filter(~pl.col("model").str.contains("open_clip"), metric="drop")
    pairs = classifiers.filter(~pl.col("versus").str.contains("open_clip")).select("model", "versus")
    assert pairs.height == pairs.unique().height == 6


@pytest.mark.parametrize(
    "differing",
    [
        {"version": NEW},
        {"label_space": "benchmark"},
        {"space_version": "2"},
        {"seed": 7},
        {"records": [classifier_record("m").model_copy(update={"fingerprint": "e" * 64})]},
    ],
)
def test_what_is_not_the_same_result_stays_two_rows(stamps, differing):
    runs = [stamps("a", {"m": (0.7, 0.5)}), stamps("b", {"m": (0.7, 0.5)}, **differing)]
    assert model_points(runs, published=False)["source"].to_list() == ["a", "b"]


def test_a_contrast_has_one_corrected_p_value(small_run):
    """Whether a table shows every pair or those with one model, and whoever reads the tests."""
    whole = full_comparison([small_run], published=False).tests
    for model in small_run.info.models:
        part = full_comparison([small_run], published=False, against=model.spec).tests
        shown = {frozenset(pair): p for *pair, p in drops(part).iter_rows()}
        assert shown == {frozenset(pair): p for *pair, p in drops(whole).iter_rows() if model.spec in pair}
    alone = compare_models(small_run.predictions)
    assert drops(alone).rows() == drops(whole).rows()


def drops(tests):
    return tests.filter(metric="drop").select("model", "versus", "p_corrected")


def test_a_photo_that_one_run_lacks_takes_no_test_from_the_others(make_run):
    both = make_run({"x": (0.9, 0.5), "y": (0.7, 0.6)}, path="a")
    alone = make_run({"z": (0.8, 0.5)}, path="b")
    path = alone.predictions["path"][0]
    less = replace(alone, predictions=alone.predictions.filter(pl.col("path") != path))
    found = cg.compare([both, less])
    assert set(found.every_test.select("model", "versus").rows()) == {("x", "y")}
    alike = cg.compare(both).every_test
    assert found.every_test["p_corrected"].to_list() == alike["p_corrected"].to_list()
    assert untested(found) == [("counteranimal", ("a", "b"))]
