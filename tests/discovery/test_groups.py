"""Backgrounds that nobody named: scenes, groups, words, and when nothing may be concluded."""

import re
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from disc_photos import CLASSES, LABELS, SIDE, background_only, disc, foreground_only, save
from sklearn.metrics import adjusted_rand_score

from counterground.discovery import discover_pairs
from counterground.discovery._groups import association, find_scenes, group_backgrounds
from counterground.discovery._suggestions import suggested_words
from counterground.errors import UsageError
from counterground.photos import read_benchmark
from counterground.settings import DiscoverSettings

SETTINGS = {
    "label_space": "benchmark",
    "find_backgrounds": True,
    "encoder": "efficientnet-lite0",
    "min_photos": 2,
}


def scenes_of_kinds(kinds=3, scenes=8, photos=20, apart=8.0):
    """Return features of photos of scenes of kinds, and the number of the scene of each."""
    rng = np.random.default_rng(0)
    kind = np.repeat(np.arange(kinds), scenes)
    centres = apart * np.eye(kinds, 24)[kind] + rng.normal(0, 1.5, (kinds * scenes, 24))
    scene = np.repeat(np.arange(kinds * scenes), photos)
    return (centres[scene] + rng.normal(0, 0.2, (len(scene), 24))).astype(np.float32), scene


def manifest(n, cluster=None):
    return pl.DataFrame(
        {
            "path": [f"{number:05}.jpg" for number in range(n)],
            "class_index": [number % 2 for number in range(n)],
            "cluster": pl.Series(cluster, dtype=pl.String) if cluster is not None else [None] * n,
        },
        schema_overrides={"cluster": pl.String},
    )


