"""Bars with their values written on them, and with intervals where there are any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from counterground.comparison import run_names
from counterground.findings import DROP_WORDS, Words
from counterground.metrics import COMPETING, GROUPS, SETTING
from counterground.paper.figures._material import (
    GRID,
    INK,
    PHOTOS,
    SMALL,
    TINY,
    Absent,
    Drawing,
    Material,
    Outcome,
    distinct_notes,
    family_colour,
    group_colours,
    own,
    own_points,
    panel_grid,
    paper_points,
    shade,
    shorten,
)
from counterground.published import load_table
from counterground.reporting.class_facts import class_facts
from counterground.reporting.sides import on_sides
from counterground.results import ModelScores, regroup
from counterground.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from counterground.results import Run


Bounds = tuple[float | None, float | None]


@dataclass(frozen=True)
class Bars:
    """One series of bars: heights, a colour for each, and what to write on them.

    Attributes:
        name: what the bars show.
        values: heights in percent or points; None where there is no bar.
        colours: one for each bar.
        intervals: low and high ends in the same units, or empty.
        texts: text at the end of each bar; by default the value with one decimal.
        label: name in the legend; ``name`` by default.
    """

    name: str
    values: Sequence[float | None]
    colours: Sequence[str]
    intervals: Sequence[Bounds] = ()
    texts: Sequence[str] = ()
    label: str = ""


def draw_bars(
    axes: Axes,
    labels: Sequence[str],
    series: Sequence[Bars],
    *,
    size: float = SMALL,
    upright: bool = False,
    inside: bool = False,
) -> None:
    """Draw series side by side over ``labels``; a bar without a value is left out, never drawn as 0.

    Values are written at the ends of bars, beyond intervals. All series but the first are hatched.

    Args:
        axes: where to draw.
        labels: one for each place.
        series: series, each with as many bars as labels.
        size: font size of the values written on bars, in points.
        upright: whether to turn these texts by 90 degrees, if bars are close.
        inside: whether to write them in the middle of the bars, if something else is at their ends.
    """
    width = 0.8 / len(series)
    for k, one in enumerate(series):
        bars = axes.bar(
            np.arange(len(labels)) + (k - (len(series) - 1) / 2) * width,
            np.array(one.values, dtype=float),
            0.94 * width,
            yerr=_reach(one),
            label=one.label or one.name,
            color=one.colours,
            edgecolor=INK,
            linewidth=0.4,
            hatch="////" if k else None,
            error_kw={"ecolor": INK, "elinewidth": 0.6},
        )
        axes.bar_label(
            bars,
            one.texts or [percent(None if value is None else value / 100) for value in one.values],
            label_type="center" if inside else "edge",
            rotation=90 if upright else 0,
            padding=0 if inside else 1.5,
            fontsize=size,
            bbox={"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none"},
        )
    axes.set_xticks(range(len(labels)), labels)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(labels) - 0.4)
    axes.margins(y=0.35 if upright else 0.12)
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.grid(axis="y", color=GRID, linewidth=0.5)


def _reach(bars: Bars) -> np.ndarray | None:
    """Return how far intervals reach below and above the bars, ``[2, n]``; 0 where there is none."""
    if not bars.intervals:
        return None
    values, ends = np.array(bars.values, dtype=float), np.array(bars.intervals, dtype=float).T
    reach: np.ndarray = np.nan_to_num(np.abs(ends - values))
    return reach


def ticks_to_100(axes: Axes) -> None:
    """Leave out ticks beyond 100 percent or points, of an axis and of those that share it."""
    low, high = axes.get_ylim()
    axes.set_yticks([tick for tick in axes.get_yticks() if max(low, -100) <= tick <= min(high, 100)])


def bar_legend(figure: Figure, axes: Axes) -> None:
    """Explain the series of one panel above the panels, if there are several."""
    named = dict(zip(*axes.get_legend_handles_labels()[::-1], strict=True))
    if len(named) > 1:
        longest = max(map(len, named))
        columns = len(named) if longest < 24 else 1
        figure.legend(list(named.values()), list(named), loc="outside upper right", ncols=columns)


_CAPTIONS = {
    "5": "Common and counter accuracy (percent): (a) LAION400M by backbone, (b) ViT/B/32 by training data.",
    "6": "Common and counter accuracy (percent) by training data: (a) ViT/B/16, (b) ViT/L/14.",
    "7": "Common and counter accuracy (percent) by backbone: (a) LAION2B, (b) OpenAI.",
    "8": "Drop (points) by training data, paler for less of it: (a) ViT/B/16, (b) ViT/L/14.",
    "9": "Drop (points) of CLIPs and of the ImageNet model of the same backbone: (a) ViT/B/16, (b) ViT/B/32.",
}
_ASKED = [name for name in SETTING if name != COMPETING]
"""Settings that the models of a panel share, besides photos and competing names."""
_PER_LINE = 12
_DROPS = ("8", "9")


@dataclass(frozen=True)
class Panel:
    """One panel of bars: title, labels, series, and the paper's models that they are of."""

    title: str
    labels: Sequence[str]
    series: Sequence[Bars]
    models: Sequence[str] = ()


