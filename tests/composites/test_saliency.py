"""Attribution maps: of networks that look at one part only, against Captum, and in the files of a run."""

import re
import shutil
from copy import copy
from io import BytesIO

import captum.attr
import numpy as np
import polars as pl
import pytest
import torch
from disc_photos import CLASSES, SIDE, background_only, disc_photos, foreground_only
from PIL import Image
from planted_photos import Planted, planted_benchmark
from torchvision.transforms.v2.functional import pil_to_tensor

import counterground as cg
from counterground import models
from counterground.cli import main

# One of its functions fails in the middle of a run.
from counterground.composites.saliency import _saliency, attribute, share_outside
from counterground.composites.saliency._attribution import parts_of
from counterground.composites.saliency._picture import draw_saliency
from counterground.errors import CounterGroundError, UsageError
from counterground.files import read_record
from counterground.metrics import SALIENCY_SCHEMA
from counterground.reporting.page._salient import salient_photos
from counterground.results import effect_scores, plain_text

MODELS = {"background": background_only, "foreground": foreground_only}
ROUNDING = 1e-4  # sums of float32, whose order differs between processors
QUICK = {
    "label_space": "benchmark",
    "report": False,
    "backgrounds_per_label": 2,
    "kinds": ["original", "same", "other"],
    "saliency": True,
}


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    return disc_photos(tmp_path_factory.mktemp("discs"), 4)


@pytest.fixture(scope="module")
def run(discs, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(tmp_path_factory.mktemp("cache")))
        return cg.swap(discs, MODELS, out=tmp_path_factory.mktemp("run") / "run", **QUICK)


@pytest.mark.parametrize("shape", [(5, 1000), (1000, 5)])
def test_a_photo_of_extreme_shape_has_a_picture_that_jpeg_can_hold(shape):
    mask = np.zeros(shape, np.uint8)
    mask[: shape[0] // 2, : shape[1] // 2] = 255
    photo, parts = np.zeros((*shape, 3), np.uint8), len(np.unique(parts_of(mask)))
    drawn = draw_saliency(photo, mask, np.ones(parts, np.float32))
    assert max(drawn.size) < 65_500
    written = BytesIO()
    drawn.save(written, "JPEG")
    assert Image.open(written).size == drawn.size


def small_network():
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 5, stride=2), torch.nn.GELU(), torch.nn.Flatten(), torch.nn.LazyLinear(3)
    ).eval()


def noise(seed=0):
    return np.random.default_rng(seed).integers(0, 256, (48, 40, 3), dtype=np.uint8)


def an_object():
    return np.pad(np.full((20, 18), 255, np.uint8), ((14, 14), (11, 11)))


def parts_by_hand(mask):
    """Cells of 8 x 8, each divided by the mask: the pixels of every part."""
    rows, columns = mask.shape[0] // 8, mask.shape[1] // 8
    for down in range(8):
        for across in range(8):
            cell = np.zeros(mask.shape, bool)
            cell[down * rows : (down + 1) * rows, across * columns : (across + 1) * columns] = True
            yield from (part for part in (cell & (mask < 128), cell & (mask >= 128)) if part.any())


def test_a_map_is_what_captum_says_of_the_bare_network():
    network, photo, mask = small_network(), noise(), an_object()
    pixels = torch.from_numpy(photo).permute(2, 0, 1)[None].float()

    def score(images):
        with torch.inference_mode():
            batch = torch.stack([pil_to_tensor(image) for image in images]).float()
            return network(batch)[:, 1].numpy()

    numbers = np.zeros(mask.shape, np.int64)
    for number, part in enumerate(parts_by_hand(mask)):
        numbers[part] = number
    ours = attribute(photo, mask, score, 16)
    theirs = captum.attr.FeatureAblation(network).attribute(
        pixels, baselines=128, target=1, feature_mask=torch.from_numpy(numbers)[None, None]
    )[0, 0]
    by_hand = [theirs.numpy()[part][0] for part in parts_by_hand(mask)]
    np.testing.assert_allclose(ours, by_hand, rtol=1e-4, atol=1e-4)
    inside = [mask[part][0] >= 128 for part in parts_by_hand(mask)]
    share = np.abs(by_hand)[~np.array(inside)].sum() / np.abs(by_hand).sum()
    assert share_outside(ours, mask) == pytest.approx(share, rel=1e-4)


