"""Data sets of Hugging Face's library: folders it wrote itself, and a hub on this machine."""

import hashlib
import json
import os
import subprocess
import sys

import datasets
import pyarrow.parquet as pq
import pytest
from dataset_hub import COMMIT, serve_data_set
from photo_server import photo_bytes

from counterground.errors import CounterGroundError, UsageError
from counterground.photos import read_benchmark

IDS = [hashlib.sha256(photo_bytes(number)).hexdigest() for number in range(6)]
CHILD = """
import json, os, sys
from counterground.errors import CounterGroundError
from counterground.photos import read_benchmark

for spec in json.loads(sys.argv[1]):
    try:
        found = read_benchmark(spec)
        ids = sorted(found.photos["photo_id"])
        print(json.dumps([found.name, found.version, ids, found.notes]), flush=True)
    except CounterGroundError as error:
        print(json.dumps(str(error)), flush=True)
"""


@pytest.fixture(autouse=True)
def quiet():
    datasets.disable_progress_bars()
    yield
    datasets.enable_progress_bars()


def birds(first=0, count=3, **changes):
    features = {
        "img": datasets.Image(),
        "species": datasets.ClassLabel(names=["tench", "hen"]),
        "place": datasets.ClassLabel(names=["grass", "sea"]),
    }
    columns = {
        "img": [{"bytes": photo_bytes(first + n), "path": f"{n}.jpg"} for n in range(count)],
        "species": [n % 2 for n in range(count)],
        "place": [1] * count,
    }
    return datasets.Dataset.from_dict(columns | changes, features=datasets.Features(features))


@pytest.fixture
def folder(tmp_path):
    data = tmp_path / "birds" / "data"
    data.mkdir(parents=True)
    birds().to_parquet(data / "test-00000-of-00001.parquet")
    birds(3, 2).to_parquet(data / "train-00000-of-00001.parquet")
    return tmp_path / "birds"


def test_a_split_is_read_byte_by_byte_with_the_columns_that_are_named(folder):
    benchmark = read_benchmark(f"hf:{folder}?split=test&image=img&label=species&background=place")
    assert sorted(benchmark.photos["photo_id"]) == sorted(IDS[:3])
    assert benchmark.photos["class_name"].to_list() == ["tench", "hen", "tench"]
    assert benchmark.photos["background"].unique().to_list() == ["sea"]
    assert (benchmark.name, benchmark.notes) == ("birds", ())


def test_a_column_that_is_named_is_used_though_another_has_our_name(tmp_path):
    """Whichever comes first."""
    own = {"background": ["sky", "tree", "sky"], "label": ["a", "b", "a"], "group": ["common"] * 3}
    (tmp_path / "birds").mkdir()
    made = datasets.concatenate_datasets([birds(), datasets.Dataset.from_dict(own)], axis=1)
    made.to_parquet(tmp_path / "birds" / "test.parquet")
    named = f"hf:{tmp_path}/birds?label=species"
    found = read_benchmark(f"{named}&background=place")
    assert found.photos.select("background", "group").unique().rows() == [("sea", "common")]
    assert read_benchmark(f"{named}&background=label").photos["background"].to_list() == ["a", "b", "a"]


@pytest.mark.parametrize(("name", "setting"), [("seg", "&image=img&mask=seg"), ("mask", "")])
def test_a_column_of_masks_gives_masks(tmp_path, name, setting):
    cut = datasets.Dataset.from_dict(
        {name: [{"bytes": photo_bytes(9), "path": None}] * 2 + [None]},
        features=datasets.Features({name: datasets.Image()}),
    )
    (tmp_path / "birds").mkdir()
    datasets.concatenate_datasets([birds(), cut], axis=1).to_parquet(tmp_path / "birds" / "test.parquet")
    found = read_benchmark(f"hf:{tmp_path}/birds?label=species{setting}")
    assert sorted(found.photos["photo_id"]) == sorted(IDS[:3])
    masks = found.photos["mask"].to_list()
    assert [mask and found.mask_path(mask).read_bytes() for mask in masks] == [photo_bytes(9)] * 2 + [None]