@pytest.mark.parametrize("given", [True, False])
def test_scenes_and_their_kinds_are_found_on_photos_that_did_not_choose(given):
    features, scene = scenes_of_kinds()
    photos = manifest(len(scene), [f"s{number}" for number in scene] if given else None)
    found = group_backgrounds(photos, [features], most=3, seed=1)
    assert (found.cluster is None) == given
    if not given:
        assert adjusted_rand_score(scene, found.cluster) > 0.9
    chosen = {number: set(found.chooses[scene == number]) for number in set(scene)}
    assert all(len(halves) == 1 for halves in chosen.values())
    assert adjusted_rand_score((scene // 8)[~found.chooses], found.group[~found.chooses]) == 1
    assert all(len(set(found.scene[found.chooses & (found.group == group)])) >= 2 for group in range(3))


def test_photos_that_have_nothing_in_common_show_no_scenes():
    noise = np.random.default_rng(0).normal(size=(300, 24))
    assert find_scenes(noise) is None


def test_association():
    group = np.array([0, 0, 1, 1, -1])
    assert association(group, pl.Series([1.0, 1.0, 3.0, 3.0, 99.0])) == pytest.approx(1)
    # Means 1 and 2 of 0, 2, 1, 3: between 1/3, in all 5/3.
    assert association(group, pl.Series([0, 2, 1, 3, 99])) == pytest.approx(1 / 5)
    assert association(group, pl.Series(["a", "a", "b", "b", "c"])) == pytest.approx(1)
    assert association(group, pl.Series(["a", "b", "a", "b", None])) == pytest.approx(0)


def scene_photos(root):
    """Write discs on scenes: three photos of each class on each of twenty."""
    rng = np.random.default_rng(0)
    grid = np.mgrid[:SIDE, :SIDE] / SIDE

    def drawn(label):
        waves = rng.normal(0, {"grass": 60, "water": 8}[label], (3, 2)), rng.uniform(0, 6, 3)
        phases = np.tensordot(waves[0], grid, 1) + waves[1][:, None, None]
        tint = np.array(LABELS[label]) + rng.normal(0, 12, 3)
        return tint + np.tensordot(np.sin(phases), rng.normal(0, 12, (3, 3)), (0, 0))

    for label in LABELS:
        for scene in range(10):
            behind = drawn(label)
            for name, own in CLASSES.items():
                for photo in range(3):
                    inside = disc(rng.integers(28, 37, 2), 9)[..., None] / 255
                    pixels = behind + inside * (np.array(own) - behind) + rng.normal(0, 2, (SIDE, SIDE, 1))
                    save(root / name / f"{label}{scene}-{photo}.png", pixels.clip(0, 255).astype(np.uint8))
    return read_benchmark(root)


@pytest.fixture(scope="module")
def scenery(tmp_path_factory):
    return scene_photos(tmp_path_factory.mktemp("scenery"))


def discovered(benchmark, out, referee=background_only, **changes):
    settings = DiscoverSettings(**SETTINGS | changes)
    return discover_pairs(benchmark, {"referee": referee}, settings, out)


def test_a_background_without_a_name_is_found_named_and_rejected(scenery, tmp_path, cache):
    found = discovered(scenery, tmp_path / "pairs")
    assert found.exceeds_chance
    assert found.reported_drop.value == pytest.approx(1)
    groups = pl.read_parquet(tmp_path / "pairs" / "groups.parquet")
    kinds = groups.with_columns(kind=pl.col("path").str.extract("/([a-z]+)"))
    assert kinds.group_by("name").agg(pl.col("kind").n_unique())["kind"].max() == 1
    page = (tmp_path / "pairs" / "groups.html").read_text()
    keys = dict(kinds.select("key", "kind").unique().sort("key").iter_rows())
    assert set(re.findall(r'<input name="(\w+)"', page)) == set(keys)
    assert page.count("<img") == sum(min(12, size) for size in groups["name"].value_counts()["count"])
    words = tmp_path / "words.csv"
    words.write_text("\n".join(["key,word", *(f'{key},"{kind}"' for key, kind in keys.items())]))
    named = discovered(scenery, tmp_path / "named", words=str(words))
    assert set(named.benchmark.photos["background"]) == {"grass", "water"}
    sizes = groups.group_by("key").len().sort("len", "key")
    words.write_text(f'key,word\n{sizes["key"][0]},"not a background"\n')
    rejected = discovered(scenery, tmp_path / "rejected", words=str(words), write_anyway=True)
    smallest = groups.filter(key=sizes["key"][0])["path"]
    assert not set(rejected.benchmark.photos["path"]) & set(smallest)
    assert any(note.startswith("1 of ") for note in rejected.benchmark.notes)
    words.write_text("key,word\n01234567,snow\n")
    with pytest.raises(UsageError, match="01234567"):
        discovered(scenery, tmp_path / "other", words=str(words))


def test_a_referee_that_sees_the_object_finds_nothing(scenery, tmp_path, cache):
    found = discovered(scenery, tmp_path / "pairs", foreground_only)
    assert found.benchmark is None


def test_photos_without_clusters_or_scenes_cannot_decide(tmp_path, cache):
    rng = np.random.default_rng(0)
    for number in range(80):
        name = list(CLASSES)[number % 2]
        save(
            tmp_path / "photos" / name / f"{number}.png",
            rng.integers(0, 256, (SIDE, SIDE, 3)).astype(np.uint8),
        )
    found = discovered(
        read_benchmark(tmp_path / "photos"), tmp_path / "pairs", write_anyway=True, min_photos=1
    )
    assert "?cluster=COLUMN" in found.sentence


@pytest.mark.parametrize("model", ["clip", "generative"])
def test_words_are_suggested(scenery, tmp_path, model):
    """A generative model of the user's own answers with what the corner shows."""
    (tmp_path / "asked.py").write_text(
        "from counterground.models import Generative\n"
        "class Model(Generative):\n"
        "    fingerprint = '1'\n"
        "    def generate(self, image, question, *, max_new_tokens):\n"
        "        assert 'background' in question\n"
        "        red, green, blue = image.getpixel((0, 0))\n"
        "        return ' Grass.' if green > blue else 'water'\n"
        "def make():\n"
        "    return Model()\n"
    )
    spec = {"clip": "counterground:stamps-balanced", "generative": f"{tmp_path / 'asked.py'}:make"}[model]
    photos = {
        label: [scenery.photo_path(f"hen/{label}{scene}-0.png") for scene in range(3)] for label in LABELS
    }
    words = suggested_words(photos, DiscoverSettings(suggest=spec))
    if model == "generative":
        assert words == {"grass": ["grass"], "water": ["water"]}
    else:
        assert [len(set(of)) for of in words.values()] == [3, 3]
        assert not set(words["grass"]) & set(words["water"])


def test_the_encoder_is_not_the_referee(scenery, tmp_path, cache):
    settings = DiscoverSettings(**SETTINGS)
    with pytest.raises(UsageError, match="efficientnet-lite0"):
        discover_pairs(scenery, "efficientnet-lite0", settings, tmp_path / "pairs")


@pytest.mark.parametrize(("by", "refused"), [("class_name", True), ("kind", False), ("slice", False)])
def test_hypotheses_of_others_go_through_the_same_gate(scenery, tmp_path, cache, by, refused):
    kind = pl.col("path").str.extract("/([a-z]+)")
    photos = scenery.photos.with_columns(kind=kind, scene=pl.col("path").str.extract("/([a-z]+[0-9])"))
    # Guesses that are the class, but for one photo in eight.
    slip = pl.int_range(pl.len()) % 8 == 0
    guess = pl.when(slip).then("kind").otherwise("kind" if by == "slice" else by)
    photos = photos.with_columns(guess=guess, cluster="scene")
    if by == "slice":
        photos = photos.with_columns(guess=(pl.col("kind") == "grass").cast(pl.Float64))
    benchmark = replace(scenery, photos=photos.drop("kind", "scene"))
    changes = {"find_backgrounds": False, "background_column": "guess", "exploratory": True}
    found = discovered(benchmark, tmp_path / "pairs", **changes)
    assert (found.benchmark is None) == refused
    assert ("Groups follow the class" in found.sentence) == refused
