"""A folder of masks: it resumes, two processes do it no harm, and it is never replaced unasked."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from masked_photos import ellipse, make_benchmark

from counterground.errors import CounterGroundError, UsageError
from counterground.masks import make_masks, read_masks, with_masks

# A description of an earlier version is written by hand.
from counterground.photos import read_benchmark, write_benchmark
from counterground.settings import MaskSettings

BOXES = {"box_x": [15.0] * 3, "box_y": [8.0] * 3, "box_width": [30.0] * 3, "box_height": [24.0] * 3}


AGAIN = MaskSettings(overwrite=True)


@pytest.fixture
def benchmark(tmp_path):
    masks = {f"{name}.png": ellipse() for name in "abc"}
    return make_benchmark(tmp_path / "photos", masks, **BOXES)


def test_an_interrupted_run_continues_and_ends_in_the_same_bytes(benchmark, tmp_path, monkeypatch):
    from counterground.masks import _sources  # it is interrupted

    whole = make_masks(benchmark, "grabcut", tmp_path / "whole")
    cut, calls = _sources._cut, []

    def dies(*given):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return cut(*given)

    monkeypatch.setattr(_sources, "_cut", dies)
    with pytest.raises(KeyboardInterrupt):
        make_masks(benchmark, "grabcut", tmp_path / "resumed")
    with pytest.raises(CounterGroundError, match="was interrupted: the same command continues"):
        read_masks(tmp_path / "resumed")
    before = len(calls)
    resumed = make_masks(benchmark, "grabcut", tmp_path / "resumed")
    assert len(calls) - before < 3
    assert resumed.table.equals(whole.table)
    for file in (tmp_path / "whole/files").iterdir():
        assert file.read_bytes() == (tmp_path / "resumed/files" / file.name).read_bytes()


def test_two_processes_at_once_give_one_whole_set(benchmark, tmp_path):
    folder = write_benchmark(benchmark, tmp_path / "written")
    program = (
        "import sys; from counterground.masks import make_masks;"
        "from counterground.photos import read_benchmark;"
        "make_masks(read_benchmark(sys.argv[1]), 'grabcut', sys.argv[2])"
    )
    given = [sys.executable, "-c", program, str(folder), str(tmp_path / "masks")]
    both = [subprocess.Popen(given, stderr=subprocess.PIPE) for _ in range(2)]
    assert [(process.wait(), process.stderr.read()) for process in both] == [(0, b"")] * 2
    assert read_masks(tmp_path / "masks").usable == 3
    assert not list((tmp_path / "masks").rglob(".*"))


def test_other_masks_are_replaced_only_on_request(benchmark, tmp_path):
    make_masks(benchmark, "boxes", tmp_path / "masks")
    with pytest.raises(UsageError, match=r"holds other masks.*--overwrite"):
        make_masks(benchmark, "grabcut", tmp_path / "masks")
    made = make_masks(benchmark, "grabcut", tmp_path / "masks", settings=AGAIN)
    assert set(made.table["origin"]) == {"grabcut"}


def test_a_folder_of_other_files_is_refused(benchmark, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/thesis.txt").write_text("mine")
    with pytest.raises(UsageError, match="holds files that are not masks"):
        make_masks(benchmark, "boxes", tmp_path / "full", settings=AGAIN)
    with pytest.raises(UsageError, match="is not a folder of masks"):
        read_masks(tmp_path / "full")


def test_masks_are_given_to_a_part_of_the_photos_too(benchmark, tmp_path):
    make_masks(benchmark, "boxes", tmp_path / "masks")
    part = make_benchmark(tmp_path / "photos", {"a.png": ellipse()})
    masked = with_masks(part, tmp_path / "masks")
    assert masked.photos["mask"].to_list() == ["files/a.png.png"]
    with pytest.raises(UsageError, match="holds masks that are already made"):
        with_masks(part, tmp_path / "masks", settings=MaskSettings(several="largest"))


def test_a_photo_that_is_not_the_one_of_the_manifest_gets_no_mask(benchmark, tmp_path):
    own = (tmp_path / "photos/b.png").read_bytes()
    (tmp_path / "photos/b.png").write_bytes((tmp_path / "photos/a.png").read_bytes())
    made = make_masks(benchmark, "grabcut", tmp_path / "masks")
    assert made.reasons() == {"photo changed": 1}
    assert not (tmp_path / "masks/files/b.png.png").exists()
    (tmp_path / "photos/b.png").write_bytes(own)
    assert make_masks(benchmark, "grabcut", tmp_path / "masks").usable == 3


def test_without_a_folder_masks_are_kept_in_the_cache(benchmark, cache):
    first = with_masks(benchmark, "boxes")
    assert first.masks_root.is_relative_to(cache)
    assert with_masks(benchmark, "boxes").masks_root == first.masks_root


def test_corrected_annotations_are_read_again(benchmark, tmp_path):
    """Nobody chose the folder in the cache, so nobody can be asked to choose another one."""
    file = tmp_path / "annotations.json"
    square = [15, 8, 45, 8, 45, 32, 15, 32]

    def annotate(*names):
        images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
        shown = [
            {"id": number, "image_id": number, "category_id": 1, "segmentation": [square]}
            for number in range(len(names))
        ]
        categories = [{"id": 1, "name": "ice bear"}]
        file.write_text(json.dumps({"images": images, "annotations": shown, "categories": categories}))
        return with_masks(benchmark, file)

    assert annotate("a.png").photos["mask"].count() == 1
    assert annotate("a.png", "b.png").photos["mask"].count() == 2


def test_masks_that_were_not_all_judged_by_new_limits_are_not_read(benchmark, tmp_path, monkeypatch):
    make_masks(benchmark, "boxes", tmp_path / "masks")
    monkeypatch.setattr("counterground.masks._make.measure", _stop)
    stricter = MaskSettings(max_area=0.2)
    with pytest.raises(KeyboardInterrupt):
        make_masks(benchmark, "boxes", tmp_path / "masks", settings=stricter)
    with pytest.raises(CounterGroundError, match="was interrupted"):
        read_masks(tmp_path / "masks")


def _stop(*_):
    raise KeyboardInterrupt


def test_a_benchmark_with_masks_elsewhere_is_written_and_read(benchmark, tmp_path):
    masked = make_masks(benchmark, "boxes", tmp_path / "masks").apply(benchmark)
    again = read_benchmark(write_benchmark(masked, tmp_path / "written"))
    assert again.version == benchmark.version
    assert again.mask_path(again.photos["mask"][0]).is_file()


def test_a_damaged_table_is_one_line(benchmark, tmp_path):
    make_masks(benchmark, "boxes", tmp_path / "masks")
    (tmp_path / "masks/masks.csv").write_text("path,nonsense\nx,y\n")
    with pytest.raises(CounterGroundError, match=r"cannot be read .*: make them again"):
        read_masks(tmp_path / "masks")
