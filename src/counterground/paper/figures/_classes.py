"""Figures 3, 4 and 15: photos and drops, class by class."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from counterground.comparison import run_names
from counterground.metrics import GROUPS
from counterground.paper.figures._bars import (
    Bars,
    bar_legend,
    draw_bars,
    room_for_texts,
    scale_in_points,
)
from counterground.paper.figures._material import (
    Absent,
    Drawing,
    Material,
    Outcome,
    distinct_notes,
    own,
)
from counterground.paper.figures._points import families
from counterground.paper.figures._style import (
    INK,
    PAGE,
    TINY,
    TITLE,
    family_colour,
    group_colours,
    new_figure,
    rule,
    shorten,
)
from counterground.published import load_table
from counterground.reporting.class_facts import class_facts
from counterground.reporting.sides import on_sides
from counterground.reporting.words import DROP_WORDS, Words
from counterground.results import ModelScores, regroup
from counterground.text import and_more, one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from counterground.results import Run

_LONGEST = 24
_PER_LINE = 24
_MOST_CLASSES = 192
_MOST_DROPS = 48
_MOST_MODELS = 8
_LACKING_NAMED = 6
_AXES, _TEXT = 84.0, 20.0  # points: room for the axes of a panel, an upright text and its distance
_MOST_POINTS = 102.0  # a drop is at most 100; a little more shows the ends of lines
_MARK = "†"
_MARKED = f" {_MARK}: contradicted elsewhere in the paper."


def draw_group_sizes(material: Material) -> list[Outcome]:
    """Draw figure 3: photos of each class and group, in the paper and in the benchmark of each run."""
    outcomes: list[Outcome] = []
    if material.published:
        sizes = load_table("group_sizes").join(_printed_names(), on="class_id", maintain_order="left")
        caption = "Photos of each class in the common and the counter group of CounterAnimal, as printed."
        outcomes.append(_sizes("figure-3", sizes, caption))
    seen: list[str] = []
    for run in material.runs:
        if (version := run.info.benchmark.version) in seen:
            continue
        sizes, words, name = _sizes_of(run, material.words), material.words, material.place(run)
        groups = (
            "in the common and the counter group" if words.is_drop else f"on {words.left} and {words.right}"
        )
        if words.is_drop and run.info.mixes_groups:
            need = f"{name} has composites of several kinds: name its run alone, or a --contrast."
            outcomes.append(Absent("3", need))
        elif sizes.is_empty():
            lack = (
                "in a common or counter group" if words.is_drop else f"on both sides of {words.contrast.name}"
            )
            outcomes.append(Absent("3", f"{name} has no photos {lack}."))
        else:
            caption = f"Photos of each class {groups} of {name}."
            outcomes.append(_sizes(own("figure-3", len(seen)), sizes, caption, words))
        seen.append(version)
    return outcomes


def draw_class_drops(material: Material) -> list[Outcome]:
    """Draw figure 4: the drop of each class, for the paper's referee and the first model of the runs."""
    outcomes: list[Outcome] = []
    if material.published:
        outcomes.append(_published_drops("Figure 4", "figure-4", "Drop (points) of each class, as printed."))
    if material.runs:
        models = [pair for pair in _models(material) if material.words.knows(pair[1])][:1]
        caption = f"{_of_each_class(material.words)}, largest first."
        outcomes.append(_own_drops("4", models, material, caption))
    return outcomes


def draw_all_class_drops(material: Material) -> list[Outcome]:
    """Draw figure 15: the drop of each class for several models, one panel for each."""
    outcomes: list[Outcome] = []
    if material.published:
        caption = "Drop (points) of each class for five CLIPs, as printed."
        outcomes.append(_published_drops("Figure 15", "figure-15", caption))
    if material.runs:
        words = material.words
        models = [pair for pair in _models(material) if words.knows(pair[1])]
        caption = f"{_of_each_class(words)}, classes in order of their mean {words.noun}."
        if len(models) > _MOST_MODELS:
            caption += f" The first {_MOST_MODELS} of {len(models)} models."
        outcomes.append(_own_drops("15", models[:_MOST_MODELS], material, caption))
    return outcomes


def _of_each_class(words: Words) -> str:
    return f"{'Drop' if words.is_drop else words.contrast} (points) of each class"