@pytest.mark.parametrize("form", ["hf:", ""])
def test_an_unknown_label_is_no_background(tmp_path, form):
    """A negative number of a ``ClassLabel``, in what the library reads and in shards of it."""
    (tmp_path / "birds").mkdir()
    made = birds(place=[0, -1, None]).rename_columns({"place": "background", "species": "label"})
    made.add_column("cluster", ["", " ", "ann "]).to_parquet(tmp_path / "birds" / "test.parquet")
    settings = "?label=label" if form else ""
    photos = read_benchmark(f"{form}{tmp_path}/birds{settings}").photos
    assert photos.select("class_name", "background", "cluster").rows() == [
        ("tench", "grass", None),
        ("hen", None, None),
        ("tench", None, "ann"),
    ]


def test_it_is_written_into_the_cache_once(folder, cache, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", str(cache / "library"))
    spec = f"hf:{folder}?split=train&label=species"
    first = read_benchmark(spec)
    assert first.root.is_relative_to(cache / "unpacked")
    assert not list((cache / "library").rglob("*.arrow")), "a stream leaves no copy in the library's cache"
    monkeypatch.setattr(datasets, "load_dataset", None)
    assert read_benchmark(spec).version == first.version


def test_a_folder_that_changed_is_read_again(folder):
    spec = f"hf:{folder}?split=train&label=species"
    first = read_benchmark(spec)
    birds(1, 2).to_parquet(folder / "data" / "train-00000-of-00001.parquet")
    assert read_benchmark(spec).version != first.version


def test_classes_of_rows_that_are_not_read_are_noted(folder):
    notes = read_benchmark(f"hf:{folder}?split=test&label=species&rows=1").notes
    assert notes[1] == (
        "No photo of 1 of the 2 classes that are named by number, so the label space 'benchmark' lacks them: "
        "hen."
    )


def test_folders_of_images_and_what_save_to_disk_wrote(tmp_path):
    for number, name in enumerate(("hen", "tench")):
        (tmp_path / "images" / "test" / name).mkdir(parents=True)
        (tmp_path / "images" / "test" / name / "a.jpg").write_bytes(photo_bytes(number))
    benchmark = read_benchmark(f"hf:{tmp_path}/images")
    assert sorted(benchmark.photos["photo_id"]) == sorted(IDS[:2])
    birds().save_to_disk(tmp_path / "saved")
    saved = read_benchmark(f"{tmp_path}/saved?label=species")
    assert sorted(saved.photos["photo_id"]) == sorted(IDS[:3])


def test_offline_reads_what_is_on_this_machine(folder, monkeypatch):
    monkeypatch.setenv("COUNTERGROUND_OFFLINE", "1")
    assert len(read_benchmark(f"hf:{folder}?split=test&label=species")) == 3
    with pytest.raises(CounterGroundError, match="some/birds needs the network, and --offline"):
        read_benchmark("hf:some/birds?split=test&label=species")


def as_given(folder, made):
    """Write a data set without what its library does first: open each image that it does not hold."""
    folder.mkdir()
    pq.write_table(made.data.table, folder / "test.parquet")
    return folder


@pytest.mark.parametrize(
    "path",
    [
        "photo.jpg",
        "file:///etc/hostname",
        "zip://a.jpg::s3://bucket/a.zip",
        "/etc/hostname::hf://datasets/some/birds/a.zip",
        "ftp://photos.example/a.jpg::/a.zip",
    ],
)
def test_a_photo_that_is_elsewhere_is_named_by_its_row(tmp_path, path):
    images = [{"bytes": photo_bytes(0), "path": "0.jpg"}, {"bytes": None, "path": path}]
    folder = as_given(tmp_path / "birds", birds(count=2, img=images))
    with pytest.raises(
        CounterGroundError, match=r"birds, row 2 has no photo in the data set, only the path '"
    ):
        read_benchmark(f"hf:{folder}?label=species")


def test_a_row_without_a_photo_is_named(folder):
    made = birds(img=[{"bytes": photo_bytes(0), "path": "0.jpg"}, None, None])
    made.to_parquet(folder / "data" / "test-00000-of-00001.parquet")
    with pytest.raises(CounterGroundError, match="birds, row 2 has no photo"):
        read_benchmark(f"hf:{folder}?split=test&label=species")


def test_columns_can_be_mapped_and_rows_without_a_class_left_out(folder):
    birds(species=[0, -1, 1]).to_parquet(folder / "data" / "test-00000-of-00001.parquet")
    found = read_benchmark(f"hf:{folder}?split=test", columns={"class_name": "species"}, skip_bad_rows=True)
    assert len(found) == 2
    assert any(note.startswith("1 of 3 rows left out") for note in found.notes)
    with pytest.raises(CounterGroundError, match="1 of 3 rows cannot be used"):
        read_benchmark(f"hf:{folder}?split=test&label=species")


def test_numbers_get_the_names_of_a_file(folder, tmp_path):
    (tmp_path / "names.txt").write_text("a fish\na bird\n")
    benchmark = read_benchmark(f"hf:{folder}?split=test&label=species&names={tmp_path}/names.txt")
    assert benchmark.classes.names == ("a bird", "a fish")


def test_shards_that_need_a_choice_say_how_to_make_it(folder):
    (folder / "data" / "train-00000-of-00001.parquet").unlink()
    with pytest.raises(
        CounterGroundError, match=r"as in 'hf:DATA\?label=COLUMN'; candidates are species, place"
    ):
        read_benchmark(folder)
    with pytest.raises(UsageError, match=r"takes no settings; .* 'hf:.*birds\?label=species'\."):
        read_benchmark(f"{folder}?label=species")
    assert len(read_benchmark(f"hf:{folder}?label=species")) == 3


@pytest.fixture
def ask(tmp_path, cache):
    """Function: what reading specifications gives in a process whose hub is at a URL."""

    def run(url, *specs):
        environment = {
            **os.environ,
            "HF_ENDPOINT": url,
            "HF_HOME": str(tmp_path / "home"),
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "NO_PROXY": "*",
        }
        done = subprocess.run(
            [sys.executable, "-c", CHILD, json.dumps(specs)],
            capture_output=True,
            text=True,
            env=environment,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


@pytest.mark.slow
def test_a_data_set_of_the_hub_is_streamed_once_and_found_again_without_it(folder, ask):
    spec = "hf:some/birds?split=test&label=species"
    with serve_data_set(folder) as hub:
        first, again, other, nobody = ask(
            hub.url, spec, spec, f"{spec}&revision={COMMIT}", "hf:some/nobody?split=test"
        )
        assert any(path.endswith("test-00000-of-00001.parquet") for path in hub.asked)
    assert first[0] == "some/birds"
    assert (first[2], first[3]) == (sorted(IDS[:3]), [])
    assert again == first
    assert other[1:] == first[1:]
    assert "Cannot load the data set 'some/nobody'" in nobody
    later, unknown = ask("http://127.0.0.1:9", spec, "hf:some/birds?split=train&label=species")
    assert later[1] == first[1]
    assert later[3][0] == (
        "The hub could not be asked for some/birds: what was read earlier, of commit "
        f"{COMMIT[:16]}, was taken."
    )
    assert "Cannot load the data set 'some/birds'" in unknown


def test_a_name_without_the_library_says_what_to_install(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(
        UsageError, match=r"datasets is not installed: run `pip install 'counterground\[datasets\]'`"
    ):
        read_benchmark(f"hf:{folder}?split=test&label=species")
