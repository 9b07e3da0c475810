"""Seconds to find near duplicates among all pairs of photos, once they are hashed or encoded.

Perceptual hashes of 64 bits, one in twenty an edited copy of another, and features of 512 numbers. For some
photos the result is checked against plain loops. ``python bench/near_duplicates.py [photos ...]``.
"""

from __future__ import annotations

import os
import platform
import resource
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from counterground.construction.curation._signals import find_better, hash_vectors

RADIUS = 8
COSINE = 0.95
CHECKED = 200


def machine() -> str:
    """Name the processor."""
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if "model name" in line]
    return names[0] if names else platform.processor()


def hashes_with_copies(count: int, rng: np.random.Generator) -> np.ndarray:
    """Random hashes, one in twenty of which differs from another one in up to ten bits."""
    hashes = rng.integers(0, 2**64, count, dtype=np.uint64)
    for copy in rng.choice(count, count // 20, replace=False):
        value = int(hashes[rng.integers(count)])
        for bit in rng.integers(0, 64, rng.integers(0, 11)):
            value ^= 1 << int(bit)
        hashes[copy] = value
    return hashes


def check(hashes: np.ndarray, better: np.ndarray, rng: np.random.Generator) -> None:
    """Compare some photos with every better one by counting bits."""
    values = [int(value) for value in hashes]
    for row in rng.choice(len(values), CHECKED, replace=False):
        near = [((values[row] ^ values[other]).bit_count(), other) for other in range(row)]
        nearest = min(near, default=(64, -1))
        assert better[row] == (nearest[1] if nearest[0] <= RADIUS else -1), row


def main() -> None:
    """Time the search for each number of photos."""
    rng = np.random.default_rng(0)
    print(f"{machine()}, {os.cpu_count()} cores, {platform.python_version()}, {datetime.now(UTC).date()}")
    for count in [int(word) for word in sys.argv[1:]] or [13_000, 50_000]:
        hashes = hashes_with_copies(count, rng)
        start = time.perf_counter()
        better, _ = find_better(hash_vectors(hashes), np.arange(count), 64 - 2 * RADIUS)
        seconds = time.perf_counter() - start
        check(hashes, better, rng)
        near = int((better >= 0).sum())
        print(f"{count:7,} hashes, radius {RADIUS}: {seconds:6.2f} s, {near:,} near duplicates")
        features = rng.normal(size=(count, 512)).astype(np.float32)
        features /= np.linalg.norm(features, axis=1, keepdims=True)
        start = time.perf_counter()
        find_better(features, np.arange(count), COSINE)
        print(f"{count:7,} features of 512: {time.perf_counter() - start:6.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{peak:,.0f} MiB at most")


if __name__ == "__main__":
    main()
