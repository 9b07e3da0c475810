"""Methods that need masks: the object alone on grey, and the background alone."""

import shutil
from filecmp import cmp

import polars as pl
import pytest
from planted_photos import Planted, planted_benchmark

import counterground as cg
from counterground.errors import CounterGroundError
from counterground.masks import make_masks
from counterground.results import read_mitigation, repeat_command


def test_the_object_alone_has_no_background_to_believe(tmp_path):
    benchmark = planted_benchmark(masks=tmp_path)
    found = cg.mitigate(benchmark, Planted(), ["foreground", "background-subtraction"], out=tmp_path / "run")
    alone, subtracted = found.record.methods
    assert [setting["share"] for setting in alone.settings] == [1.0] * 3
    assert alone.mitigated.drop.value < 0.2
    assert alone.gain.significant
    assert subtracted.gain.value > 0.3
    assert not (found.run.path / "heads").exists()
    for each in found.record.methods:
        assert each.head is None
        assert "masked photos" in each.not_exported
    assert len({model.fingerprint for model in found.run.info.models}) == 3


def test_masks_of_a_folder_give_what_the_benchmarks_own_give(tmp_path):
    own = planted_benchmark(masks=tmp_path)
    make_masks(own, "manifest", tmp_path / "masks")
    bare = cg.Benchmark(
        own.name, own.root, own.photos.with_columns(mask=pl.lit(None, pl.String)), own.classes
    )
    with pytest.raises(CounterGroundError, match="name their source with --masks"):
        cg.mitigate(bare, Planted(), "foreground", out=tmp_path / "none")
    given = {"methods": "foreground"}
    first = cg.mitigate(own, Planted(), out=tmp_path / "own", **given)
    second = cg.mitigate(bare, Planted(), out=tmp_path / "run", masks=tmp_path / "masks", **given)
    assert second.record.rows.equals(first.record.rows)
    assert f"--masks {tmp_path / 'masks'} " in repeat_command(second.run)


def test_masks_that_changed_since_replace_no_mitigation_unless_asked_to(tmp_path):
    benchmark = planted_benchmark(masks=tmp_path)
    asked = {"methods": "foreground", "out": tmp_path / "run"}
    first = cg.mitigate(benchmark, Planted(), **asked)
    own = tmp_path / "mask-0.png"
    shutil.copy(next(file for file in tmp_path.glob("mask-*") if not cmp(file, own, shallow=False)), own)
    with pytest.raises(CounterGroundError, match="holds another run"):
        cg.mitigate(benchmark, Planted(), **asked)
    assert read_mitigation(tmp_path / "run") == first.record
    cg.mitigate(benchmark, Planted(), overwrite=True, **asked)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        ("some", "2 photos of planted have none"),
        ("broken", "The foreground of 1 photo cannot be shown alone"),
    ],
)
def test_masks_that_do_not_serve_are_refused_in_one_line(tmp_path, damage, said):
    benchmark = planted_benchmark(masks=tmp_path)
    if damage == "some":
        column = pl.when(pl.int_range(pl.len()) < 2).then(None).otherwise("mask").alias("mask")
        benchmark = cg.Benchmark(
            benchmark.name, benchmark.root, benchmark.photos.with_columns(column), benchmark.classes
        )
    else:
        (tmp_path / "mask-0.png").write_bytes(b"no picture")
    with pytest.raises(CounterGroundError, match=said) as refused:
        cg.mitigate(benchmark, Planted(), "foreground", out=tmp_path / "run")
    assert "\n" not in str(refused.value)
