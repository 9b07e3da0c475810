"""Photos on disk into a pool: copied, labelled, listed where they cannot be, and nothing twice."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from noise_photos import save_noise
from PIL import Image

from counterground.construction.imports import import_photos
from counterground.construction.pool import BACKGROUND_LABELS, open_pool
from counterground.construction.settings import ImportOptions
from counterground.errors import CounterGroundError, UsageError
from counterground.metrics import Design
from counterground.photos import Benchmark, LabelSpace, read_benchmark, write_benchmark


def everything(pool_path: Path):
    pool = open_pool(pool_path)
    try:
        return pool.photos(), pool.verdicts("background"), pool.decisions()
    finally:
        pool.close()


def test_class_and_background_folders(tmp_path, labelled):
    report = import_photos(tmp_path / "pool", labelled)
    assert (report.added, report.present, report.rejected) == (9, 0, ())
    assert (report.by_class, report.backgrounds) == ({"flamingo": 3, "zebra": 6}, 9)
    photos, verdicts, decisions = everything(tmp_path / "pool")
    assert photos["class_name"].value_counts().sort("class_name").rows() == [("flamingo", 3), ("zebra", 6)]
    for row in photos.iter_rows(named=True):
        file = tmp_path / "pool" / row["path"]
        assert hashlib.sha256(file.read_bytes()).hexdigest() == row["photo_id"]
        assert (row["width"], row["height"], row["bytes"]) == (48, 40, file.stat().st_size)
        assert row["key"].startswith("file:animals/")
    assert verdicts["label"].value_counts().sort("label").rows() == [("grass", 3), ("road", 3), ("water", 3)]
    assert set(decisions["annotator"]) == {"imported"}


def write_table(path: Path, columns: dict[str, list[str]]) -> Path:
    frame = pl.DataFrame(columns)
    {".csv": frame.write_csv, ".jsonl": frame.write_ndjson, ".parquet": frame.write_parquet}[path.suffix](
        path
    )
    return path


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_observers_of_a_table_of_files_are_clusters_unless_it_has_some(tmp_path, labelled, suffix):
    files = [str(file) for file in sorted((labelled / "zebra").rglob("*.jpg"))[:4]]
    columns = {"path": files, "class_name": ["zebra"] * 4, "observer": ["12", "12", None, None]}
    columns["observation"] = ["1", "2", "3", None]
    source = write_table(tmp_path / f"mine{suffix}", columns)
    for _ in range(2):
        report = import_photos(tmp_path / "pool", source)
        said = "Photos of one observer (or else one observation) share a cluster: the source has no column"
        assert report.notes[-1] == f"{said} 'cluster'."
        photos = everything(tmp_path / "pool")[0].sort("key")
        assert photos["cluster"].to_list() == ["observer:12", "observer:12", "observation:3", None]
        assert photos["observation"].to_list() == ["1", "2", "3", None]
    given = write_table(tmp_path / f"mine{suffix}", columns | {"cluster": ["a", None, None, "a"]})
    assert not any("cluster" in note for note in import_photos(tmp_path / "other", given).notes)
    assert everything(tmp_path / "other")[0].sort("key")["cluster"].to_list() == ["a", None, None, "a"]


def test_a_background_that_was_changed_is_recorded_as_a_later_decision(tmp_path, labelled):
    import_photos(tmp_path / "pool", labelled)
    photos = read_benchmark(labelled).photos.with_columns(background=pl.lit("snow"))
    manifest = labelled / "animals.parquet"
    photos.select("path", "class_name", "background").write_parquet(manifest)
    report = import_photos(tmp_path / "pool", manifest)
    assert (report.added, report.present, report.backgrounds) == (0, 9, 9)
    _, verdicts, decisions = everything(tmp_path / "pool")
    assert set(verdicts["label"]) == {"snow"}
    assert len(decisions) == 18


def test_what_an_annotator_changed_since_is_left_by_the_same_import(tmp_path, labelled):
    options = ImportOptions(annotator="ann")
    import_photos(tmp_path / "pool", labelled, options)
    pool = open_pool(tmp_path / "pool")
    changed, taken_back = pool.photos()["path"][0], pool.decisions()["path"][-1]
    pool.undo("ann", "background")
    pool.decide(changed, annotator="ann", task="background", labels=["rock"], seconds=2.0)
    assert import_photos(tmp_path / "pool", labelled, options).backgrounds == 0
    labels = dict(pool.verdicts("background").select("path", "label").iter_rows())
    assert (labels[changed], labels[taken_back]) == ("rock", None)


def test_equal_files_of_a_class_are_one_photo(tmp_path, labelled):
    shutil.copy(labelled / "zebra/grass/0.jpg", labelled / "zebra/road/copy.jpg")
    shutil.copy(labelled / "zebra/grass/0.jpg", labelled / "flamingo/water/copy.jpg")
    report = import_photos(tmp_path / "pool", labelled)
    assert (report.added, report.present, report.rejected) == (10, 1, ())
    assert len([file for file in (tmp_path / "pool/files").rglob("*") if file.is_file()]) == 10
    again = import_photos(tmp_path / "pool", labelled)
    assert (again.added, again.present, again.backgrounds) == (0, 11, 0)


CREDITS = ("licence", "attribution", "source", "cluster")


@pytest.mark.parametrize("name", ["mine.csv", "corrected.csv"])
def test_corrected_licences_credits_and_clusters_are_taken_over(tmp_path, labelled, name):
    files = sorted(map(str, labelled.rglob("*.jpg")))
    columns = {
        "path": files,
        "class_name": ["zebra"] * 9,
        "licence": ["cc-by"] * 9,
        "attribution": ["Ann"] * 9,
    }
    import_photos(tmp_path / "pool", write_table(tmp_path / "mine.csv", columns))
    corrected = columns | {
        "licence": ["all rights reserved"] * 9,
        "attribution": ["Ann"] * 8 + ["Bob"],
        "source": ["https://example.org"] * 9,
        "cluster": ["ann"] * 8 + ["bob"],
    }
    source = write_table(tmp_path / name, corrected)
    report = import_photos(tmp_path / "pool", source)
    assert (report.added, report.present) == (0, 9)
    assert "Updated 9 photos" in report.notes[-1]
    photos = everything(tmp_path / "pool")[0]
    assert sorted(photos.select(CREDITS).rows()) == sorted(zip(*(corrected[n] for n in CREDITS), strict=True))
    assert pl.read_parquet(tmp_path / "pool/photos.parquet")["licence"].unique().to_list() == [
        "all rights reserved"
    ]
    assert not any("Updated" in note for note in import_photos(tmp_path / "pool", source).notes)


def test_what_does_not_decode_is_listed_and_not_taken_in(tmp_path, labelled):
    (labelled / "zebra/grass/page.jpg").write_text("<html>")
    whole = (labelled / "zebra/grass/0.jpg").read_bytes()
    (labelled / "zebra/grass/half.jpg").write_bytes(whole[: len(whole) // 2])
    (labelled / "zebra/grass/empty.jpg").write_bytes(b"")
    report = import_photos(tmp_path / "pool", labelled)
    assert {(one.item, one.reason) for one in report.rejected} == {
        ("zebra/grass/page.jpg", "not an image"),
        ("zebra/grass/half.jpg", "truncated"),
        ("zebra/grass/empty.jpg", "empty file"),
    }
    assert report.added == 9
    listed = pl.read_csv(report.list_file)
    assert listed.columns == ["item", "class_name", "reason"]
    assert listed["reason"].sort().to_list() == ["empty file", "not an image", "truncated"]
    for name in ("page", "half", "empty"):
        (labelled / f"zebra/grass/{name}.jpg").unlink()
    mended = import_photos(tmp_path / "pool", labelled)
    assert (mended.list_file, report.list_file.exists()) == (None, False)


def written(tmp_path) -> Benchmark:
    root = tmp_path / "composites"
    rows = []
    for number in range(4):
        photo = save_noise(root / f"p{number}.png", number)
        mask = root / "m" / f"p{number}.png"
        mask.parent.mkdir(exist_ok=True)
        Image.fromarray(np.full((40, 48), 255 * (number % 2), np.uint8)).save(mask)
        rows.append(
            {
                "path": photo.name,
                "photo_id": hashlib.sha256(photo.read_bytes()).hexdigest(),
                "class_index": number % 2,
                "class_name": ("okapi", "quokka")[number % 2],
                "background": ("hand", "snow")[number // 2],
                "cluster": f"c{number}",
                "mask": f"m/p{number}.png",
                "licence": "CC BY 4.0",
                "attribution": f"Ann {number}",
                "source": f"https://example.org/{number}",
            }
        )
    frame = pl.DataFrame(rows, schema_overrides={"class_index": pl.Int32})
    benchmark = Benchmark("made", root, frame, LabelSpace("benchmark", ("okapi", "quokka"), (None, None)))
    write_benchmark(benchmark, tmp_path / "made")
    return benchmark


def test_all_a_benchmark_knows_comes_along(tmp_path):
    benchmark = written(tmp_path)
    report = import_photos(tmp_path / "pool", tmp_path / "made", ImportOptions(annotator="ann"))
    assert (report.added, report.masks, report.backgrounds) == (4, 4, 4)
    assert "New background labels in the pool: hand." in report.notes
    photos, verdicts, decisions = everything(tmp_path / "pool")
    assert set(decisions["annotator"]) == {"ann"}
    joined = photos.join(benchmark.photos, on="photo_id", suffix="_source")
    for column in ("class_name", "cluster", "licence", "attribution", "source"):
        assert joined[column].to_list() == joined[f"{column}_source"].to_list()
    for row in joined.iter_rows(named=True):
        assert (tmp_path / "pool" / row["mask"]).read_bytes() == benchmark.photo_path(
            row["mask_source"]
        ).read_bytes()
    assert verdicts.join(joined, on="path")["label"].to_list() == joined["background"].to_list()


@pytest.mark.parametrize("crossed", [(), ("camera",)])
def test_clusters_are_those_of_the_design_and_unused_columns_are_named(tmp_path, crossed):
    for number in range(4):
        save_noise(tmp_path / f"mine/files/{number}.png", number)
    frame = pl.DataFrame({"path": [f"files/{number}.png" for number in range(4)]}).with_columns(
        class_name=pl.lit("ox"), site=pl.Series(["a", "a", "b", "b"]), camera=pl.Series(["x", "y"] * 2)
    )
    benchmark = Benchmark.from_frame(frame, root=tmp_path / "mine", attributes=["site", "camera"])
    write_benchmark(replace(benchmark, design=Design(clusters=("site", *crossed))), tmp_path / "mine")
    report = import_photos(tmp_path / "pool", tmp_path / "mine")
    assert everything(tmp_path / "pool")[0]["cluster"].sort().to_list() == list("aabb")
    assert report.notes == ("Unused columns of the source: camera.",)


def test_a_mask_that_cannot_be_read_is_listed_and_its_photo_kept(tmp_path):
    benchmark = written(tmp_path)
    benchmark.photo_path("m/p1.png").write_bytes(b"no mask")
    benchmark.photo_path("m/p2.png").unlink()
    report = import_photos(tmp_path / "pool", tmp_path / "made")
    assert (report.added, report.present, report.masks) == (4, 0, 2)
    assert sorted(one.reason for one in report.rejected) == [
        "no such file or directory",
        "not an image",
    ]
    assert len(pl.read_csv(report.list_file)) == 2


def test_a_flat_folder_of_one_class(tmp_path):
    for number in range(3):
        save_noise(tmp_path / "trip" / f"IMG {number}.JPG", number)
    (tmp_path / "trip" / "notes.txt").write_text("hello")
    with pytest.raises(CounterGroundError, match=r"IMG 0\.JPG"):
        import_photos(tmp_path / "pool", tmp_path / "trip")
    assert not (tmp_path / "pool").exists()
    report = import_photos(tmp_path / "pool", tmp_path / "trip", ImportOptions(class_name="zebra"))
    assert (report.added, report.by_class) == (3, {"zebra": 3})
    photos = everything(tmp_path / "pool")[0]
    assert all(path.startswith("files/zebra/img-") and path.endswith(".jpg") for path in photos["path"])


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_long_numbers_of_observations_stay_apart(tmp_path, suffix):
    files = [save_noise(tmp_path / f"{number}.png", number) for number in range(3)]
    numbers = [2**53, 2**53 + 1, 7]
    columns = {"path": list(map(str, files)), "class_name": ["zebra"] * 3, "observation": numbers}
    import_photos(tmp_path / "pool", write_table(tmp_path / f"mine{suffix}", columns))
    photos, _, _ = everything(tmp_path / "pool")
    assert set(photos["observation"]) == set(map(str, numbers))
    assert photos["cluster"].n_unique() == 3


def test_class_names_that_mean_one_class_are_refused_and_can_be_renamed(tmp_path, labelled):
    import_photos(tmp_path / "pool", labelled)
    save_noise(tmp_path / "more" / "Flamingo" / "1.jpg", 50)
    with pytest.raises(CounterGroundError, match="Import it under that name: --rename 'Flamingo'='flamingo'"):
        import_photos(tmp_path / "pool", tmp_path / "more")
    save_noise(tmp_path / "other" / "ice bear" / "1.jpg", 51)
    import_photos(tmp_path / "pool", tmp_path / "other")
    save_noise(tmp_path / "third" / "polar bear" / "1.jpg", 52)
    with pytest.raises(CounterGroundError, match="are the same class"):
        import_photos(tmp_path / "pool", tmp_path / "third")
    renamed = ImportOptions(rename={"polar bear": "ice bear"})
    assert import_photos(tmp_path / "pool", tmp_path / "third", renamed).by_class == {"ice bear": 1}
    assert len(everything(tmp_path / "pool")[0]) == 11


def test_a_background_that_the_pool_spells_otherwise_is_the_pools(tmp_path):
    for number, place in enumerate(("Grass", " road", "Reef")):
        save_noise(tmp_path / "animals" / "zebra" / place / "1.jpg", number)
        save_noise(tmp_path / "animals" / "ostrich" / place / "1.jpg", 10 + number)
    report = import_photos(tmp_path / "pool", tmp_path / "animals")
    assert report.notes == ("New background labels in the pool: Reef.",)
    with open_pool(tmp_path / "pool") as pool:
        assert pool.background_labels() == [*BACKGROUND_LABELS, "Reef"]
        photo = pool.verdicts("background").filter(label="grass")["path"][0]
        pool.decide(photo, annotator="ann", task="background", labels=["grass"])
        assert set(pool.verdicts("background")["status"]) == {"single", "agreed"}
        assert set(pool.freeze().photos["background"]) == {"grass", "road", "Reef"}
    columns = {
        "path": [str(f) for f in sorted((tmp_path / "animals").rglob("*.jpg"))],
        "class_name": ["hen"] * 6,
        "background": ["REEF"] * 6,
    }
    source = write_table(tmp_path / "mine.csv", columns)
    again = import_photos(tmp_path / "pool", source)
    assert again.by_class == {"hen": 6}
    assert open_pool(tmp_path / "pool").background_labels() == [*BACKGROUND_LABELS, "Reef"]


def test_a_pool_gives_what_stands_in_it(tmp_path, labelled):
    import_photos(tmp_path / "first", labelled)
    first = open_pool(tmp_path / "first")
    gone = first.photos()["path"][0]
    first.decide(gone, annotator="ann", task="review", labels=["clarity"])
    report = import_photos(tmp_path / "second", tmp_path / "first")
    assert (report.added, report.backgrounds) == (8, 8)
    assert any("1 of 9 photos of the pool were discarded" in note for note in report.notes)
    snapshot = first.snapshot()
    with pytest.raises(UsageError, match="is the source"):
        import_photos(tmp_path / "first", tmp_path / "first")
    assert import_photos(tmp_path / "third", snapshot).added == 8


IMPORT = (
    "import sys; from counterground.construction.imports import import_photos; import_photos(*sys.argv[1:])"
)


def test_kill_at_any_moment_loses_nothing(tmp_path):
    source = tmp_path / "many"
    for number in range(300):
        save_noise(source / "zebra" / ("grass", "road")[number % 2] / f"{number}.jpg", number)
    files = tmp_path / "pool" / "files" / "zebra"
    process = subprocess.Popen([sys.executable, "-c", IMPORT, str(tmp_path / "pool"), str(source)])
    while process.poll() is None and (not files.is_dir() or len(list(files.iterdir())) < 40):
        time.sleep(0.002)
    assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    import_photos(tmp_path / "pool", source)
    photos, verdicts, decisions = everything(tmp_path / "pool")
    assert len(photos) == len(decisions) == 300
    assert verdicts["label"].value_counts().sort("label").rows() == [("grass", 150), ("road", 150)]
    assert len([file for file in files.iterdir() if not file.name.startswith(".")]) == 300
