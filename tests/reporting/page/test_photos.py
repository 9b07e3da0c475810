"""Photos in the page: which, of what content, within what budget, and whose."""

import base64
import io
import json
import re
from collections import Counter
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from made_runs import write_run
from PIL import Image

from counterground.cli import main
from counterground.errors import UsageError
from counterground.photos import Benchmark, LabelSpace, photo_id
from counterground.reporting import write_report

# Which photos are chosen, and how small they get, are rules of their own that a whole page blurs.
from counterground.reporting._classes import (
    confusions,
    informative_photos,
)
from counterground.reporting._gallery import make_thumbnails
from counterground.reporting.shown_photos import photo_sources
from counterground.results import Table, regroup


def data_of(html, kind):
    found = re.findall(
        rf'<script type="application/json" id="{kind}\d+(?:-\d+)?">(.*?)</script>', html, re.DOTALL
    )
    return [json.loads(text) for text in found]


def pictures_of(html):
    return [photo for entry in data_of(html, "data") for photo in entry["photos"]]


def test_the_most_informative_photos_are_chosen_in_turns_over_classes():
    rows = []
    # Of each class and group: photo 0 fits no model, photo 1 one of two, photos 2 and 3 both.
    for index in (0, 1):
        for group in ("common", "counter"):
            for photo in range(4):
                for model in (0, 1):
                    fits = photo >= 2 or (photo == 1 and model == 0)
                    rows.append(
                        {
                            "path": f"{index}/{group}/{photo}",
                            "photo_id": f"{index}{group}{photo}",
                            "class_index": index,
                            "group": group,
                            "background": group,
                            "correct": fits == (group == "common"),
                            "confidence": 0.9 if photo == 3 else 0.5,
                        }
                    )
    chosen = informative_photos([pl.DataFrame(rows)], 3)
    assert chosen["path"].to_list() == [
        f"{index}/{group}/{photo}"
        for photo in (3, 2, 1)
        for index in (0, 1)
        for group in ("common", "counter")
    ]


def test_confusions_are_counted_over_all_photos(four_models):
    counted = confusions([four_models.predictions], names=100)
    assert not counted.is_empty()
    for label, index, side, n, right, wrong in counted.iter_rows():
        photos = four_models.predictions.filter(
            pl.col("model") == label, pl.col("class_index") == index, pl.col("group") == side
        )
        assert n == photos.height
        assert right == photos["correct"].sum()
        expected = Counter(photos.filter(~pl.col("correct"))["predicted_name"].to_list())
        assert {item["name"]: item["count"] for item in wrong or []} == expected


@pytest.fixture
def scene(tmp_path, make_run):
    """Function: a run whose photos are files, and the benchmark that holds them."""

    def make(
        *, classes=("ice bear", "flamingo"), per_group=6, size=(300, 200), licence="CC-BY-4.0", **options
    ):
        run = make_run(
            {"a": (0.9, 0.2), "b": (0.8, 0.5)}, classes=list(classes), per_group=per_group, **options
        )
        photos = run.predictions.select(
            "path", "class_index", "class_name", "background", "group", "cluster"
        ).unique(maintain_order=True)
        random = np.random.default_rng(0)
        identities = {}
        for path in photos["path"]:
            file = tmp_path / "photos" / path
            file.parent.mkdir(parents=True, exist_ok=True)
            exif = Image.Exif()
            exif[0x010F] = "SecretCamera"
            noise = random.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
            Image.fromarray(noise).save(file, exif=exif, comment=b"SecretComment")
            identities[path] = photo_id(file)
        photos = photos.with_columns(
            photo_id=pl.col("path").replace_strict(identities),
            licence=pl.lit(licence),
            attribution=pl.lit("(c) Ann"),
            source=pl.lit("her camera"),
        )
        benchmark = Benchmark(
            "scene", tmp_path / "photos", photos, LabelSpace("scene", tuple(classes), (None,) * len(classes))
        )
        predictions = run.predictions.with_columns(photo_id=pl.col("path").replace_strict(identities))
        return SimpleNamespace(
            run=type(run)(run.path, run.info, predictions), benchmark=benchmark, root=tmp_path
        )

    return make


def write(scene, **options):
    options = {"benchmarks": [scene.benchmark], **options}
    return write_report([scene.run], scene.root / "report.html", **options).read_text("utf-8")


def test_pictures_are_the_photos_with_what_each_model_said(scene):
    made = scene()
    html = write(made)
    shown = pictures_of(html)
    assert len(shown) == 24
    models = data_of(html, "shared")[0]["models"]
    names = data_of(html, "shared")[0]["names"]
    for photo in shown:
        kind, text = photo["picture"].split(",")
        assert kind == "data:image/webp;base64"
        picture = np.asarray(Image.open(io.BytesIO(base64.b64decode(text))).convert("RGB"), float)
        original = Image.open(made.benchmark.photo_path(photo["path"])).convert("RGB")
        original.thumbnail((320, 320))
        assert picture.shape == np.asarray(original).shape
        assert np.abs(picture.mean(axis=(0, 1)) - np.asarray(original, float).mean(axis=(0, 1))).max() < 12
        for model, outcome in zip(models, photo["by"], strict=True):
            row = made.run.predictions.filter(pl.col("path") == photo["path"], pl.col("model") == model).row(
                0, named=True
            )
            assert names[outcome[0]] == row["predicted_name"]
            assert outcome[1] == int(row["correct"])
            assert outcome[2] == pytest.approx(row["confidence"], abs=5e-3)


