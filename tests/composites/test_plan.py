"""Which object stands on which background: how many of each, drawn from where, and what is left out."""

import shutil
from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from disc_photos import SIDE, coin, disc, disc_photos, save
from PIL import Image

import counterground as cg
from counterground import Benchmark, construction
from counterground.composites import plan_swap
from counterground.errors import CounterGroundError, UsageError
from counterground.masks import make_masks
from counterground.metrics import Design
from counterground.photos import write_benchmark
from counterground.settings import KINDS, SwapSettings

TWO = SwapSettings(backgrounds_per_label=2)


@pytest.fixture(scope="module")
def discs(tmp_path_factory):
    return disc_photos(tmp_path_factory.mktemp("discs"), 4)


@pytest.fixture(scope="module")
def composites(discs):
    return plan_swap(discs, TWO)


def without_masks(benchmark, some):
    masks = pl.when(~pl.col("path").str.contains(some)).then("mask")
    return replace(benchmark, photos=benchmark.photos.with_columns(masks))


def test_each_object_gets_as_many_composites_of_each_kind_and_label(composites):
    of_each = composites.photos.group_by("foreground").agg(pl.col("swap").value_counts())
    expected = dict.fromkeys(("same", "other", "mixed_same", "mixed_rand"), 2)
    expected |= {"placed_common": 2, "placed_counter": 2}
    expected |= dict.fromkeys(("original", "pasted", "refilled", "grey", "background_only"), 1)
    assert set(expected) == set(KINDS)
    for counts in of_each["swap"].to_list():
        assert {each["swap"]: each["count"] for each in counts} == expected


def test_a_label_stands_for_the_group_that_it_is_for_the_class(composites):
    swapped = composites.photos.filter(pl.col("swap").is_in(["same", "other"]))
    pairs = set(swapped.select("class_name", "background", "group").iter_rows())
    assert pairs == {
        ("hen", "grass", "common"),
        ("hen", "water", "counter"),
        ("ox", "grass", "counter"),
        ("ox", "water", "common"),
    }
    same = swapped.filter(pl.col("swap") == "same")
    assert (same["group"] == same["own_group"]).all()


def test_a_background_never_comes_from_the_objects_own_cluster(composites):
    drawn = composites.photos.filter(pl.col("swap").is_in(["same", "other", "mixed_same", "mixed_rand"]))
    assert (drawn["cluster"] != drawn["background_cluster"]).all()
    twice = drawn.filter(pl.struct("foreground", "background_photo", "swap").is_duplicated())
    assert twice.is_empty()


def test_a_copy_of_a_photo_lends_it_neither_background_nor_place(tmp_path):
    discs = disc_photos(tmp_path, 4)
    copied = "hen/grass/0.png"
    for path in (copied, f"masks/{copied}"):
        shutil.copy(tmp_path / path, tmp_path / path.replace("0.png", "copy.png"))
    copy = pl.col("path", "mask").str.replace("0.png", "copy.png", literal=True)
    twice = pl.concat([discs.photos, discs.photos.filter(path=copied).with_columns(copy)]).sort("path")
    alone = twice.with_columns(cluster=pl.lit(None, pl.String))
    benchmark = Benchmark(discs.name, discs.root, alone, discs.classes)
    kinds = ("mixed_same", "mixed_rand", "placed_common", "placed_counter")
    content = dict(alone.select("path", "photo_id").iter_rows())
    inside = np.asarray(Image.open(tmp_path / f"masks/{copied}")) >= 128
    middle = [(np.argwhere(inside)[:, axis].mean() + 0.5) / SIDE for axis in (1, 0)]
    made = plan_swap(benchmark, SwapSettings(kinds=kinds, backgrounds_per_label=8))
    mine = made.photos.filter(foreground=copied)
    mixed = mine.filter(pl.col("swap").str.starts_with("mixed"))
    assert len(mixed) == 14  # of nine photos of its class, two are itself
    assert content[copied] not in {content[behind] for behind in mixed["background_photo"]}
    places = [made.made[path].placement for path in mine["path"]]
    assert len([place for place in places if place is not None]) >= 6
    assert not any(place == pytest.approx((inside.mean(), *middle), abs=1e-9) for place in places)


