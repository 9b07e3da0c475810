"""Features are read when they are needed, verified, and encoded again where they are damaged or lost."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import colour_model
import numpy as np
import pytest
import safetensors.numpy

from counterground.errors import CounterGroundError
from counterground.inference import (
    _cache,
    _store,
    encode_photos,
    prune_cache,
)  # how much is kept is made small; a race is forced; an older layout is made
from counterground.models import load_model
from counterground.photos import Benchmark, read_benchmark


@pytest.fixture
def model():
    return load_model(f"{colour_model.__file__}:brightness", device="cpu")


def encoded(model, benchmark, cache, batch_size=4):
    return encode_photos(model, benchmark, cache / "features", batch_size=batch_size, show_progress=False)


def shards(cache) -> list[Path]:
    return sorted(cache.glob("features/*/[!.]*.safetensors"))


def some(benchmark, rows) -> Benchmark:
    return replace(benchmark, photos=benchmark.photos[list(rows)])


def test_a_shard_is_a_safetensors_file(photos, model, cache):
    benchmark = read_benchmark(photos)
    matrix = encoded(model, benchmark, cache).matrix
    held = {}
    for path in shards(cache):
        tensors = safetensors.numpy.load_file(path)
        ids = [bytes(row).hex() for row in tensors["photo_id"]]
        held |= dict(zip(ids, tensors["features"], strict=True))
    assert np.array_equal(matrix, [held[photo] for photo in benchmark.photos["photo_id"]])


def test_no_flipped_byte_reaches_a_feature(photos, model, cache):
    benchmark = some(read_benchmark(photos), range(4))
    matrix = encoded(model, benchmark, cache).matrix
    (shard,) = shards(cache)
    whole = shard.read_bytes()
    for place in range(0, len(whole), 3):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        shard.write_bytes(damaged)
        assert np.array_equal(encoded(model, benchmark, cache).matrix, matrix), place
    for end in (0, 7, 100, len(whole) - 1):
        shard.write_bytes(whole[:end])
        assert np.array_equal(encoded(model, benchmark, cache).matrix, matrix), end
    assert shard.read_bytes() == whole


def test_features_of_another_place_are_not_taken_for_these(photos, model, cache):
    benchmark = some(read_benchmark(photos), range(8))
    matrix = encoded(model, benchmark, cache).matrix
    first, second = shards(cache)
    shutil.copy(first, second)
    assert np.array_equal(encoded(model, benchmark, cache).matrix, matrix)


def test_other_blocks_of_the_same_photos_are_assembled_without_the_photos(photos, model, cache):
    benchmark = read_benchmark(photos)
    matrix = encoded(model, benchmark, cache).matrix
    shutil.rmtree(photos)
    rows = np.random.default_rng(0).permutation(len(benchmark))[:21].tolist()
    part = some(benchmark, rows)
    found = encoded(model, part, cache)
    assert np.array_equal(found.matrix, matrix[sorted(rows)])
    assert found.readable.all()
    assert np.array_equal(found.rows(np.array([20, 3, 3])), matrix[sorted(rows)][[20, 3, 3]])


def test_a_shard_that_is_lost_while_it_is_needed_is_encoded_again(photos, model, cache, monkeypatch):
    # How much is kept is a matter of memory; a shard that is kept cannot be lost.
    monkeypatch.setattr(_store, "KEPT_SHARDS", 1)
    benchmark = read_benchmark(photos)
    expected = encoded(model, benchmark, cache / "alone").matrix
    features = encoded(model, benchmark, cache)
    for shard in shards(cache)[::2]:
        shard.unlink()
    assert np.array_equal(features.matrix, expected)
    shutil.rmtree(cache / "features")
    assert np.array_equal(features.matrix, expected)
    shutil.rmtree(cache / "features")
    for path in photos.rglob("*.*"):
        path.unlink()
    with pytest.raises(CounterGroundError, match="features were deleted while they were in use"):
        _ = features.matrix


def test_a_store_of_many_blocks_needs_no_open_file_for_each(photos, model, cache):
    benchmark = read_benchmark(photos)
    expected = encoded(model, benchmark, cache, batch_size=1).matrix
    import resource

    opened = len(list(Path("/dev/fd").iterdir()))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:  # fewer than there are blocks, as with tens of thousands of photos under the usual limit
        resource.setrlimit(resource.RLIMIT_NOFILE, (opened + len(benchmark) // 2, hard))
        features = encoded(model, benchmark, cache, batch_size=1)
        assert np.array_equal(features.matrix, expected)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_unreadable_photos_keep_their_reasons_in_the_store(photos, model, cache):
    broken = next(photos.rglob("*.png"), None) or next(photos.rglob("*.jpg"))
    broken.write_bytes(b"no photo")
    benchmark = read_benchmark(photos)
    first = encoded(model, benchmark, cache)
    shutil.rmtree(photos)
    again = encoded(model, benchmark, cache)
    assert len(first.reasons) == 1
    assert again.reasons == first.reasons
    assert np.array_equal(again.readable, first.readable)
    assert np.array_equal(again.converted, first.converted)


def test_a_store_of_an_older_layout_is_left_alone(photos, model, cache, monkeypatch):
    benchmark = read_benchmark(photos)
    with monkeypatch.context() as patch:
        patch.setattr(_store, "_LAYOUT", "1: another")
        expected = encoded(model, benchmark, cache).matrix
    older = shards(cache)
    for path in older:
        path.write_bytes(b"in another layout")
    assert np.array_equal(encoded(model, benchmark, cache).matrix, expected)
    assert {path.read_bytes() for path in older} == {b"in another layout"}
    assert len(shards(cache)) == 2 * len(older) > 0


PRUNE = """
import sys
from pathlib import Path
from counterground.inference import prune_cache
removed = 0
print("started", flush=True)
while not Path(sys.argv[1]).exists():
    removed += sum(entry.files for entry in prune_cache(["features"]))
print(removed)
"""


def test_another_process_that_prunes_changes_no_feature(photos, model, cache, tmp_path, monkeypatch):
    monkeypatch.setattr(_store, "KEPT_SHARDS", 1)
    benchmark = read_benchmark(photos)
    expected = encoded(model, benchmark, cache / "alone").matrix
    stop = tmp_path / "stop"
    command = [sys.executable, "-c", PRUNE, str(stop)]
    with subprocess.Popen(command, env=dict(os.environ), stdout=subprocess.PIPE, text=True) as pruner:
        assert pruner.stdout.readline() == "started\n"
        try:
            for batch_size in (1, 2, 3, 1, 2, 3):
                found = encoded(model, benchmark, cache, batch_size).matrix
                assert np.allclose(found, expected, atol=1e-6)
        finally:
            stop.touch()
        assert int(pruner.stdout.read()) > 0
    assert pruner.returncode == 0


def test_a_store_that_is_made_at_this_moment_is_not_pruned(photos, model, cache, monkeypatch):
    encoded(model, read_benchmark(photos), cache)
    kept = shards(cache)
    monkeypatch.setattr(_cache, "_file_facts", lambda path: iter([]))  # listed before its first file
    assert prune_cache(["features"]) == []
    assert shards(cache) == kept