def test_what_a_camera_wrote_is_not_copied(scene):
    pictures = pictures_of(write(scene()))
    assert pictures
    for photo in pictures:
        data = base64.b64decode(photo["picture"].split(",")[1])
        assert b"Secret" not in data
        assert not Image.open(io.BytesIO(data)).getexif()


def test_credits_and_licences_of_the_photos_shown(scene):
    html = write(scene())
    assert "24 photos are shown" in html
    assert "24 CC-BY-4.0" in html
    assert html.count("(c) Ann, CC-BY-4.0, her camera</li>") == 24
    assert {photo["credit"] for photo in pictures_of(html)} == {"(c) Ann, CC-BY-4.0"}


@pytest.mark.parametrize("budget", [0.05, 0.2])
def test_the_budget_is_kept_and_shared_fairly(scene, budget):
    made = scene(classes=[f"class {k}" for k in range(5)], per_group=12)
    html = write(made, photo_budget=budget)
    without = write(made, photos=False)
    shown = pictures_of(html)
    assert shown
    assert sum(len(photo["picture"]) for photo in shown) <= budget * 1e6
    assert len(html) - len(without) < budget * 1e6 + 60_000
    cells = Counter((photo["path"].split("/")[0], photo["side"]) for photo in shown)
    assert (
        max(cells.values())
        - min(cells.get((str(k), side), 0) for k in range(5) for side in ("common", "counter"))
        <= 1
    )
    left = 120 - len(shown)
    assert f"{left} left out because of the photo budget" in html


def test_many_photos_are_made_smaller_before_any_is_left_out(scene):
    made = scene(size=(400, 300))
    wanted = list(made.benchmark.photos.select("path", "photo_id").iter_rows())
    sources = photo_sources([made.benchmark])

    def side(budget):
        picture = next(iter(make_thumbnails(wanted, sources, budget).pictures.values()))
        return max(Image.open(io.BytesIO(base64.b64decode(picture.split(",")[1]))).size)

    assert [side(budget) for budget in (2, 0.5, 0.1)] == [320, 240, 180]


def test_missing_and_changed_photos_are_listed_and_left_out(scene):
    made = scene()
    made.benchmark.photo_path("0/counter/0.jpg").unlink()
    Image.new("RGB", (50, 50)).save(made.benchmark.photo_path("1/common/2.jpg"))
    made.benchmark.photo_path("1/counter/3.jpg").write_bytes(b"")
    html = write(made)
    assert len(pictures_of(html)) == 21
    assert "1 left out (missing): 0/counter/0.jpg." in html
    assert "1 left out (content changed since the manifest was written): 1/common/2.jpg." in html
    assert "1 left out (empty file): 1/counter/3.jpg." in html


def test_photos_are_found_by_content_whatever_their_place(scene):
    made = scene()
    moved = made.root / "elsewhere"
    made.benchmark.root.rename(moved)
    renamed = Benchmark("other name", moved, made.benchmark.photos, made.benchmark.classes)
    assert len(pictures_of(write(made, benchmarks=[renamed]))) == 24


def test_the_photos_of_a_discovery_are_found(scene):
    made = scene()
    discovery = SimpleNamespace(
        referee="m",
        choose="best",
        split="half",
        sentence="Chosen.",
        benchmark=made.benchmark,
        evidence=Table([], []),
        table=Table([], []),
    )
    html = write(made, benchmarks=[], discovery=discovery)
    assert len(pictures_of(html)) == 24
    assert html.count('href="#discovery"') == 1


def test_a_discovery_of_other_pairs_is_refused(scene):
    made = scene()
    other = made.benchmark.photos.with_columns(
        group=pl.col("group").replace({"common": "counter", "counter": "common"})
    )
    discovery = SimpleNamespace(
        referee="somebody", benchmark=Benchmark("other pairs", made.root, other, made.benchmark.classes)
    )
    with pytest.raises(UsageError, match="somebody"):
        write(made, discovery=discovery)


def test_a_budget_of_nothing_is_wrong_usage(scene):
    with pytest.raises(UsageError, match="leave photos out instead"):
        write(scene(), photo_budget=0)


def test_the_figures_of_a_class_are_the_scores(four_models, tmp_path):
    models = sorted(regroup(four_models.estimates()), key=lambda model: -model.get("drop").value)
    classes = data_of(write_report([four_models], tmp_path / "r.html", photos=False).read_text(), "data")
    indices = dict(four_models.photos.select("class_name", "class_index").iter_rows())
    assert len(classes) == 9
    for entry in classes:
        for model, figures in zip(models, entry["drops"], strict=True):
            drop = model.get("drop", None, indices[entry["name"]])
            assert figures == [round(100 * v, 1) for v in (drop.value, drop.low, drop.high)]


def test_the_command_takes_a_benchmark(scene, tmp_path, capsys):
    made, out = scene(), tmp_path / "page.html"
    made.benchmark.photos.write_parquet(made.benchmark.root / "photos.parquet")
    run, photos = str(write_run(made.run, tmp_path / "run")), str(made.benchmark.root / "photos.parquet")
    assert main(["report", run, "--benchmark", photos, "--out", str(out)]) == 0
    assert "not found" not in capsys.readouterr().out
    assert len(pictures_of(out.read_text())) == 24
