"""Figures 3, 4 and 15: photos and drops, class by class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from counterground.comparison import run_names
from counterground.findings import DROP_WORDS, Words
from counterground.metrics import GROUPS
from counterground.paper.figures._bars import Bars, bar_legend, draw_bars, ticks_to_100
from counterground.paper.figures._material import (
    Absent,
    Drawing,
    Material,
    Outcome,
    distinct_notes,
    own,
    own_points,
)
from counterground.paper.figures._style import TINY, family_colour, group_colours, panel_grid, shorten
from counterground.published import load_table
from counterground.reporting.class_facts import class_facts
from counterground.reporting.sides import on_sides
from counterground.results import ModelScores, regroup

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from counterground.results import Run

_LONGEST = 24
_PER_LINE = 24
_MOST_CLASSES = 192
_MOST_DROPS = 48
_MOST_MODELS = 8
_MARKED = " †: contradicted elsewhere in the paper."


def draw_group_sizes(material: Material) -> list[Outcome]:
    """Draw figure 3: photos of each class and group, in the paper and in the benchmark of each run."""
    outcomes: list[Outcome] = []
    if material.published:
        sizes = load_table("group_sizes").join(_printed_names(), on="class_id", maintain_order="left")
        caption = f"Photos of each class in the common and the counter group, as printed.{_MARKED}"
        outcomes.append(_sizes("figure-3", sizes, caption))
    words = material.words
    runs = {run.info.benchmark.version: run for run in material.runs}
    for place, run in enumerate(runs.values()):
        sizes, name = _sizes_of(run, words), run.info.benchmark.name
        if sizes.is_empty():
            need = f"{name} has no photos on {words.on_left} or {words.on_right}."
            outcomes.append(Absent("3", need))
        else:
            caption = (
                f"Photos of each class on {words.left} and {words.right} of {name}; of the largest "
                f"{_MOST_CLASSES} classes."
            )
            outcomes.append(_sizes(own("figure-3", place), sizes, caption, words))
    return outcomes


def draw_class_drops(material: Material, figure: str, models: int = 1) -> list[Outcome]:
    """Draw the drop of each class: of the referee (figure 4), of several models (15), and of the runs'."""
    outcomes: list[Outcome] = []
    if material.published:
        outcomes.append(_published_drops(f"Figure {figure}", f"figure-{figure}"))
    if material.runs:
        outcomes.append(_own_drops(figure, models, material))
    return outcomes


def _printed_names() -> pl.DataFrame:
    first = pl.col("imagenet_full_name").str.split(",").list.first()
    return load_table("classes").select(class_id="id", name=first)


def _sizes_of(run: Run, words: Words) -> pl.DataFrame:
    rows = on_sides(run.predictions, words.contrast).filter(pl.col("group").is_in(GROUPS))
    counts = {f"n_{group}": (pl.col("group") == group).sum().cast(pl.Int64) for group in GROUPS}
    grouped = rows.unique(["path", "class_index", "group"]).group_by("class_index", name="class_name")
    return grouped.agg(**counts).sort("class_index").with_columns(note=pl.lit(None, dtype=pl.String))