def test_a_part_counts_by_what_the_score_loses_with_it():
    photo, mask = noise(1), an_object()
    weights = np.random.default_rng(2).normal(size=photo.shape)

    def score(images):
        return np.array([(weights * np.asarray(image)).sum() for image in images], np.float32)

    lost = [(weights * (photo.astype(float) - 128))[part].sum() for part in parts_by_hand(mask)]
    np.testing.assert_allclose(attribute(photo, mask, score, 7), lost, rtol=1e-2, atol=1)


def test_a_score_that_nothing_changes_has_no_share():
    mask = an_object()
    found = attribute(noise(), mask, lambda images: np.zeros(len(images), np.float32), 32)
    assert share_outside(found, mask) is None


def test_attribution_lies_where_planted_networks_look(run):
    shares = {name: rows["share_outside"] for (name,), rows in run.saliency.group_by("model")}
    assert shares["background"].to_list() == pytest.approx([1.0] * 16, abs=ROUNDING)
    assert shares["foreground"].to_list() == pytest.approx([0.0] * 16, abs=ROUNDING)


def test_a_programs_autocast_changes_no_map(run, discs, tmp_path):
    with torch.autocast("cpu", torch.bfloat16):
        inside = cg.swap(discs, MODELS, out=tmp_path / "run", **QUICK)
    assert inside.saliency.equals(run.saliency)


def test_scores_change_with_the_background_where_it_is_looked_at(run):
    rows = {name: rows for (name,), rows in run.saliency.group_by("model")}
    looks = rows["background"]
    assert (looks["score_difference"] > 0.05).all()
    assert (looks["best_background"] != looks["worst_background"]).all()
    common = looks.filter(pl.col("group") == "common")
    assert (common["best_background"] == common["background"]).all()
    assert rows["foreground"]["score_difference"].abs().max() == 0
    own = rows["foreground"].filter(pl.col("predicted_name") == pl.col("class_name"))
    assert len(own) == 16


def test_the_table_is_complete_and_says_what_chance_gives(run, discs):
    assert run.saliency.schema == SALIENCY_SCHEMA
    assert set(run.saliency["path"]) == set(discs.photos["path"])
    path, mask = discs.photos.select("path", "mask").row(0)
    area = 1 - (np.asarray(Image.open(discs.root / mask)) >= 128).mean()
    row = run.saliency.filter(pl.col("path") == path)
    assert row["area_outside"].to_list() == pytest.approx([area, area])


def test_effects_hold_the_shares_with_intervals_by_group(run):
    effects = run.effects(by_class=False).filter(pl.col("estimate").str.contains("outside"))
    of = {(row["model"], row["estimate"]): row for row in effects.iter_rows(named=True)}
    for group in ("", "_common", "_counter"):
        found = of["background", f"share_outside{group}"]
        assert found["value"] == pytest.approx(1, abs=ROUNDING)
        assert 0 < found["low"] < found["high"] == pytest.approx(1, abs=ROUNDING)
        assert found["n"] == (8 if group else 16)
        assert of["foreground", f"share_outside{group}"]["value"] == pytest.approx(0, abs=ROUNDING)
    assert 0.7 < of["background", "area_outside"]["value"] < 0.95
    ox = run.effects().filter(pl.col("estimate") == "share_outside", pl.col("class_name") == "ox")
    assert ox["value"].to_list() == pytest.approx([1, 0], abs=ROUNDING)