def test_clusters_are_those_that_the_design_names(discs):
    photos = discs.photos.with_columns(observer="cluster", cluster="path")
    for clusters, crossed in ((("observer",), 0), (("observer", "cluster"), 1)):
        plan = plan_swap(replace(discs, photos=photos, design=Design(clusters=clusters)), TWO)
        assert set(plan.photos["cluster"]) == set(discs.photos["cluster"])
        assert set(plan.photos["background_cluster"].drop_nulls()) == set(discs.photos["cluster"])
        assert sum("of the column observer alone" in note for note in plan.notes) == crossed


def test_backgrounds_are_used_equally_often(discs):
    photos = plan_swap(discs, SwapSettings(kinds=("other",), backgrounds_per_label=2)).photos
    uses = Counter(photos["background_photo"])
    assert len(uses) == 16
    assert max(uses.values()) - min(uses.values()) <= 1


def test_mixed_same_backgrounds_are_of_the_class_and_rand_of_any(composites):
    photos = composites.photos
    same = photos.filter(pl.col("swap") == "mixed_same")
    assert (same["background_class"] == same["class_name"]).all()
    rand = photos.filter(pl.col("swap") == "mixed_rand")
    assert (rand["background_class"] != rand["class_name"]).any()


def test_a_photo_as_it_is_stays_a_file_and_others_are_made(composites):
    photos = composites.photos
    for path, swap, content in photos.select("path", "swap", "photo_id").iter_rows():
        assert (path in composites.made) == (swap != "original")
        if swap != "original":
            assert composites.made[path].photo_id == content


def test_the_same_seed_gives_the_same_plan_and_another_seed_another(discs, composites):
    assert plan_swap(discs, TWO).version == composites.version
    other = plan_swap(discs, SwapSettings(backgrounds_per_label=2, seed=1))
    assert other.version != composites.version


def test_rows_of_one_background_follow_each_other(composites):
    backgrounds = [path for path in composites.photos["background_photo"] if path != "grey"]
    made = composites.photos.filter(pl.col("swap") != "original")["background_photo"].to_list()
    changes = sum(a != b for a, b in pairwise(made))
    assert changes == len(set(backgrounds))  # and grey


def test_one_of_each_class_and_group_is_taken_before_two(discs):
    photos = plan_swap(discs, SwapSettings(kinds=("grey",), foregrounds=4)).photos
    assert photos.select("class_name", "own_group").n_unique() == 4


def test_cut_outs_are_the_clusters_of_objects_and_two_photos_of_each_are_used(discs):
    first = pl.col("path").str.contains("[01].png")
    hens = pl.when(pl.col("class_name") == "hen").then(
        pl.when(first).then(pl.lit("a")).otherwise(pl.lit("b"))
    )
    benchmark = replace(discs, photos=discs.photos.with_columns(cutout=hens))
    photos = plan_swap(benchmark, SwapSettings(kinds=("grey",))).photos
    assert Counter(photos.filter(class_name="hen")["cluster"]) == {"a": 2, "b": 2}
    assert photos.filter(class_name="hen").select("cluster", "own_group").n_unique() == 4
    assert Counter(photos["class_name"]) == {"hen": 4, "ox": 8}  # oxen show no cut-out


def test_photos_without_a_usable_mask_are_named_and_counted(tmp_path):
    benchmark = disc_photos(tmp_path, 4)
    masks = tmp_path / "masks/hen/grass"
    save(masks / "0.png", np.zeros((SIDE, SIDE), np.uint8))
    save(masks / "1.png", np.full((SIDE, SIDE), 255, np.uint8))
    save(masks / "2.png", disc((20, 20), 9)[:40])
    (masks / "3.png").write_bytes(b"no image")
    (tmp_path / "masks/ox/grass/0.png").unlink()
    damaged = tmp_path / "ox/grass/1.png"
    damaged.write_bytes(damaged.read_bytes()[:-40])
    save(tmp_path / "ox/grass/2.png", np.zeros((SIDE, SIDE, 3), np.uint8))
    made = plan_swap(without_masks(benchmark, "ox/water/[01]"), SwapSettings(kinds=("grey",)))
    said = "\n".join(made.notes)
    for sentence in (
        "2 of 16 photos left out, with a mask that is empty, or leaves next to nothing of the background: ",
        "1 of 16 photos left out, with a mask of another size: hen/grass/2.png.",
        "1 of 16 photos left out, with an unreadable mask (not an image): hen/grass/3.png.",
        "1 of 16 photos left out, with an unreadable mask (missing): ox/grass/0.png.",
        "2 of 16 photos left out, with an unreadable photo (content changed since the manifest was",
        "2 of 16 photos left out, without a mask: ox/water/0.png, ox/water/1.png.",
    ):
        assert sentence in said
    assert len(made.photos) == 7