def draw_bar_figure(material: Material, name: str) -> list[Outcome]:
    """Draw figure ``name`` (5 to 9) of the paper and of the runs."""
    outcomes: list[Outcome] = []
    points = own_points(material) if material.runs else None
    if material.published:
        outcomes.append(_published(name, points))
    if points is not None:
        outcomes.append(_of_runs(points, name, material.words))
    return outcomes


def _published(name: str, points: pl.DataFrame | None) -> Drawing:
    """Draw the printed bars, with the value of any of these models that a run measured on the same photos."""
    rows = load_table("figure_bars").filter(pl.col("figure").str.starts_with(f"Figure {name}("))
    panels = [
        _printed(f"{str(figure).removeprefix(f'Figure {name}')} {part['fixed'][0]}", part)
        for (figure,), part in rows.group_by("figure", maintain_order=True)
    ]
    models = [model for panel in panels for model in panel.models]
    same = pl.col("comparable") & pl.col("paper_model").is_in(models)
    mine = None if points is None or points.filter(same).is_empty() else points.filter(same)
    caption = _CAPTIONS[name]
    if mine is not None:
        prompts = mine["prompts"].drop_nulls().unique(maintain_order=True)
        caption += (
            " Diamonds: measured in the runs, with 95 % intervals; "
            f"prompts: {', '.join(prompts)}; printed bars have one prompt."
        )
    return _draw(f"figure-{name}", panels, caption, mine, notes=distinct_notes(rows))


def _printed(title: str, part: pl.DataFrame) -> Panel:
    labels = part["label"].unique(maintain_order=True).to_list()
    series = []
    for (kind,), rows in part.group_by("series", maintain_order=True):
        values = dict(zip(rows["label"], rows["value"], strict=True))
        if kind == "drop":
            colours = [_data_colour(label) for label in labels]
        else:
            colours = [group_colours()[str(kind)]] * len(labels)
        series.append(Bars(str(kind), [values[label] for label in labels], colours))
    fixed, varied = part["fixed"][0], part["varied"][0]
    return Panel(title, labels, series, [_model(fixed, label, varied) for label in labels])


def _model(fixed: str, label: str, varied: str) -> str:
    if label == "ImageNet":
        return fixed
    return f"CLIP-{fixed}-{label}" if varied == "backbone" else f"CLIP-{label}-{fixed}"


def _data_colour(dataset: str) -> str:
    """Return the colour of a drop's bar: its family's, in the shade of its data."""
    family, name = ("imagenet", "ImageNet-1K") if dataset == "ImageNet" else ("clip", dataset)
    sizes = paper_points("one-prompt").filter(family=family, pretrain_dataset=name)["data_size"].drop_nulls()
    return shade(family, int(sizes[0]) if len(sizes) else None)


def _of_runs(points: pl.DataFrame, name: str, words: Words) -> Outcome:
    if points.is_empty():
        return Absent(name, words.absent)
    panels = []
    for _, part in points.group_by(PHOTOS, maintain_order=True):
        where = shorten(f"{part['benchmark'][0]}, {part[COMPETING][0]}", 40)
        panels += [
            Panel(f"{title} ({where})".strip(), [shorten(label, 40) for label in labels], series)
            for title, labels, series in _own_panels(part, name, words)
        ]
    if not panels:
        return Absent(name, "the runs hold no two models that differ only in backbone or training data.")
    what = (
        f"{words.contrast.name} (points)"
        if name in _DROPS
        else f"Accuracy (percent) on {words.on_left} and on {words.on_right}"
    )
    caption = (
        f"{what} of the models of the runs, with 95 % intervals. Of models with one backbone and data set, "
        "figures 6 to 9 show the first."
    )
    return _draw(own(f"figure-{name}"), panels, caption, None, difference=words.contrast.name)


