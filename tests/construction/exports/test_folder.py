"""The folder appears whole or not at all, and nothing but an earlier export is ever replaced."""

from __future__ import annotations

import os
import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest
from drawn_masks import save_masks

from counterground.construction.exports import FORMATS, export
from counterground.construction.settings import ExportSettings
from counterground.errors import CounterGroundError, UsageError
from counterground.photos import read_benchmark, write_benchmark


def beside(out: Path) -> list[str]:
    """What lies beside ``out`` that was not there before the export."""
    return sorted(path.name for path in out.parent.iterdir() if path.name.startswith("."))


@pytest.mark.parametrize("form", FORMATS)
def test_a_changed_or_missing_photo_ends_the_export_and_is_named(grouped, form, tmp_path):
    out = tmp_path / "here" / "out"
    victim = grouped.photo_path(grouped.photos["path"][30])
    data = victim.read_bytes()
    victim.write_bytes(data[:-1] + b"x")
    with pytest.raises(CounterGroundError, match="has changed since the manifest was written") as caught:
        export(grouped, out, [form])
    assert str(victim) in str(caught.value)
    victim.unlink()
    with pytest.raises(CounterGroundError, match="Restore it, or remove") as caught:
        export(grouped, out, [form])
    assert str(victim) in str(caught.value)
    assert list((tmp_path / "here").iterdir()) == []


@pytest.mark.parametrize("form", ["parquet", "webdataset", "huggingface"])
@pytest.mark.parametrize("column", ["path", "mask"])
def test_what_links_out_of_the_folder_is_not_passed_on(masked, form, column, tmp_path):
    link = masked.photo_path(masked.photos[column][0])
    elsewhere = link.rename(tmp_path / "elsewhere")
    link.symlink_to(elsewhere)
    with pytest.raises(CounterGroundError, match=rf"{link} is behind a link that leaves the folder"):
        export(masked, tmp_path / "out", [form])
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("form", ["parquet", "webdataset", "huggingface"])
def test_masks_of_a_folder_of_masks_are_exported(form, tmp_path):
    masks = save_masks(tmp_path)
    photos = read_benchmark(tmp_path / "photos")
    masked = masks.apply(replace(photos, photos=photos.photos.with_columns(licence=pl.lit("cc0"))))
    export(masked, tmp_path / "out", [form])
    found = read_benchmark(tmp_path / "out")
    assert found.photos["mask"].count() == masks.usable == 3
    for path, mask in found.photos.select("path", "mask").drop_nulls().iter_rows():
        assert found.mask_path(mask).read_bytes() == (masks.folder / f"files/{path}.png").read_bytes()


def test_another_export_is_replaced_on_request_whatever_its_format(grouped, flat, tmp_path):
    (tmp_path / "out").mkdir()
    for formats in (FORMATS, ["webdataset"], ["parquet"], ["huggingface", "counteranimal"], ["croissant"]):
        export(grouped, tmp_path / "out", formats, ExportSettings(overwrite=True))
    export(flat, tmp_path / "out", ["parquet"], ExportSettings(overwrite=True))
    assert read_benchmark(tmp_path / "out").version == flat.version
    assert not (tmp_path / "out" / "croissant.json").exists()
    assert beside(tmp_path / "out") == []


def test_what_is_no_export_is_never_replaced(grouped, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("x")
    with pytest.raises(UsageError, match="holds files that are not an export"):
        export(grouped, out, ["parquet"])
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="is a file: choose a folder"):
        export(grouped, tmp_path / "file", ["parquet"])
    assert (out / "thesis.tex").read_text() == "x"
    export(grouped, tmp_path / "good", ["parquet"])
    (tmp_path / "good" / "my notes.txt").write_text("x")
    with pytest.raises(UsageError, match=r"'my notes\.txt' beside an earlier export"):
        export(grouped, tmp_path / "good", ["webdataset"], ExportSettings(overwrite=True))
    assert (tmp_path / "good" / "my notes.txt").exists()


def test_the_benchmark_itself_is_never_replaced(grouped, tmp_path):
    export(grouped, tmp_path / "out", ["parquet"])
    with pytest.raises(UsageError, match="is the folder of the photos"):
        export(read_benchmark(tmp_path / "out"), tmp_path / "out", ["webdataset"])
    export(grouped, tmp_path / "both", ["parquet", "webdataset"])
    with pytest.raises(UsageError, match="holds the folder of the photos"):
        export(read_benchmark(tmp_path / "both" / "parquet"), tmp_path / "both", ["webdataset"])


# Slow copies can only be arranged inside.
PROGRAM = """
import os, sys, time
from pathlib import Path
from counterground.construction.exports import export
from counterground.construction.exports import _layout
from counterground.construction.settings import ExportSettings
from counterground.photos import read_benchmark

def slowly(*given, read=_layout.photo_bytes):
    time.sleep(float(os.environ["SLOW"]))
    return read(*given)

_layout.photo_bytes = slowly
benchmark = read_benchmark(sys.argv[1])
print("ready", flush=True)
export(benchmark, Path(sys.argv[2]), [sys.argv[3]], ExportSettings(overwrite=True))
"""


@pytest.fixture
def start(grouped, tmp_path):
    """Start an export of the benchmark to ``out`` in a process of its own."""
    write_benchmark(grouped, tmp_path / "written")

    def start(form: str, *, slow: float = 0.0) -> subprocess.Popen:
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, str(tmp_path / "written"), str(tmp_path / "out"), form],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "SLOW": str(slow)},
        )
        assert process.stdout.readline() == "ready\n"
        return process

    return start


def drafts(out: Path) -> list[Path]:
    return list(out.parent.glob(f".{out.name}.*.draft"))


def test_kill_9_leaves_the_earlier_export_or_nothing_and_the_next_one_clears_up(
    grouped, start, tmp_path, tree
):
    out, moments = tmp_path / "out", random.Random(1)
    for form in ("parquet", "webdataset", "huggingface"):
        before = tree(out) if out.exists() else None
        process = start(form, slow=0.1)
        while not drafts(out) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(moments.uniform(0, 0.3))
        process.send_signal(signal.SIGKILL)
        process.wait()
        (left,) = drafts(out)
        os.utime(left, (0, 0))  # as if hours had passed
        assert (tree(out) if out.exists() else None) == before
        export(grouped, out, [form], ExportSettings(overwrite=True))
        assert drafts(out) == []
        assert read_benchmark(out).version == grouped.version


@pytest.mark.parametrize("form", ["parquet", "webdataset", "huggingface"])
def test_a_file_that_may_not_grow_is_one_line(grouped, form, tmp_path):
    """The same without a disk of its own: the limit of a file's size stands for the end of the disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))
    try:
        with pytest.raises(CounterGroundError, match=r"Cannot write .*out") as caught:
            export(grouped, tmp_path / "out", [form])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert "\n" not in str(caught.value)
    assert beside(tmp_path / "out") == []
    assert not (tmp_path / "out").exists()
