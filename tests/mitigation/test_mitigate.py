"""Mending a model: every photo is judged once, by a head that saw nothing of its cluster."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from planted_photos import CLASSES, Planted, PlantedClassifier, planted_benchmark
from safetensors.numpy import save

import counterground as cg
from counterground.errors import CounterGroundError, UsageError
from counterground.metrics import Contrast, Design, compare_models
from counterground.mitigation import MitigatedHead, Mitigation, list_mitigations, read_head
from counterground.results import read_mitigation, repeat_command

ROOM = Path(cg.__file__).parent / "mitigation"


def of(record, name):
    return next(each for each in record.methods if each.name == name)


def test_an_exported_head_that_is_worse_than_those_judged_is_named(planted, tmp_path):
    def fit(data):
        # Fitted on all photos it knows nothing, fitted on a third it is the model's own head.
        known = data.scale if len(data.features) < len(planted) else 0
        return MitigatedHead(weight=(known * data.head).astype(np.float32))

    method = Mitigation(name="fragile", title="worse with more photos", source="a test", fit=fit)
    found = cg.mitigate(planted, Planted(), [method, "text-projection"], out=tmp_path / "run")
    (note,) = (each for each in found.record.notes if "exported head" in each)
    assert note.startswith("The exported head of fragile recognises 25.0 % of the common photos")


def test_a_method_that_changes_its_data_changes_no_other_method(planted, tmp_path):
    def spoil(data):
        for array in (data.head, data.features, data.class_index):
            array[:] = 0
        return MitigatedHead(weight=data.head)

    def own(data):
        return MitigatedHead(weight=data.scale * data.head)

    methods = [Mitigation(f.__name__, "a test", "a test", f) for f in (spoil, own)]
    found = cg.mitigate(planted, Planted(), methods, out=tmp_path / "run")
    assert of(found.record, "own").mitigated == found.record.unmitigated


def test_figures_are_those_of_the_runs_scores_and_of_its_comparison(mitigated):
    run, record = mitigated.run, mitigated.record
    overall = run.estimates().filter(pl.col("class_index").is_null())
    for model, found in [
        ("Planted", record.unmitigated),
        *((each.model, each.mitigated) for each in record.methods),
    ]:
        rows = overall.filter(model=model)
        for figure, metric, group in (
            (found.common, "accuracy", "common"),
            (found.counter, "accuracy", "counter"),
            (found.drop, "drop", None),
        ):
            row = rows.filter(pl.col("metric") == metric, pl.col("level").eq_missing(pl.lit(group)))
            assert row.select("value", "low", "high").row(0) == (figure.value, figure.low, figure.high)
    for each in record.methods:
        assert each.cost.value == pytest.approx(record.unmitigated.common.value - each.mitigated.common.value)
        assert each.gain.value == pytest.approx(record.unmitigated.drop.value - each.mitigated.drop.value)
        assert each.cost.low <= each.cost.value <= each.cost.high


def test_a_planted_reliance_goes_with_the_backgrounds_and_stays_with_templates(mitigated):
    record = mitigated.record
    assert record.unmitigated.drop.value > 0.7
    projected, templates = of(record, "text-projection"), of(record, "template-ensemble")
    assert projected.gain.low > 0.5
    assert projected.gain.significant
    assert not templates.gain.significant
    assert [(each.code, each.numbers["method"]) for each in record.findings] == [
        ("mended", "text-projection")
    ]


def test_no_head_predicts_a_cluster_that_it_was_fitted_or_chosen_on(planted, tmp_path):
    seen = []

    def remember(data, *, c):
        seen.append((c, data.features))
        return MitigatedHead(weight=data.scale * data.head * c)

    method = Mitigation("remember", "", "", remember, settings={"c": (1.0, 2.0)})
    found = cg.mitigate(planted, Planted(), method, out=tmp_path / "run")
    sizes = [part.photos for part in found.record.parts]
    fitted = [len(features) for c, features in seen if c == 1.0][:3]
    assert sorted(fitted) == sorted(sizes)
    assert sum(sizes) == len(planted)
    assert (
        len({features.tobytes() for _, features in seen}) == 4
    )  # three parts, and all photos for the export


@pytest.mark.parametrize(("labels", "shown"), [("none", False), ("choose", False), ("fit", True)])
def test_a_method_sees_labels_only_where_it_says_so(planted, tmp_path, labels, shown):
    known = []

    def look(data):
        known.append({each is not None for each in (*data.background, *data.group)})
        return MitigatedHead(weight=data.scale * data.head)

    method = Mitigation("look", "", "", look, group_labels=labels)
    found = cg.mitigate(planted, Planted(), method, out=tmp_path / "run")
    assert known == [{shown}] * 4
    assert of(found.record, "look").group_labels["fit"] == ("used" if shown else "not used")


def test_the_worst_group_chooses_with_labels_and_balanced_accuracy_without(planted, tmp_path):
    """Two heads: the model's own, right on common photos alone, and one that always gives the same answer."""

    def either(data, *, kind):
        if kind == "own":
            return MitigatedHead(weight=data.scale * data.head)
        bias = np.eye(len(CLASSES), dtype=np.float32)[0]
        return MitigatedHead(weight=np.zeros_like(data.head), bias=bias)

    settings = {"kind": ("own", "constant")}
    methods = [
        Mitigation("with", "", "", either, group_labels="choose", settings=settings),
        Mitigation("without", "", "", either, settings=settings),
    ]
    record = cg.mitigate(planted, Planted(), methods, out=tmp_path / "run").record
    assert record.unmitigated.counter.value < 1 / len(CLASSES) < record.unmitigated.common.value / 3
    assert [each["kind"] for each in of(record, "with").settings] == ["constant"] * 3
    assert of(record, "with").chosen_by.startswith("the lower of common and counter")
    assert [each["kind"] for each in of(record, "without").settings] == ["own"] * 3
    assert of(record, "without").chosen_by == "accuracy, averaged over classes"


