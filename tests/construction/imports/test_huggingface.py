"""Hugging Face data sets made here: saved to disk, folders of images and of Parquet; no hub is asked."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import datasets
import pytest
from dataset_hub import Hub
from PIL import Image

from counterground.cli import main
from counterground.construction.imports import import_photos
from counterground.construction.pool import open_pool
from counterground.construction.settings import ImportOptions
from counterground.errors import CounterGroundError, UsageError


@pytest.fixture(autouse=True)
def own_cache(cache, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", cache / "datasets")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    made = []
    for number in range(6):
        path = folder / f"{number}.jpg"
        Image.effect_noise((40 + number, 30), 50 + number).convert("RGB").save(path)
        made.append(path)
    return made


def data_set(files, **columns):
    features = {"image": datasets.Image(), "label": datasets.ClassLabel(names=["zebra", "flamingo"])}
    rows = {"image": [str(path) for path in files], "label": [n % 2 for n in range(len(files))]}
    features |= {name: datasets.Value("string") for name in columns}
    return datasets.Dataset.from_dict(rows | columns, features=datasets.Features(features))


def photos_of(pool_path):
    pool = open_pool(pool_path)
    return pool.photos(), pool.verdicts("background")


@pytest.mark.parametrize("prefix", ["", "hf:"])
def test_saved_to_disk(tmp_path, files, prefix):
    extra = {
        "background": ["snow", "sky", None, "snow", "sky", "snow"],
        "licence": ["cc0"] * 6,
        "note": ["x"] * 6,
    }
    data_set(files, **extra).save_to_disk(tmp_path / "saved")
    report = import_photos(tmp_path / "pool", f"{prefix}{tmp_path / 'saved'}")
    assert (report.added, report.by_class, report.rejected) == (6, {"flamingo": 3, "zebra": 3}, ())
    assert report.notes == ("Unused columns of the source: note.",)
    assert report.backgrounds == 5
    photos, verdicts = photos_of(tmp_path / "pool")
    assert set(photos["photo_id"]) == {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}
    assert set(photos["licence"]) == {"cc0"}
    assert sorted(verdicts["label"].drop_nulls()) == ["sky", "sky", "snow", "snow", "snow"]
    again = import_photos(tmp_path / "pool", f"{prefix}{tmp_path / 'saved'}")
    assert (again.added, again.present, again.backgrounds) == (0, 6, 0)


def test_an_unknown_label_is_no_label(tmp_path, files):
    """A negative number of a ``ClassLabel``; one of the class rejects the row."""
    places = datasets.ClassLabel(names=["snow", "sky"])
    made = data_set(files, cluster=["", " ", "ann ", "ann", None, "ben"])
    for name, numbers in (("background", [0, 1, -1, -1, None, 0]), ("source", [-1, 1, 0, 0, 0, 0])):
        made = made.add_column(name, numbers).cast_column(name, places)
    made = made.remove_columns("label").add_column("label", [0, 1, 0, 1, 0, -1])
    made.cast_column("label", datasets.ClassLabel(names=["zebra", "flamingo"])).save_to_disk(
        tmp_path / "saved"
    )
    report = import_photos(tmp_path / "pool", tmp_path / "saved", ImportOptions(class_column="label"))
    assert [(one.item, one.reason) for one in report.rejected] == [("all, row 5", "it has no class")]
    photos, verdicts = photos_of(tmp_path / "pool")
    found = photos.join(verdicts.select("path", "label"), on="path", how="left").sort("key")
    assert found.select("class_name", "label", "cluster", "source").rows() == [
        ("zebra", "snow", None, None),
        ("flamingo", "sky", None, "sky"),
        ("zebra", None, "ann", "snow"),
        ("flamingo", None, "ann", "snow"),
        ("zebra", None, None, "snow"),
    ]


def test_splits_have_to_be_chosen_where_there_are_several(tmp_path, files):
    both = datasets.DatasetDict(train=data_set(files[:4]), test=data_set(files[4:]))
    both.save_to_disk(tmp_path / "saved")
    source = f"hf:{tmp_path / 'saved'}"
    with pytest.raises(UsageError, match=r"Choose splits of .*:train\+test"):
        import_photos(tmp_path / "pool", source)
    with pytest.raises(UsageError, match=r"Choose splits of .*:train\+test"):
        import_photos(tmp_path / "pool", f"{source}:tset")
    assert import_photos(tmp_path / "pool", f"{source}:test").added == 2
    assert import_photos(tmp_path / "pool", f"{source}:train+test").added == 4
    assert len(photos_of(tmp_path / "pool")[0]) == 6


def test_a_folder_of_parquet_that_load_dataset_reads(tmp_path, files):
    (tmp_path / "data").mkdir()
    data_set(files).to_parquet(tmp_path / "data" / "train-00000-of-00001.parquet")
    report = import_photos(tmp_path / "pool", f"hf:{tmp_path / 'data'}")
    assert (report.added, report.by_class) == (6, {"flamingo": 3, "zebra": 3})


def test_a_folder_of_images_that_load_dataset_reads(tmp_path, files):
    for number, path in enumerate(files):
        target = tmp_path / "folder" / "train" / ("zebra", "flamingo")[number % 2] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    report = import_photos(tmp_path / "pool", f"hf:{tmp_path / 'folder'}:train")
    assert (report.added, report.by_class) == (6, {"flamingo": 3, "zebra": 3})
    kept = set(photos_of(tmp_path / "pool")[0]["photo_id"])
    assert kept == {hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_columns_are_found_or_asked_for(tmp_path, files):
    rows = {
        "front": [str(path) for path in files],
        "back": [str(path) for path in files],
        "animal": ["zebra", "okapi", "", None, "zebra", "okapi"],
    }
    features = {"front": datasets.Image(), "back": datasets.Image(), "animal": datasets.Value("string")}
    made = datasets.Dataset.from_dict(rows, features=datasets.Features(features))
    made.save_to_disk(tmp_path / "saved")
    source = str(tmp_path / "saved")
    with pytest.raises(
        UsageError,
        match=r"column of the image is not clear: name it with -X image-column; candidates are front, back",
    ):
        import_photos(tmp_path / "pool", source)
    with pytest.raises(
        UsageError, match=r"column of the class is not clear: name it with --class-column or --class"
    ):
        import_photos(tmp_path / "pool", source, ImportOptions(image_column="front"))
    with pytest.raises(UsageError, match=r"no column 'animals'.*Did you mean 'animal'"):
        import_photos(tmp_path / "pool", source, ImportOptions(image_column="front", class_column="animals"))
    named = ImportOptions(image_column="front", class_column="animal")
    report = import_photos(tmp_path / "pool", source, named)
    assert (report.added, report.by_class) == (4, {"okapi": 2, "zebra": 2})
    words = [
        "data",
        "import",
        source,
        "-o",
        str(tmp_path / "pool"),
        "-X",
        "image-column=back",
        "--class-column",
        "animal",
    ]
    assert main(words) == 0
    assert [(one.item, one.reason) for one in report.rejected] == [
        ("all, row 2", "it has no class"),
        ("all, row 3", "it has no class"),
    ]


def test_rows_without_a_readable_image_are_listed(tmp_path, files):
    broken = [files[0].read_bytes(), b"no image", files[1].read_bytes()[:300]]
    features = datasets.Features({"image": datasets.Image()})
    rows = {"image": [{"bytes": data, "path": None} for data in broken] + [None]}
    datasets.Dataset.from_dict(rows, features=features).save_to_disk(tmp_path / "saved")
    report = import_photos(tmp_path / "pool", str(tmp_path / "saved"), ImportOptions(class_name="zebra"))
    assert report.added == 1
    assert [(one.item, one.reason) for one in report.rejected] == [
        ("all, row 1", "not an image"),
        ("all, row 2", "truncated"),
        ("all, row 3", "the source has no data for it"),
    ]


def test_what_cannot_be_loaded_is_one_line(tmp_path):
    (tmp_path / "nothing").mkdir()
    with pytest.raises(CounterGroundError, match="Cannot load the data set") as error:
        import_photos(tmp_path / "pool", f"hf:{tmp_path / 'nothing'}")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "pool").exists()


def test_without_the_package_the_error_says_what_to_install(tmp_path, files, monkeypatch):
    data_set(files).save_to_disk(tmp_path / "saved")
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(UsageError, match=r"pip install 'counterground\[datasets\]'"):
        import_photos(tmp_path / "pool", str(tmp_path / "saved"))


@pytest.mark.slow
def test_offline_reads_what_the_hub_gave_earlier(tmp_path, files):
    """In processes of their own: the library reads its settings once."""
    (tmp_path / "birds/data").mkdir(parents=True)
    data_set(files).to_parquet(tmp_path / "birds/data/test-00000-of-00001.parquet")

    def import_into(pool, url, *options):
        environment = {**os.environ, "HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "home"), "NO_PROXY": "*"}
        words = [*options, "data", "import", "hf:some/birds:test", "-o", str(tmp_path / pool), "--quiet"]
        return subprocess.run(
            [sys.executable, "-m", "counterground", *words],
            capture_output=True, text=True, env=environment, check=False,
        )  # fmt: skip

    with Hub(tmp_path / "birds") as hub:
        refused = import_into("none", hub.url, "--offline")
        assert hub.asked == []
        online = import_into("online", hub.url)
        asked = len(hub.asked)
        offline = import_into("offline", hub.url, "--offline")
        assert len(hub.asked) == asked > 0
    assert refused.returncode == 1
    assert refused.stderr.count("\n") == 1
    assert "some/birds" in refused.stderr
    assert (online.returncode, offline.returncode) == (0, 0), online.stderr + offline.stderr
    columns = ("photo_id", "class_name")
    expected = photos_of(tmp_path / "online")[0].select(columns)
    assert len(expected) == len(files)
    assert photos_of(tmp_path / "offline")[0].select(columns).equals(expected)


def test_observers_are_clusters_and_addresses_pages(tmp_path, files):
    told = {
        "observer": ["ann", "ann", None] * 2,
        "url": [f"https://example.org/{n}.jpg?k=1" for n in range(6)],
    }
    data_set(files, **told).save_to_disk(tmp_path / "saved")
    report = import_photos(tmp_path / "pool", tmp_path / "saved")
    assert report.notes[0].startswith("Photos of one observer (or else one observation) share a cluster")
    photos = photos_of(tmp_path / "pool")[0].sort("url")
    assert photos["cluster"].to_list() == ["observer:ann", "observer:ann", None] * 2
    assert photos["source"][0] == "https://example.org/0.jpg"
    again = import_photos(tmp_path / "pool", tmp_path / "saved")
    assert (again.present, again.notes) == (6, report.notes)