def _own_panels(
    points: pl.DataFrame, name: str, words: Words
) -> Iterator[tuple[str, Sequence[str], list[Bars]]]:
    """Return title, labels and series of models measured on the same photos with the same candidate names."""
    measures = ("drop",) if name in _DROPS else GROUPS
    if name == "5":
        for part in points.iter_slices(_PER_LINE):
            yield "", part["shown"].to_list(), _series(part, measures, words)
        return
    fixed, varied = ("pretrain_dataset", "backbone") if name == "7" else ("backbone", "pretrain_dataset")
    for _, part in points.drop_nulls([fixed, varied]).group_by(fixed, *_ASKED, maintain_order=True):
        first = part.filter(part[varied].is_first_distinct())
        if len(first) > 1 and (name != "9" or {"clip", "imagenet"} <= set(part["family"])):
            title = ", ".join(filter(None, (part[fixed][0], part["prompts"][0])))
            yield shorten(title, 40), first[varied].to_list(), _series(first, measures, words)


def _series(part: pl.DataFrame, measures: Sequence[str], words: Words) -> list[Bars]:
    titles = dict(zip((*GROUPS, "drop"), (words.left, words.right, words.contrast.name), strict=True))
    return [
        Bars(
            measure,
            (100 * part[measure]).to_list(),
            [
                shade(family, size) if measure == "drop" else group_colours(family)[measure]
                for family, size in zip(part["family"], part["data_size"], strict=True)
            ],
            part.select(pl.col(f"{measure}_low", f"{measure}_high") * 100).rows(),
            label=titles[measure],
        )
        for measure in measures
    ]


def _draw(
    stem: str,
    panels: Sequence[Panel],
    caption: str,
    mine: pl.DataFrame | None,
    *,
    notes: tuple[str, ...] = (),
    difference: str = "drop",
) -> Drawing:
    """Draw two panels side by side if they have few labels, else one below the other."""
    most = max(len(panel.labels) for panel in panels)
    columns = 1 if most > 6 or len(panels) == 1 else 2
    longest = max(len(label) for panel in panels for label in panel.labels)
    drop = panels[0].series[0].name == "drop"
    label = f"{difference} (points)" if drop else "accuracy (%)"
    figure, grid = panel_grid(len(panels), columns, 2.5 if longest > 12 else 2.0, label)
    upright = columns * most * len(panels[0].series) > 20
    for axes, panel in zip(grid, panels, strict=True):
        draw_bars(axes, panel.labels, panel.series, inside=mine is not None, upright=upright)
        axes.set_title(panel.title)
        if longest > 12:
            for text in axes.get_xticklabels():
                text.set(rotation=25, ha="right", rotation_mode="anchor")
        if mine is not None:
            _draw_measured(axes, panel, mine)
    ticks_to_100(grid[0])
    bar_legend(figure, grid[0])
    return Drawing(stem, figure, caption, notes)


def _draw_measured(axes: Axes, panel: Panel, mine: pl.DataFrame) -> None:
    """Mark what runs measured for the paper's models: a diamond on the bar, with its interval."""
    for k, bars in enumerate(panel.series):
        shift = (k - (len(panel.series) - 1) / 2) * 0.8 / len(panel.series)
        for place, model in enumerate(panel.models):
            rows = mine.filter(paper_model=model)
            if rows.is_empty():
                continue
            value, low, high = (
                100 * rows[f"{bars.name}{end}"].cast(pl.Float64).to_numpy() for end in ("", "_low", "_high")
            )
            axes.errorbar(
                np.full(len(rows), place + shift),
                value,
                np.abs([low - value, high - value]),
                fmt="D",
                markersize=3,
                color=INK,
                markerfacecolor="white",
                elinewidth=0.7,
                label="measured",
            )


_LONGEST = 24
_GROUPS_PER_LINE = 24
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
    lines = -(-len(sizes) // _GROUPS_PER_LINE)
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