def test_the_record_is_read_back_and_the_table_holds_every_method(mitigated):
    record = read_mitigation(mitigated.run.path)
    assert record == mitigated.record
    for rows in (record.rows, pl.read_parquet(mitigated.run.path / "scores.parquet")):
        changes = rows.drop_nulls("versus").filter(metric="drop")
        assert changes["versus"].to_list() == [each.model for each in record.methods]
        assert changes["value"].to_list() == [each.gain.value for each in record.methods]
    assert changes["names"].null_count() == 0
    for style in ("csv", "json", "markdown", "latex"):
        assert all(each.name in record.write(style) for each in record.methods)
    assert json.loads(record.write("json"))["model"] == "Planted"


def test_an_exported_head_is_read_by_numpy_alone(mitigated, planted):
    """The example of the room's README, on the features of the photos."""
    (code,) = re.findall(r"```python\n(.*?)```", (ROOM / "README.md").read_text(), re.DOTALL)
    assert len(code.splitlines()) <= 20
    example: dict = {}
    exec(code, example)
    features = np.random.default_rng(0).normal(size=(7, Planted.dim)).astype(np.float32)
    exported = [each for each in mitigated.record.methods if each.head]
    assert len(exported) == 4
    for each in exported:
        file = mitigated.run.path / each.head.file
        expected = read_head(file).logits(features)
        np.testing.assert_allclose(example["load_head"](file)(features), expected, rtol=1e-4, atol=1e-4)
        assert each.head.photos == len(planted)
    assert of(mitigated.record, "sage").not_exported == "it calls a function, which no file of numbers holds"


def test_a_head_with_every_part_is_exported_whole(planted, tmp_path):
    random = np.random.default_rng(1)

    def whole(data):
        d, k = data.head.shape
        bias, shift = random.normal(size=k).astype(np.float32), random.normal(size=d).astype(np.float32)
        projection = random.normal(size=(d, d)).astype(np.float32)
        made.append(MitigatedHead(data.head, bias, projection, shift, normalise=True))
        return made[-1]

    made: list[MitigatedHead] = []
    found = cg.mitigate(
        planted,
        Planted(),
        Mitigation("whole", "", "", whole),
        out=tmp_path / "run",
    )
    features = random.normal(size=(5, Planted.dim)).astype(np.float32)
    again = read_head(found.run.path / found.record.methods[0].head.file)
    np.testing.assert_array_equal(again.logits(features), made[-1].logits(features))