def test_pictures_are_of_the_photos_whose_scores_change_most(run, tmp_path):
    of = run.saliency.filter(pl.col("model") == "background")
    drawn = of.drop_nulls("picture")
    assert len(drawn) == 6
    assert drawn["score_difference"].min() >= of.filter(pl.col("picture").is_null())["score_difference"].max()
    picture = np.asarray(Image.open(run.path / drawn["picture"][0]).convert("L")).astype(int)
    heat = picture[:, picture.shape[1] // 2 + 3 :]
    assert heat[:20, :20].mean() > 2 * heat[100:124, 100:124].mean()  # the corner is what it looks at
    page = cg.write_report([run], tmp_path / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 12
    assert "100.0 % of the attribution lies outside the object".replace(" %", "\u00a0%") in page.replace(
        " %", "\u00a0%"
    )
    assert "data:image/jpeg" not in cg.write_report([run], tmp_path / "bare.html", photos=False).read_text()


def test_a_right_answer_by_another_name_is_not_called_another(run):
    other = copy(run)
    vars(other)["saliency"] = run.saliency.with_columns(predicted_name=pl.lit("polar bear"))
    drawn = run.saliency.filter(model="background").drop_nulls("picture").sort("picture")
    right = run.predictions.filter(pl.col("correct"), model="background")["path"].to_list()
    (found,) = salient_photos(other, [("background", "background")], pictures=True)
    called = [photo.title.endswith(", answered polar bear") for photo in found.photos]
    assert called == [path not in right for path in drawn["path"]]
    assert set(called) == {True, False}


def test_a_ground_that_is_seen_everywhere_moves_scores_more_than_attribution(tmp_path):
    """No part alone matters where all show the same: what docs/intervene.md says attribution misses."""
    (tmp_path / "photos").mkdir()
    grounds = planted_benchmark(3, masks=tmp_path / "photos")
    run = cg.swap(grounds, Planted(), out=tmp_path / "run", foregrounds=6, **QUICK)
    shares = run.saliency
    assert shares["score_difference"].mean() > 0.3
    assert (shares["share_outside"] < shares["area_outside"]).all()


def test_a_vision_transformer_has_a_map_of_every_photo(discs, tmp_path):
    import timm

    torch.manual_seed(0)
    network = timm.create_model("test_vit", num_classes=2, img_size=SIDE).eval()
    model = (network, lambda image: pil_to_tensor(image).float() / 255, list(CLASSES))
    run = cg.swap(discs, {"vit": model}, out=tmp_path / "run", foregrounds=2, **QUICK)
    assert run.saliency["share_outside"].is_between(0, 1, closed="none").all()


def test_one_background_is_called_one(run, tmp_path):
    rows = run.effects()
    assert rows.filter(pl.col("estimate") == "adversarial")["k"].to_list() == [1] * 6
    table = plain_text(effect_scores([run]))
    page = cg.write_report(run, tmp_path / "report.html").read_text("utf-8")
    for text in (table, page):
        assert "Wrong on 1 background" in text
        assert "of 1 background" not in text


def test_another_run_in_the_folder_leaves_no_attribution_behind(discs, tmp_path):
    settings = {**QUICK, "foregrounds": 2}
    first = cg.swap(discs, foreground_only, out=tmp_path / "run", **settings)
    assert first.saliency is not None
    second = cg.swap(
        discs, foreground_only, out=tmp_path / "run", overwrite=True, **{**settings, "saliency": False}
    )
    assert second.saliency is None
    assert not list((tmp_path / "run").rglob("*.jpg"))
    assert "share_outside" not in second.effects()["estimate"].to_list()


def test_attributions_are_removed_only_if_asked_to(discs, tmp_path):
    settings = {**QUICK, "foregrounds": 1, "kinds": ["original"]}
    first = cg.swap(discs, foreground_only, out=tmp_path / "run", **settings)
    with pytest.raises(CounterGroundError, match=r"holds attributions .* add --saliency"):
        cg.swap(discs, foreground_only, out=tmp_path / "run", **{**settings, "saliency": False})
    assert cg.open_run(tmp_path / "run").saliency.equals(first.saliency)
    again = cg.swap(discs, foreground_only, out=tmp_path / "run", **settings)
    assert again.saliency.equals(first.saliency)


def without_seal(run):
    """The run as earlier versions sealed it, or not: their table of attributions stood beside."""
    record = run / "run.json"
    record.write_bytes(read_record(record))
    return run / "saliency.csv"


def test_a_table_of_attributions_that_changed_is_refused(run, tmp_path):
    copy = shutil.copytree(run.path, tmp_path / "run")
    table = copy / "saliency.csv"
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[: len(lines) // 2]))
    with pytest.raises(CounterGroundError, match=r"damaged \(saliency\.csv is not as it was written\)"):
        cg.open_run(copy)
    table.unlink()
    with pytest.raises(CounterGroundError, match=r"damaged \(saliency\.csv is missing\)"):
        cg.open_run(copy)


def test_signs_in_the_name_of_a_run_are_no_pattern(run, tmp_path):
    copy = shutil.copytree(run.path, tmp_path / "run[1]")
    assert cg.open_run(copy).saliency.equals(run.saliency)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda rows: rows.head(len(rows) // 2), "saliency.csv lacks 16 photos of predictions.parquet"),
        (lambda rows: pl.concat([rows, rows.head(1)]), "saliency.csv: a photo occurs twice"),
        (lambda rows: rows.with_columns(share_outside=7.5), "saliency.csv: share_outside is not from 0 to 1"),
        (lambda rows: rows.with_columns(area_outside=-0.1), "saliency.csv: area_outside is not from 0 to 1"),
    ],
)
def test_without_a_seal_attributions_are_checked_by_value(run, tmp_path, change, why):
    table = without_seal(shutil.copytree(run.path, tmp_path / "run"))
    assert cg.open_run(table.parent).saliency.equals(run.saliency)
    change(run.saliency).write_csv(table)
    with pytest.raises(CounterGroundError, match=re.escape(f"damaged ({why})")):
        cg.open_run(table.parent).effects()


def test_a_run_is_not_whole_before_its_attributions_are(discs, tmp_path, monkeypatch):
    """Stopped between the predictions and the table, as by a full disk."""

    def full(*_):
        raise CounterGroundError("No space left.")

    monkeypatch.setattr(_saliency, "write_bytes", full)
    with pytest.raises(CounterGroundError, match="No space left"):
        cg.swap(discs, foreground_only, out=tmp_path / "run", foregrounds=2, **QUICK)
    with pytest.raises(CounterGroundError, match=r"run\.json is missing"):
        cg.open_run(tmp_path / "run")
    monkeypatch.undo()
    run = cg.swap(discs, foreground_only, out=tmp_path / "run", foregrounds=2, **QUICK)
    assert len(run.saliency) == len(cg.open_run(tmp_path / "run").saliency) > 0


class Learning(models.Classifier):
    """A model of one's own whose features still have gradients, and are in half precision."""

    dim, class_names, imagenet_columns = 2, tuple(CLASSES), (8, 345)
    fingerprint, device, dtype = "learning", "cpu", "fp32"

    def __init__(self):
        self.network, self.pixels, _ = foreground_only()

    def preprocess(self, image):
        return self.pixels(image)

    def encode(self, batch):
        return self.network(batch).bfloat16()


def test_a_model_of_ones_own_may_leave_its_features_as_they_are(discs, tmp_path):
    run = cg.swap(discs, {"mine": Learning()}, out=tmp_path / "run", foregrounds=2, **QUICK)
    assert run.saliency["model"].unique().to_list() == ["mine"]


class Talks(models.Generative):
    """A model that has nothing but answers."""

    def generate(self, image, question, *, max_new_tokens):
        raise AssertionError


def test_what_has_no_attribution_is_refused_before_photos_are_read(discs, tmp_path):
    with pytest.raises(UsageError, match=r"needs a dual encoder .* and Talks is neither"):
        cg.swap(discs, {"Talks": Talks()}, out=tmp_path / "run", **QUICK)
    network, preprocess, *_ = foreground_only()
    with pytest.raises(UsageError, match="a head of its own, and fitted is neither"):
        cg.swap(
            discs, {"fitted": (network, preprocess, models.HeadSpec("knn", 1))}, out=tmp_path / "run", **QUICK
        )
    with pytest.raises(UsageError, match="add original to --kinds"):
        cg.swap(discs, foreground_only, out=tmp_path / "run", **{**QUICK, "kinds": ["same", "other"]})
    assert not (tmp_path / "run").exists()


def test_the_command_names_the_table(tmp_path, capsys):
    discs = disc_photos(tmp_path / "photos", 2)
    discs.photos.drop("class_index", "photo_id").write_parquet(tmp_path / "photos/photos.parquet")
    command = [
        *("swap", str(tmp_path / "photos/photos.parquet"), "-m", "disc_photos:foreground_only", "--saliency"),
        *("--kinds", "original,same,other", "--backgrounds-per-label", "1", "--label-space", "benchmark"),
        *("--no-photos", "--out", str(tmp_path / "run")),
    ]
    assert main(command) == 0, capsys.readouterr().err
    printed = capsys.readouterr().out
    assert "saliency.csv" in printed
    assert "Attribution outside" in printed
