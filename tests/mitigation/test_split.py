"""Three disjoint sets of clusters, with every class and both sides in each."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

# Hundreds of drawn layouts, each of which would be a run.
from counterground.mitigation._split import rotate_clusters


def photos_of(rows):
    """A manifest of (class, background, cluster) rows, each photo of its own content."""
    classes, backgrounds, clusters = zip(*rows, strict=True)
    names = sorted(set(classes))
    return pl.DataFrame(
        {
            "path": [f"{number}.jpg" for number in range(len(rows))],
            "photo_id": [f"{number:064x}" for number in range(len(rows))],
            "class_index": [names.index(each) for each in classes],
            "class_name": classes,
            "background": backgrounds,
            "cluster": clusters,
        },
        schema_overrides={"cluster": pl.String, "background": pl.String},
    )


def sides_of(photos):
    return np.array(["common" if each == "grass" else "counter" for each in photos["background"]], object)


def grid(clusters=6):
    return photos_of(
        [(name, ground, f"c{c}") for c in range(clusters) for name in "ab" for ground in ("grass", "snow")]
    )


def test_every_readable_photo_is_judged_once_and_folds_share_no_cluster():
    photos = grid()
    readable = np.arange(len(photos)) % 5 > 0
    rotation = rotate_clusters(photos, "cluster", sides_of(photos), seed=0)
    folds = rotation.folds(readable)
    assert sorted(np.concatenate([fold.judge for fold in folds])) == np.flatnonzero(readable).tolist()
    for fold in folds:
        of = [set(photos["cluster"].gather(rows)) for rows in fold]
        assert not of[0] & of[1]
        assert not of[0] & of[2]
        assert not of[1] & of[2]
        assert set.union(*of) == set(photos["cluster"])


@given(st.integers(0, 10_000))
@settings(max_examples=40)
def test_every_part_has_every_class_on_each_side_where_clusters_are_enough(seed):
    """Clusters nested in backgrounds, as background photographs are, and unequal."""
    random = np.random.default_rng(seed)
    rows = [
        (name, ground, f"{ground} {c}")
        for ground in ("grass", "snow", "sand")
        for c in range(int(random.integers(3, 9)))
        for name in "abcd"
        for _ in range(int(random.integers(1, 4)))
    ]
    photos = photos_of(rows)
    side = sides_of(photos)
    rotation = rotate_clusters(photos, "cluster", side, seed)
    assert rotation.lacking == ()
    for part in range(3):
        inside = rotation.part == part
        found = set(zip(photos["class_name"].to_numpy()[inside], side[inside], strict=True))
        assert found == set(zip(photos["class_name"], side, strict=True))


def test_copies_of_a_photo_stay_together_whatever_their_cluster():
    photos = grid(12)
    copied = photos.with_columns(
        photo_id=pl.when(pl.col("cluster").is_in(["c0", "c7"])).then(pl.lit("f" * 64)).otherwise("photo_id")
    )
    rotation = rotate_clusters(copied, "cluster", sides_of(copied), seed=3)
    assert len(set(rotation.part[copied["photo_id"].to_numpy() == "f" * 64])) == 1


def test_photos_without_a_cluster_are_clusters_of_their_own():
    photos = grid().with_columns(cluster=pl.lit(None, pl.String))
    rotation = rotate_clusters(photos, "cluster", sides_of(photos), seed=0)
    assert len(set(rotation.clusters)) == len(photos)
    assert {each["photos"] for each in rotation.sizes(np.full(24, True))} == {8}
    assert sum(each["photos"] for each in rotation.sizes(np.arange(24) > 0)) == 23


def test_a_class_on_a_side_with_two_clusters_is_named_and_not_refused():
    photos = grid().filter(
        ~((pl.col("class_name") == "b") & (pl.col("background") == "grass"))
        | pl.col("cluster").is_in(["c0", "c1"])
    )
    rotation = rotate_clusters(photos, "cluster", sides_of(photos), seed=0)
    assert rotation.lacking == ("common b",)