def test_the_same_seed_gives_the_same_run_and_a_finished_one_may_be_repeated(mitigated, planted, tmp_path):
    again = cg.mitigate(
        planted, Planted(), [each.name for each in mitigated.record.methods], out=tmp_path / "again"
    )
    assert again.run.predictions.equals(mitigated.run.predictions)
    once = cg.mitigate(planted, Planted(), "sage", out=tmp_path / "once")
    cg.mitigate(planted, Planted(), "sage", out=tmp_path / "once")
    with pytest.raises(CounterGroundError, match="--overwrite"):
        cg.mitigate(planted, Planted(), "sage-set", out=once.run.path)


@pytest.mark.slow
def test_all_names_what_a_classifier_cannot_have(tmp_path):
    found = cg.mitigate(planted_benchmark(), PlantedClassifier(), "all", out=tmp_path / "run")
    used = {each.name for each in found.record.methods}
    assert {"image-projection", "balanced-prototypes", "dfr"} <= used
    assert "a model with texts, and PlantedClassifier is a classifier" in found.record.left_out["roboshot"]
    assert "masks of all objects" in found.record.left_out["foreground"]
    assert {each.name for each in list_mitigations()} == used | set(found.record.left_out)


def _grey(data):
    return MitigatedHead(weight=data.head[:, :2])


def _broken(data):
    raise ZeroDivisionError("half a photo")


@pytest.mark.parametrize(
    ("model", "methods", "changes", "message"),
    [
        (Planted, "dfrr", {}, "There is no method 'dfrr'.*Did you mean 'dfr'"),
        (PlantedClassifier, "roboshot", {}, "roboshot needs a model with texts, and PlantedClassifier is"),
        (Planted, "roboshot", {"background": None}, "needs labels of two backgrounds"),
        (Planted, "foreground", {}, "needs masks of all objects, and 108 photos"),
        (Planted, "all", {"group": None}, "planted has no class with photos on both sides of drop.*discover"),
        (
            Planted,
            "all",
            {"cluster": ["one"] * 108},
            "too few .* photos of crab, .*: add photos",
        ),
        (Planted, Mitigation("grey", "", "", _grey), {}, r"grey returned logits \(\d+, 2\) for"),
        (
            Planted,
            Mitigation("broken", "", "", _broken),
            {},
            "broken failed: ZeroDivisionError: half a photo",
        ),
        ([Planted(), PlantedClassifier()], "all", {}, "One model at a time, not 2"),
    ],
)
def test_what_cannot_work_is_refused_in_one_line(tmp_path, model, methods, changes, message):
    given = model() if callable(model) else model
    with pytest.raises(CounterGroundError, match=message) as refused:
        cg.mitigate(planted_benchmark(**changes), given, methods, out=tmp_path / "run")
    assert "\n" not in str(refused.value)


def test_classes_with_too_few_clusters_are_left_out_and_named(planted, tmp_path):
    few = planted.photos.with_columns(
        cluster=pl.when(pl.col("class_name").is_in(["crab", "ox"]))
        .then(pl.format("own {}", "class_name"))
        .otherwise("cluster")
    )
    found = cg.mitigate(
        replace(planted, photos=few),
        Planted(),
        "balanced-prototypes",
        out=tmp_path / "run",
    )
    (note,) = (note for note in found.record.notes if "left out" in note)
    assert (
        note == "2 of 4 classes left out, because their photos are in too few clusters for 3 parts: crab, ox."
    )
    assert set(found.run.predictions["class_name"]) == {"goose", "otter"}
    assert set(found.run.predictions["predicted_name"]) == {"goose", "otter"}
    assert any("crab, ox" in warning for warning in found.run.info.warnings)