def _printed_names() -> pl.DataFrame:
    first = pl.col("imagenet_full_name").str.split(",").list.first()
    return load_table("classes").select(class_id="id", name=first)


def _sizes_of(run: Run, words: Words) -> pl.DataFrame:
    rows = on_sides(run.predictions, words.contrast)
    grouped = rows.filter(pl.col("group").is_in(GROUPS)).unique(["path", "class_index", "group"])
    counts = [
        pl.col("group").filter(pl.col("group") == group).len().cast(pl.Int64).alias(f"n_{group}")
        for group in GROUPS
    ]
    sizes = grouped.group_by("class_index", pl.col("class_name").alias("name")).agg(*counts)
    return sizes.sort("class_index").with_columns(note=pl.lit(None, dtype=pl.String))


def _sizes(stem: str, sizes: pl.DataFrame, caption: str, words: Words = DROP_WORDS) -> Drawing:
    if len(sizes) > _MOST_CLASSES:
        caption += f" The {_MOST_CLASSES} largest of {len(sizes)} classes."
        sizes = sizes.sort(pl.col("n_common") + pl.col("n_counter"), descending=True)[:_MOST_CLASSES]
    lines = -(-len(sizes) // _PER_LINE)
    per_line = -(-len(sizes) // lines)
    figure = new_figure(PAGE, 2.3 * lines)
    grid = figure.subplots(lines, 1, squeeze=False, sharey=True).ravel()
    colours = group_colours()
    top = max(sizes["n_common"].to_list() + sizes["n_counter"].to_list())
    for place, axes in enumerate(grid):
        part = sizes[place * per_line : (place + 1) * per_line]
        series = [
            Bars(
                group,
                [float(count) for count in part[f"n_{group}"]],
                [colours[group]] * len(part),
                hatch="////" if group == "counter" else "",
                texts=[f"{count}" for count in part[f"n_{group}"]],
                label=title,
            )
            for group, title in zip(GROUPS, (words.left, words.right), strict=True)
        ]
        draw_bars(axes, _names(part), series, size=TINY, upright=True)
        _upright_labels(axes)
        axes.set_xlim(-0.6, per_line - 0.4)
        axes.set_ylim(*room_for_texts(0, top, _AXES, _TEXT))
        axes.set_ylabel("photos")
        rule(axes)
    bar_legend(figure, grid[:1])
    notes = distinct_notes(sizes)
    return Drawing(stem, figure, caption + (_MARKED if notes else ""), notes)


def _published_drops(which: str, stem: str, caption: str) -> Drawing:
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
    notes = distinct_notes(rows)
    return _drops(stem, panels, caption + (_MARKED if notes else ""), notes)


def _models(material: Material) -> list[tuple[Run, ModelScores]]:
    """Return the models of all runs; a label that several of them have is followed by the run's name."""
    contrast = material.words.contrast
    found = [
        (run, name, model)
        for run, name in zip(material.runs, run_names(material.runs), strict=True)
        for model in regroup(run.with_contrast(contrast).scores)
    ]
    times = Counter(model.label for _, _, model in found)
    return [
        (run, replace(model, label=f"{model.label} ({name})") if times[model.label] > 1 else model)
        for run, name, model in found
    ]


def _own_drops(
    figure: str, models: Sequence[tuple[Run, ModelScores]], material: Material, caption: str
) -> Outcome:
    if not models:
        return Absent(figure, material.words.absent)
    family = families(material)
    frames = [_drops_of(run, model, material.words) for run, model in models]
    if all(frame.is_empty() for frame in frames):
        return Absent(figure, f"{material.words.contrast.name} cannot be measured within one class.")
    order = (
        pl.concat(frames)
        .group_by("name")
        .agg(pl.col("drop").mean())
        .sort(pl.col("drop"), "name", descending=[True, False])
    )
    lacking = {
        name
        for run, model in models
        for index, name in _class_names(run).items()
        if index in model.classes and name not in order["name"]
    }
    if lacking:
        shown = sorted(map(one_line, lacking))
        side = "both groups" if material.words.is_drop else "both sides"
        caption += f" Without photos in {side}, so not drawn: {and_more(shown, _LACKING_NAMED)}."
    if len(order) > _MOST_DROPS:
        caption += f" The {_MOST_DROPS} largest of {len(order)} classes."
        order = order[:_MOST_DROPS]
    where = [f"{material.place(run)}, {model.setting.label_space}" for run, model in models]
    places = list(dict.fromkeys(where))
    caption += f" Measured on {one_line('; '.join(places))}. Lines: 95 % intervals."
    panels = [
        (
            shorten(model.label, TITLE[PAGE] - 20 * (1 + (len(places) > 1)))
            + (f" ({shorten(place, 30)})" if len(places) > 1 else ""),
            family_colour(family.get(model.setting.model, "other")),
            order.select("name").join(frame, on="name", how="left", maintain_order="left"),
        )
        for (_, model), place, frame in zip(models, where, frames, strict=True)
    ]
    return _drops(own(f"figure-{figure}"), panels, caption, (), material.words)


def _drops_of(run: Run, model: ModelScores, words: Words) -> pl.DataFrame:
    names = _class_names(run)
    rows = []
    for index in model.classes:
        drop = model.of(words.contrast, index).difference
        if drop.value is not None:
            scaled = [None if v is None else 100 * v for v in (drop.value, drop.low, drop.high)]
            rows.append((names.get(index, str(index)), *scaled, None))
    schema = {"name": pl.String, "drop": pl.Float64, "low": pl.Float64, "high": pl.Float64, "note": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def _class_names(run: Run) -> dict[int, str]:
    """Return the names of a run's classes; if several share a name, each has its index, too."""
    names = {index: facts.name for index, facts in class_facts(run.predictions).items()}
    times = Counter(names.values())
    return {index: f"{name} ({index})" if times[name] > 1 else name for index, name in names.items()}


def _drops(
    stem: str,
    panels: Sequence[tuple[str, str, pl.DataFrame]],
    caption: str,
    notes: tuple[str, ...],
    words: Words = DROP_WORDS,
) -> Drawing:
    figure = new_figure(PAGE, 1.4 * len(panels) + 1.3)
    grid = figure.subplots(len(panels), 1, squeeze=False, sharex=True, sharey=True).ravel()
    low, high, outside = _heights([part for _, _, part in panels])
    marked = set(pl.concat([part for _, _, part in panels]).drop_nulls("note")["name"])
    for axes, (title, colour, part) in zip(grid, panels, strict=True):
        pairs = list(zip(part["low"], part["high"], strict=True))
        bars = Bars("drop", part["drop"].to_list(), [colour] * len(part), pairs)
        names = _names(
            part.with_columns(
                note=pl.col("name")
                .is_in(marked)
                .replace_strict({True: "x", False: None}, return_dtype=pl.String)
            )
        )
        draw_bars(axes, names, [bars], size=TINY, upright=True, outside=outside)
        axes.set_title(title)
        axes.set_ylabel(f"{words.contrast.name} (points)")
        if low < 0:
            axes.axhline(0, color=INK, linewidth=0.6)
        rule(axes)
    scale_in_points(grid[0], low, high)
    _upright_labels(grid[-1])
    return Drawing(stem, figure, caption, notes)


def _heights(parts: Sequence[pl.DataFrame]) -> tuple[float, float, tuple[float, float]]:
    """Return the limits of the axis (at most about ±100) and of drops whose values fit outside the bars."""
    drops = [value for part in parts for value in part["drop"].drop_nulls()]
    ends = [end for part in parts for key in ("low", "high") for end in part[key].drop_nulls()]
    low, high = room_for_texts(min([0.0, *drops]), max([1.0, *drops]), _AXES, _TEXT, ends)
    low, high = max(low, -_MOST_POINTS), min(high, _MOST_POINTS)
    room = (high - low) * _TEXT / _AXES
    return low, high, (low + room if low < 0 else low, high - room)


def _names(part: pl.DataFrame) -> list[str]:
    names = [one_line(name) for name in part["name"]]
    first = [name.split(",")[0] for name in names]  # the first of WordNet's synonyms
    names = first if len(set(first)) == len(set(names)) else names
    cut = [name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…" for name in names]
    marks = [f" {_MARK}" if note else "" for note in part["note"]]
    return [name + mark for name, mark in zip(cut, marks, strict=True)]


def _upright_labels(axes: Axes) -> None:
    axes.tick_params(axis="x", labelrotation=90, labelsize=TINY + 0.5)
