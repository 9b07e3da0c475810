from __future__ import annotations

import hashlib
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from counterground.benchmarks import (
    StampsSettings,
    benchmark_folder,
    build_stamps,
    get_benchmark,
    list_benchmarks,
    load_backgrounds,
    load_cutouts,
    open_benchmark,
)
from counterground.benchmarks.stamps import _photographs, _stamps  # the map of photographs; smaller settings

# Where cut-outs go is tested on thousands of draws, without painting them.
from counterground.benchmarks.stamps._stamps import draw_placements
from counterground.errors import CounterGroundError, UsageError
from counterground.photos import find_imagenet_index, imagenet_names, photo_id, read_benchmark

FEW = StampsSettings(classes=("lion", "zebra", "ostrich"), per_label=4)
ONE = StampsSettings(classes=("zebra",), per_label=4)


@pytest.fixture(scope="module")
def few(tmp_path_factory, shared_cache):
    """Three classes of the real photographs, fetched through apt unless the user's cache has them."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
        return build_stamps(FEW, out=tmp_path_factory.mktemp("stamps") / "few")


@pytest.fixture
def real_packages(shared_cache, monkeypatch) -> None:
    monkeypatch.setenv("COUNTERGROUND_CACHE", str(shared_cache))


def _hashes(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.slow
def test_same_seed_same_bytes(few, tmp_path, real_packages):
    again = build_stamps(FEW, out=tmp_path / "again")
    assert again.version == few.version
    assert _hashes(again.root) == _hashes(few.root)


def test_manifest_describes_what_lies_there(few):
    photos = few.photos
    assert len(photos) == 4 * 6 * 4  # the lion has two cut-outs
    assert few.classes.names == ("ostrich", "lion", "zebra")
    assert few.classes.imagenet == (9, 291, 340)
    assert set(photos["group"]) == {None}
    assert (
        photos.select("cluster", "mask", "licence", "source", "background").null_count().sum_horizontal()[0]
        == 0
    )
    for row in photos.iter_rows(named=True):
        assert photo_id(few.photo_path(row["path"])) == row["photo_id"]
        folder = Path(row["path"]).parts[1]
        assert few.classes.imagenet[row["class_index"]] == find_imagenet_index(folder)
        assert Path(row["path"]).parts[2] == row["background"]
    assert photos["photo_id"].n_unique() == len(photos)
    assert read_benchmark(few.root).version == few.version


def test_the_notes_hold_for_any_of_the_photos(tiny_debs, tmp_path):
    built = build_stamps(FEW, packages=tiny_debs, out=tmp_path / "few")
    assert " ".join(built.notes) == (
        "Results are conditional on the cut-outs: version 2 of stamps, which these photos come from, was "
        "made from 4 cut-outs of 3 classes; the cluster of the intervals is the background "
        "photograph. Photos are composites, made at 256 px with seed 0: use these drops to compare models, "
        "not to predict drops on real photos."
    )
    lions = build_stamps(replace(ONE, classes=("lion",)), packages=tiny_debs, out=tmp_path / "lions")
    assert "2 cut-outs of 1 class; the cluster" in lions.notes[0]


def test_every_cutout_meets_four_photographs_of_each_label(few):
    per = few.photos.group_by("source", "background").len()
    assert set(per["len"]) == {1}
    cutout = few.photos["source"].str.split(" on ").list.first()
    counts = few.photos.with_columns(cutout=cutout).group_by("cutout", "background").n_unique()
    assert set(counts["cluster"]) == {4}


def test_masks_are_the_objects(few):
    for row in few.photos.head(24).iter_rows(named=True):
        photo = Image.open(few.photo_path(row["path"]))
        mask = Image.open(few.root / row["mask"])
        assert photo.size == mask.size == (256, 256)
        assert (photo.mode, mask.mode) == ("RGB", "L")
        rows, columns = np.nonzero(np.asarray(mask) > 8)
        longer = max(np.ptp(rows), np.ptp(columns)) + 1
        assert 0.49 <= longer / 256 <= 0.81


def test_a_photo_does_not_depend_on_what_else_is_built(few, tmp_path, real_packages):
    alone = build_stamps(replace(ONE, labels=("water", "sky")), out=tmp_path / "alone")
    ids = dict(few.photos.select("path", "photo_id").iter_rows())
    assert len(alone.photos) == 8
    assert all(ids[path] == content for path, content in alone.photos.select("path", "photo_id").iter_rows())


def test_another_seed_gives_other_photos(few, tmp_path, real_packages):
    other = build_stamps(replace(ONE, seed=1), out=tmp_path / "other")
    assert not set(other.photos["photo_id"]) & set(few.photos["photo_id"])


def test_the_whole_benchmark_has_3672_placements_whose_clusters_span_labels(real_packages):
    cutouts, backgrounds = load_cutouts(), load_backgrounds()
    whole = StampsSettings()
    placements = draw_placements(cutouts, backgrounds, per_label=whole.per_label, seed=whole.seed)
    assert (len(cutouts), len({c.imagenet_index for c in cutouts}), len(placements)) == (51, 45, 3672)
    assert all(c.class_name == imagenet_names("openai")[c.imagenet_index] for c in cutouts)
    labels_of: dict[str, set[str]] = {}
    for placement in placements:
        labels_of.setdefault(placement.background.cluster, set()).add(placement.background.label)
    assert len(labels_of) == 95
    assert _stamps_info().n_photos == len(placements)
    shared = {cluster.rsplit("/", 1)[1]: labels for cluster, labels in labels_of.items() if len(labels) > 1}
    assert shared == {"sheep.jpg": {"sky", "grass"}, "lake-sherburne.jpg": {"rock", "water"}}


def test_the_reserved_benchmark_has_no_photograph_that_a_shipped_model_was_trained_on(real_packages):
    backgrounds = load_backgrounds()
    trained_on = {background.cluster for background in backgrounds if not background.reserved}
    reserved = load_backgrounds(reserved=True)
    assert not trained_on & {background.cluster for background in reserved}
    assert len({background.cluster for background in reserved}) == 49 == 95 - len(trained_on)
    (info,) = (info for info in list_benchmarks() if info.name == "stamps-reserved")
    assert info.n_photos == 51 * 6 * min(Counter(background.label for background in reserved).values())


def test_version_and_photographs_are_in_the_provenance(tiny_debs, tmp_path):
    built = build_stamps(replace(ONE, reserved=True), packages=tiny_debs, out=tmp_path / "one")
    provenance = json.loads((built.root / "provenance.json").read_text())
    assert (built.name, provenance["settings"]["version"]) == ("stamps-reserved", 2)
    assert {"gcompris-qt-data", "wf-shell"} - {package["name"] for package in provenance["packages"]} == {
        "wf-shell"  # whose only photograph was trained on
    }


def test_crops_are_squares_inside_the_labelled_rectangle(real_packages):
    for background in load_backgrounds():
        side = min(background.region.size)
        for position in (0.0, 0.37, 1.0):
            assert background.crop(position).size == (side, side)
        assert background.image.tobytes() == background.crop(0.5).tobytes()
        assert side >= 200


def test_cutouts_are_trimmed_and_solid(real_packages):
    for cutout in load_cutouts():
        alpha = np.asarray(cutout.image.getchannel("A"))
        assert all(edge.any() for edge in (alpha[0], alpha[-1], alpha[:, 0], alpha[:, -1]))
        assert np.median(alpha[alpha > 0]) >= 250


class TestNames:
    @pytest.fixture(autouse=True)
    def one_class(self, monkeypatch):
        # The names stand for all 45 classes; one is enough to see how names and folders play together.
        monkeypatch.setattr(_stamps, "StampsSettings", lambda **_: ONE)

    def test_built_on_first_use_and_then_without_packages(self, tiny_debs, cache):
        assert not _stamps_info().is_ready()
        built = get_benchmark("stamps", packages=tiny_debs)
        assert _stamps_info().is_ready()
        assert open_benchmark(benchmark_folder("stamps")).version == built.version
        shutil.rmtree(cache / "packages")
        assert open_benchmark("stamps").version == built.version

    def test_unknown_names_and_misplaced_options_are_usage_errors(self, tmp_path):
        for call, message in [
            (lambda: open_benchmark("stmaps"), "Did you mean 'stamps'"),
            (lambda: get_benchmark("stampss"), "Did you mean 'stamps'"),
            (lambda: benchmark_folder("stampss"), "Did you mean 'stamps'"),
            (lambda: get_benchmark("stamps", archive=tmp_path), "not --from"),
            (lambda: get_benchmark("counteranimal", packages=tmp_path), "not --packages"),
            (lambda: build_stamps(StampsSettings(labels=("gras",))), "Did you mean 'grass'"),
            (lambda: replace(ONE, per_label=0), "per_label must be"),
        ]:
            with pytest.raises(UsageError, match=message):
                call()

    def test_unknown_class_and_too_few_photographs(self, tiny_debs, cache):
        with pytest.raises(UsageError, match="Did you mean 'lion'"):
            build_stamps(replace(ONE, classes=("lionn",)), packages=tiny_debs)
        with pytest.raises(UsageError, match="13 photographs of 'water', and there are 12"):
            build_stamps(replace(ONE, per_label=13), packages=tiny_debs)
        assert not list((cache / "benchmarks").iterdir())


def _stamps_info():
    return next(info for info in list_benchmarks() if info.name == "stamps")


class TestFolder:
    def test_another_photograph_under_the_name_is_found_out(self, tiny_debs, make_deb, tmp_path):
        debs = tmp_path / "debs"
        shutil.copytree(tiny_debs, debs)
        deb = next(debs.glob("budgie-backgrounds_*.deb"))
        rows = [row for row in _photographs.read_map("backgrounds") if row["package"] == "budgie-backgrounds"]
        small = io.BytesIO()
        Image.new("RGB", (64, 64)).save(small, "JPEG")
        paths = [*(row["source"] for row in rows), "/usr/share/doc/budgie-backgrounds/copyright"]
        make_deb(deb, [(path, small.getvalue()) for path in dict.fromkeys(paths)])
        with pytest.raises(CounterGroundError, match="64 x 64, not the photograph that was labelled"):
            load_backgrounds(debs)

    def test_something_else_there_is_left_alone(self, tiny_debs, tmp_path):
        (tmp_path / "mine").mkdir()
        (tmp_path / "mine" / "thesis.txt").write_text("dear")
        with pytest.raises(CounterGroundError, match="holds other files"):
            build_stamps(FEW, packages=tiny_debs, out=tmp_path / "mine")
        assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]

    def test_other_settings_and_packages_are_not_passed_off(self, tiny_debs, tmp_path):
        out = tmp_path / "one"
        built = build_stamps(ONE, packages=tiny_debs, out=out)
        assert open_benchmark(out).version == built.version
        newer = tmp_path / "newer"
        shutil.copytree(tiny_debs, newer)
        deb = next(newer.glob("budgie-backgrounds_*.deb"))
        deb.rename(newer / "budgie-backgrounds_2.0_all.deb")
        for settings, packages in ((replace(ONE, seed=2), tiny_debs), (ONE, newer)):
            with pytest.raises(CounterGroundError, match=re.escape(str(out))):
                build_stamps(settings, packages=packages, out=out)
        assert build_stamps(ONE, packages=tiny_debs, out=out).version == built.version
        (out / "provenance.json").write_text("{")
        with pytest.raises(CounterGroundError, match="delete it to build it again"):
            build_stamps(ONE, packages=tiny_debs, out=out)


_BUILD = """
import sys
from pathlib import Path
from counterground.benchmarks import StampsSettings, build_stamps
settings = StampsSettings(classes=("lion", "zebra"), per_label=4)
b = build_stamps(settings, packages=Path(sys.argv[1]), out=Path(sys.argv[2]))
print(b.version)
"""


def _start(debs: Path, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", _BUILD, str(debs), str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_killed_build_leaves_no_half_benchmark(tiny_debs, tmp_path):
    out = tmp_path / "out" / "stamps"
    process = _start(tiny_debs, out)
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not list(tmp_path.glob("out/.stamps.*.draft/photos/*/*/*.jpg")):
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert list(tmp_path.glob("out/.stamps.*.draft")), "killed before the first photo or after the last"
    assert not out.exists()
    assert len(build_stamps(replace(ONE, classes=("lion", "zebra")), packages=tiny_debs, out=out)) == 72


def test_two_processes_at_once_end_in_the_same_benchmark(tiny_debs, tmp_path):
    out = tmp_path / "out" / "stamps"
    processes = [_start(tiny_debs, out) for _ in range(2)]
    answers = [process.communicate(timeout=120) for process in processes]
    assert [process.returncode for process in processes] == [0, 0], answers
    assert answers[0][0] == answers[1][0] == f"{read_benchmark(out).version}\n"
    assert [path.name for path in out.parent.iterdir()] == ["stamps"]