def test_classes_without_pairs_take_part_unless_pairs_alone_are_asked_for(planted, tmp_path):
    unpaired = planted.photos.filter(pl.col("class_name") != "crab")
    benchmark = replace(planted, photos=unpaired)
    with pytest.raises(UsageError, match=r"no photo of crab.*--classes pairs"):
        cg.mitigate(benchmark, Planted(), "prototypes", out=tmp_path / "all")
    found = cg.mitigate(benchmark, Planted(), "prototypes", out=tmp_path / "pairs", classes="pairs")
    assert "1 of 4 classes left out, without photos on both sides of drop: crab." in found.record.notes
    assert "crab" not in found.run.predictions["predicted_name"]
    assert "--classes pairs" in repeat_command(found.run)


@pytest.mark.parametrize("contrast", ["all - background=water", "background=water - all"])
def test_one_side_may_be_part_of_the_other(contrast, planted, tmp_path):
    """As of NICO++ and UrbanCars: the smaller side has photos in every part."""
    design = Design(contrasts=(Contrast.parse(f"gap: {contrast}"),))
    found = cg.mitigate(planted.described(design=design), Planted(), "prototypes", out=tmp_path)
    on_water = found.run.predictions.filter(pl.col("background") == "water", pl.col("model") == "Planted")
    sides = found.record.unmitigated
    smaller, whole = (sides.counter, sides.common)[:: 1 if contrast.startswith("all") else -1]
    assert smaller.value == pytest.approx(on_water["correct"].mean())
    assert whole.value != smaller.value


@pytest.mark.parametrize("clusters", [("site",), ("cluster", "site")])
def test_parts_and_figures_follow_the_clusters_of_the_design(clusters, tmp_path):
    photos, design = planted_benchmark(24), Design(clusters=clusters)
    site = pl.format("site {}", pl.col("cluster").str.extract(r"(\d+)").cast(pl.Int64) % 6)
    photos = replace(photos, photos=photos.photos.with_columns(site=site), design=design)
    found = cg.mitigate(photos, Planted(), "text-projection", out=tmp_path / "run")
    assert sum(part.clusters for part in found.record.parts) == photos.photos[clusters[0]].n_unique()
    each = found.record.methods[0]
    compared = compare_models(found.run.predictions, design=design).filter(metric="drop")
    assert compared["p_corrected"].to_list() == [each.gain.p_corrected]


def test_another_run_in_the_folder_leaves_no_head_of_the_first(planted, tmp_path):
    out = tmp_path / "run"
    cg.mitigate(planted, Planted(), ["prototypes", "sage-set"], out=out)
    cg.mitigate(planted, Planted(), "sage-set", out=out, overwrite=True)
    assert [file.name for file in (out / "heads").iterdir()] == ["sage-set-all-photos.safetensors"]
    cg.evaluate(planted, Planted(), out=out, report=False, overwrite=True)
    assert not list((out / "heads").iterdir())
    with pytest.raises(CounterGroundError, match=r"has no mitigation\.json"):
        read_mitigation(out)


def test_a_run_that_was_killed_while_it_replaced_another_may_be_repeated(planted, tmp_path):
    out = tmp_path / "run"
    cg.mitigate(planted, Planted(), "sage-set", out=out)
    for name in ("run.json", "mitigation.json", "predictions.parquet"):
        (out / name).unlink()
    again = cg.mitigate(planted, Planted(), "sage-set", out=out)
    assert read_mitigation(out) == again.record


def test_a_damaged_file_is_named(mitigated, tmp_path):
    shutil.copytree(mitigated.run.path, tmp_path, dirs_exist_ok=True)
    other = save({"feature_hook": np.ones(3, np.float32)}, {"normalise": "true"})
    record, head = tmp_path / "mitigation.json", tmp_path / of(mitigated.record, "text-projection").head.file
    for file, read in ((record, lambda file: read_mitigation(file.parent)), (head, read_head)):
        for content in (b"", b"{}", file.read_bytes()[:-7], other):
            file.write_bytes(content)
            with pytest.raises(CounterGroundError, match=file.name):
                read(file)