def _sizes(stem: str, sizes: pl.DataFrame, caption: str, words: Words = DROP_WORDS) -> Drawing:
    if len(sizes) > _MOST_CLASSES:
        sizes = sizes.top_k(_MOST_CLASSES, by=pl.col("n_common") + pl.col("n_counter"))
    lines = -(-len(sizes) // _PER_LINE)
    per_line = -(-len(sizes) // lines)
    figure, grid = panel_grid(lines, 1, 2.2, "photos")
    colours = group_colours()
    for axes, part in zip(grid, sizes.iter_slices(per_line), strict=True):
        series = [
            Bars(
                group,
                part[f"n_{group}"].to_list(),
                [colours[group]] * len(part),
                texts=[f"{count}" for count in part[f"n_{group}"]],
                label=title,
            )
            for group, title in zip(GROUPS, (words.left, words.right), strict=True)
        ]
        draw_bars(axes, _names(part), series, size=TINY, upright=True)
        _upright_labels(axes)
        axes.set_xlim(-0.6, per_line - 0.4)
    bar_legend(figure, grid[0])
    return Drawing(stem, figure, caption, distinct_notes(sizes))


def _published_drops(which: str, stem: str) -> Drawing:
    rows = (
        load_table("figure_class_drops")
        .filter((pl.col("figure") == which) | pl.col("figure").str.starts_with(f"{which}("))
        .join(_printed_names(), on="class_id", maintain_order="left")
        .with_columns(low=pl.lit(None, dtype=pl.Float64), high=pl.lit(None, dtype=pl.Float64))
    )
    panels = [
        (f"{str(figure).removeprefix(which)} {part['model'][0]}".strip(), family_colour("clip"), part)
        for (figure,), part in rows.group_by("figure", maintain_order=True)
    ]
    caption = f"Drop (points) of each class, as printed.{_MARKED}"
    return _drops(stem, panels, caption, distinct_notes(rows))


def _own_drops(figure: str, most: int, material: Material) -> Outcome:
    words = material.words
    models = [
        (run, name, model)
        for run, name in zip(material.runs, run_names(material.runs), strict=True)
        for model in regroup(run.estimates(words.contrast))
        if words.knows(model)
    ][:most]
    frames = [_drops_of(run, model, words) for run, _, model in models]
    if all(frame.is_empty() for frame in frames):
        return Absent(figure, words.absent)
    points = own_points(material)
    family = dict(zip(points["model"], points["family"], strict=True))
    drops = pl.concat(frames).group_by("class_index", "name", "note").agg(mean=pl.col("drop").mean())
    order = drops.sort("mean", "name", descending=[True, False]).head(_MOST_DROPS).drop("mean")
    panels = [
        (
            shorten(f"{model.label} ({name}, {model.setting.label_space})", 80),
            family_colour(family.get(model.setting.model, "other")),
            order.join(frame.drop("name", "note"), on="class_index", how="left", maintain_order="left"),
        )
        for (_, name, model), frame in zip(models, frames, strict=True)
    ]
    caption = (
        f"{words.contrast.name} (points) of each class with photos on both sides, largest mean first, at "
        f"most {_MOST_DROPS} classes and {_MOST_MODELS} models, with 95 % intervals."
    )
    return _drops(own(f"figure-{figure}"), panels, caption, (), words.contrast.name)


def _drops_of(run: Run, model: ModelScores, words: Words) -> pl.DataFrame:
    facts = class_facts(run.predictions)
    rows = []
    for index in model.classes:
        drop = model.of(words.contrast, index).difference
        if drop.value is not None:
            rows.append((index, facts[index].name, drop.value, drop.low, drop.high, None))
    numbers = dict.fromkeys(("drop", "low", "high"), pl.Float64)
    schema = {"class_index": pl.Int64, "name": pl.String} | numbers | {"note": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col(*numbers) * 100)


def _drops(
    stem: str,
    panels: Sequence[tuple[str, str, pl.DataFrame]],
    caption: str,
    notes: tuple[str, ...],
    difference: str = "drop",
) -> Drawing:
    label = f"{difference} (points)"
    figure, grid = panel_grid(len(panels), 1, 1.4 if len(panels) > 1 else 2.2, label, sharex=True)
    marked = pl.concat([part.select("name", "note") for *_, part in panels]).drop_nulls("note")["name"]
    for axes, (title, colour, part) in zip(grid, panels, strict=True):
        bars = Bars("drop", part["drop"].to_list(), [colour] * len(part), part.select("low", "high").rows())
        noted = part.with_columns(note=pl.when(pl.col("name").is_in(marked.implode())).then(pl.lit("†")))
        draw_bars(axes, _names(noted), [bars], size=TINY, upright=True)
        axes.set_title(title)
    ticks_to_100(grid[0])
    _upright_labels(grid[-1])
    return Drawing(stem, figure, caption, notes)


def _names(part: pl.DataFrame) -> list[str]:
    return [
        shorten(name, _LONGEST) + (" †" if note else "")
        for name, note in part.select("name", "note").iter_rows()
    ]


def _upright_labels(axes: Axes) -> None:
    axes.tick_params(axis="x", labelrotation=90, labelsize=TINY + 0.5)
