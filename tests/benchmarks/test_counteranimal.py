from __future__ import annotations

import io
import os
import re
import zipfile
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from PIL import Image
from tars import write_tar

# Where an unpacking is cut off, and how often a download is tried, are not for users to set.
from counterground.benchmarks import (
    benchmark_folder,
    get_benchmark,
    list_benchmarks,
    open_benchmark,
)
from counterground.benchmarks.layouts import LAYOUTS
from counterground.benchmarks.layouts._counteranimal import compare_with_paper
from counterground.errors import CounterGroundError
from counterground.photos import imagenet_names
from counterground.published import load_table


def _pixel(grey: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("RGB", (1, 1), (grey, grey, grey)).save(buffer, "JPEG")
    return buffer.getvalue()


LAYOUT = next(info for info in LAYOUTS if info.name == "counteranimal").get.__self__


def download(url: str, *, show_progress: bool = False):
    return replace(LAYOUT, urls=(url,)).get(None, show_progress)


PIXEL, DARK_PIXEL = _pixel(90), _pixel(30)
WORDNET = imagenet_names("wordnet")


def _paper() -> list[dict]:
    sizes = load_table("group_sizes").drop("note")
    return list(load_table("classes").join(sizes, left_on="id", right_on="class_id").iter_rows(named=True))


def _release(path: Path, rows: list[dict], *, sizes: bool = False, padding: int = 0) -> Path:
    """An archive in the authors' layout: one photo per group, or as many as the paper has."""
    with zipfile.ZipFile(path, "w") as archive:
        names = "".join(f"{index}\t{name}\n" for index, name in enumerate(WORDNET))
        archive.writestr("LAION-final/imagenet_names.txt", names)
        archive.writestr("LAION-final/padding", os.urandom(padding))
        for row in rows:
            index = row["imagenet_index"]
            for group in ("common", "counter"):
                folder = f"LAION-final/{index} {WORDNET[index]}/{group}-{row[f'{group}_background']}"
                for number in range(row[f"n_{group}"] if sizes else 1):
                    name = f"{folder}/{number}.jpg"
                    # What follows the picture makes no two files equal.
                    archive.writestr(name, (PIXEL if group == "common" else DARK_PIXEL) + name.encode())
    return path


@pytest.mark.slow
def test_the_release_as_printed_differs_in_nothing_but_says_which_number_class_23_has(tmp_path):
    benchmark = get_benchmark("counteranimal", archive=_release(tmp_path / "a.zip", _paper(), sizes=True))
    assert (benchmark.name, len(benchmark)) == ("counteranimal", 13100)
    assert dict(benchmark.photos.group_by("group").len().iter_rows()) == {"common": 7174, "counter": 5926}
    assert len(benchmark.classes) == 45
    (note,) = benchmark.notes
    assert re.search("prairie chicken.*common: 25 photos; figure 3 .* prints 25, .* imply 259", note)
    again = open_benchmark(benchmark_folder("counteranimal"))
    assert (again.version, again.notes) == (benchmark.version, benchmark.notes)


def _manifest(rows: list[dict]) -> tuple[pl.DataFrame, dict[str, int]]:
    frames = [
        pl.DataFrame(
            {
                "class_name": [row["object_label"]] * row[f"n_{group}"],
                "background": [row[f"{group}_background"]] * row[f"n_{group}"],
                "group": [group] * row[f"n_{group}"],
            }
        )
        for row in rows
        for group in ("common", "counter")
    ]
    return pl.concat(frames), {row["object_label"]: row["imagenet_index"] for row in rows}


def test_the_number_implied_for_class_23_is_accepted_and_said():
    rows = _paper()
    rows[22] = rows[22] | {"n_common": 259}
    (line,) = compare_with_paper(*_manifest(rows))
    assert "259 photos; figure 3 of the paper prints 25, its accuracies imply 259" in line


def test_every_kind_of_difference_is_said_and_nothing_refused():
    rows = _paper()
    rows[0] = rows[0] | {"n_common": 1, "counter_background": "snow"}
    rows[1] = rows[1] | {"imagenet_index": 999, "object_label": "toilet tissue"}
    text = "\n".join(compare_with_paper(*_manifest(rows)))
    assert "ostrich, struthio camelus, common: 1 photo; figure 3 of the paper prints 206, " in text
    assert "ostrich, struthio camelus, counter: background snow, the paper has water." in text
    assert "brambling, Fringilla montifringilla: the paper has this class, the archive does not." in text
    assert "toilet tissue: the archive has this class, the paper does not." in text
    assert len(text.splitlines()) == 5


def test_by_name_from_an_archive_and_then_without_it(tmp_path):
    with pytest.raises(CounterGroundError, match=r"benchmarks get counteranimal.*--from ARCHIVE"):
        open_benchmark("counteranimal")
    archive = _release(tmp_path / "a.zip", _paper())
    assert not _available()
    got = get_benchmark("counteranimal", archive=archive)
    archive.unlink()
    assert _available()
    assert open_benchmark("counteranimal").version == got.version
    assert get_benchmark("counteranimal").version == got.version
    assert got.photos["class_name"].n_unique() == 45
    assert any("1 photo; figure 3 of the paper prints 206" in note for note in got.notes)


def _available() -> bool:
    return next(info for info in list_benchmarks() if info.name == "counteranimal").is_ready()


def test_a_folder_already_unpacked_is_read_where_it_lies(tmp_path, cache):
    with zipfile.ZipFile(_release(tmp_path / "a.zip", _paper())) as archive:
        archive.extractall(tmp_path / "mine" / "CounterAnimal")
    got = get_benchmark("counteranimal", archive=tmp_path / "mine")
    assert got.root == tmp_path / "mine" / "CounterAnimal" / "LAION-final"
    assert not list((cache / "benchmarks" / "counteranimal").glob("unpacked*"))
    assert open_benchmark("counteranimal").version == got.version


def _archive_of_one_class(path: Path, n_common: int) -> Path:
    """A zip or tar of the first class; photos of all such archives have the same names and sizes."""
    row = _paper()[0] | {"n_common": n_common, "n_counter": 1}
    as_zip = _release(path.with_suffix(".zip"), [row], sizes=True)
    if path.suffix == ".tar":
        with zipfile.ZipFile(as_zip) as members:  # another photo under the same name, of the same size
            photos = [(name, members.read(name) + bytes([n_common])) for name in members.namelist()]
        write_tar(path, photos)
    return path


@pytest.mark.parametrize("suffix", [".zip", ".tar"])
def test_a_second_archive_takes_the_place_of_the_first(tmp_path, suffix):
    first = _archive_of_one_class(tmp_path / f"a{suffix}", 3)
    second = _archive_of_one_class(tmp_path / f"b{suffix}", 2)
    old = get_benchmark("counteranimal", archive=first)
    assert len(old) == 4
    new = get_benchmark("counteranimal", archive=second)
    assert dict(new.photos.group_by("group").len().iter_rows()) == {"common": 2, "counter": 1}
    if suffix == ".tar":
        assert not set(new.photos["photo_id"]) & set(old.photos["photo_id"])
    assert open_benchmark("counteranimal").version == new.version
    assert not old.root.exists()
    assert get_benchmark("counteranimal", archive=first).version == old.version


class TestWrongArchives:
    def test_no_class_of_the_paper(self, tmp_path):
        row = _paper()[0] | {"imagenet_index": 999}
        with pytest.raises(CounterGroundError, match="None of the paper's 45 classes"):
            get_benchmark("counteranimal", archive=_release(tmp_path / "a.zip", [row]))
        assert not _available()

    def test_a_broken_archive_leaves_the_benchmark_that_is_there(self, tmp_path, cache):
        good = get_benchmark("counteranimal", archive=_release(tmp_path / "a.zip", _paper()))
        data = bytearray(_release(tmp_path / "b.zip", _paper()).read_bytes())
        data[data.rindex(DARK_PIXEL) + 20] ^= 0xFF
        (tmp_path / "b.zip").write_bytes(data)
        with pytest.raises(CounterGroundError, match="corrupt"):
            get_benchmark("counteranimal", archive=tmp_path / "b.zip")
        assert open_benchmark("counteranimal").version == good.version
        assert len(list((cache / "benchmarks" / "counteranimal").glob("unpacked*"))) == 1


class TestDownload:
    def test_downloads_unpacks_and_does_not_keep_the_archive(self, tmp_path, cache, server):
        server.body = _release(tmp_path / "a.zip", _paper()).read_bytes()
        assert len(download(server.url)) == 90
        assert not list((cache / "downloads").iterdir())

    def test_a_dead_line_is_taken_up_where_it_broke(self, tmp_path, server):
        server.body = _release(tmp_path / "a.zip", _paper(), padding=4_000_000).read_bytes()
        server.cut = len(server.body) // 2
        with pytest.raises(CounterGroundError, match=r"Cannot download .*--from ARCHIVE") as caught:
            download(server.url)
        assert "\n" not in str(caught.value)
        server.cut = None
        assert len(download(server.url)) == 90
        resumed_at = int(re.fullmatch(r"bytes=(\d+)-", server.ranges[-1])[1])
        assert 1_000_000 < resumed_at <= len(server.body) // 2

    def test_a_server_that_cannot_resume_does_not_block_the_way_for_ever(self, tmp_path, server):
        server.body = _release(tmp_path / "a.zip", _paper(), padding=4_000_000).read_bytes()
        server.cut, server.resumes = len(server.body) // 2, False
        for message in ("Cannot download", "next try starts from"):
            with pytest.raises(CounterGroundError, match=message):
                download(server.url)
            server.cut = None
        assert len(download(server.url)) == 90

    def test_a_quota_page_is_not_taken_for_the_archive(self, tmp_path, server):
        server.body, server.kind = b"<!DOCTYPE html><html>Quota exceeded</html>", "text/html"
        for _ in range(2):
            with pytest.raises(CounterGroundError, match=r"sent a page .*counteranimal\.github\.io.*--from"):
                download(server.url)
        server.body, server.kind = _release(tmp_path / "a.zip", _paper()).read_bytes(), "application/zip"
        assert len(download(server.url)) == 90

    def test_a_corrupt_archive_is_fetched_anew_the_next_time(self, tmp_path, server):
        whole = _release(tmp_path / "a.zip", _paper()).read_bytes()
        middle = whole.index(PIXEL) + 20
        server.body = whole[:middle] + bytes([whole[middle] ^ 0xFF]) + whole[middle + 1 :]
        with pytest.raises(CounterGroundError, match="corrupt"):
            download(server.url)
        server.body = whole
        assert len(download(server.url)) == 90