def test_masks_whose_edges_leave_no_background_give_none(tmp_path):
    """Plain grey would stand in for it, as a photo of its label."""
    benchmark = disc_photos(tmp_path, 4)
    wide, haze = np.zeros((SIDE, SIDE), np.uint8), np.maximum(disc((30, 30), 12), 20)
    wide[1:-1, 1:-1] = 255
    save(tmp_path / "masks/hen/grass/0.png", wide)
    save(tmp_path / "masks/hen/grass/1.png", haze)
    made = plan_swap(benchmark, TWO)
    note = "2 of 16 photos left out, with a mask that is empty, or leaves next to nothing of the background"
    assert f"{note}: hen/grass/0.png, hen/grass/1.png." in made.notes
    for row in made.photos.filter(pl.col("swap").is_in(["same", "other", "refilled"])).iter_rows(named=True):
        assert np.asarray(made.made[row["path"]].make()).std(axis=2)[0, 0] > 20


def test_an_object_too_thin_to_be_cut_out_gives_none(tmp_path):
    """It would be missing later, on some labels only."""
    benchmark = disc_photos(tmp_path, 4)
    for number in (0, 1):
        photo = Image.open(tmp_path / f"hen/water/{number}.png").resize((1500, 1500))
        photo.save(tmp_path / f"hen/water/{number}.png")
        tiny = np.zeros((1500, 1500), np.uint8)
        tiny[700, 700 : 700 + 700 * number + 2] = 255
        save(tmp_path / f"masks/hen/water/{number}.png", tiny)
    plain = benchmark.photos.drop("photo_id")
    made = plan_swap(Benchmark.from_frame(plain, root=tmp_path, name="discs"), TWO)
    note = "2 of 16 photos left out, with an object too thin or too small to be cut out"
    assert f"{note}: hen/water/0.png, hen/water/1.png." in made.notes
    assert not [path for path in made.photos["foreground"] if path.startswith("hen/water/0")]


def test_a_background_of_both_groups_is_named_and_is_neither(discs):
    first = pl.col("path") == "hen/grass/0.png"
    photos = discs.photos.with_columns(group=pl.when(first).then(pl.lit("counter")).otherwise("group"))
    made = plan_swap(Benchmark(discs.name, discs.root, photos, discs.classes), TWO)
    assert any(
        note.startswith("Backgrounds of a class with photos of both groups")
        and note.endswith(": hen on grass.")
        for note in made.notes
    )
    hens = made.photos.filter(class_name="hen", background="grass")
    assert hens["group"].null_count() == len(hens)


def test_unknown_kinds_labels_and_half_pairs_are_refused(discs):
    with pytest.raises(UsageError, match="Did you mean 'other'"):
        SwapSettings(kinds=("othr",))
    with pytest.raises(UsageError, match=r"background 'gras'.*Did you mean 'grass'"):
        plan_swap(discs, SwapSettings(labels=("gras", "water")))
    with pytest.raises(CounterGroundError, match="Name more -X labels"):
        plan_swap(discs, SwapSettings(labels=("grass",)))


@pytest.mark.parametrize(
    "use",
    [
        write_benchmark,
        lambda composites, out: make_masks(composites, "manifest", out),
        lambda composites, out: construction.export(
            composites, out=out, formats="parquet", settings=construction.ExportSettings(private=True)
        ),
        lambda composites, out: cg.discover(composites, coin, out=out, label_space="benchmark"),
    ],
)
def test_what_needs_files_refuses_composites(composites, tmp_path, use):
    with pytest.raises(UsageError, match=r"composites made in memory: .* the photos themselves"):
        use(composites, tmp_path / "out")
    assert not (tmp_path / "out").exists()
