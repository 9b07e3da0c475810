"""Figures 3 to 10 and 15: bars with their values written on them, and with intervals where there are any."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from counterground.comparison import run_names
from counterground.findings import DROP_WORDS, Words
from counterground.metrics import COMPETING, GROUPS, KEYS, SETTING
from counterground.paper.figures._material import (
    PHOTOS,
    Absent,
    Drawing,
    Material,
    Outcome,
    StudyResults,
    distinct_notes,
    own,
    points_of,
    shorten,
    tint,
)
from counterground.paper.style import INK, SMALL, TINY, panel_grid
from counterground.published import load_table
from counterground.reporting.shell import FAMILY_COLOURS
from counterground.reporting.shown_photos import on_sides
from counterground.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from counterground.results import Run

Bounds = tuple[float | None, float | None]
_CAPTIONS = {
    "5": "Common and counter accuracy (percent): (a) LAION400M by backbone, (b) ViT/B/32 by training data.",
    "6": "Common and counter accuracy (percent) by training data: (a) ViT/B/16, (b) ViT/L/14.",
    "7": "Common and counter accuracy (percent) by backbone: (a) LAION2B, (b) OpenAI.",
    "8": "Drop (points) by training data: (a) ViT/B/16, (b) ViT/L/14.",
    "9": "Drop (points) of CLIPs and of the ImageNet model of the same backbone: (a) ViT/B/16, (b) ViT/B/32.",
    "10": "ColoredCOCO: accuracy (percent) before and after fine-tuning, as printed (Table 7).",
}
_SHARED = [name for name in SETTING if name != COMPETING]
"""Settings that the models of a panel share, besides photos and competing names."""
_DROPS = ("8", "9")
_STRENGTH = 0.8  # the paper's share of training photos on the colour of their class
_PER_LINE, _CLASSES_PER_LINE = 12, 24
_MOST_CLASSES, _MOST_DROPS = 192, 48
_MARKED = " †: contradicted elsewhere in the paper."


@dataclass(frozen=True)
class Bars:
    """One series of bars.

    Attributes:
        name: in the legend.
        values: heights in percent or points; None where there is no bar.
        colour: of all bars, or of each.
        intervals: low and high ends in the same units, or empty.
    """

    name: str
    values: Sequence[float | None]
    colour: str | Sequence[str]
    intervals: Sequence[Bounds] = ()


@dataclass(frozen=True)
class Panel:
    """One panel of bars: title, labels, series."""

    title: str
    labels: Sequence[str]
    series: Sequence[Bars]


def draw_bars(axes: Axes, panel: Panel, *, size: float = SMALL, upright: bool = False) -> None:
    """Draw series side by side; a bar without a value is left out, never drawn as 0.

    Values are written at the ends of bars, beyond intervals. All series but the first are hatched.

    Args:
        axes: where to draw.
        panel: what to draw; each series has as many bars as there are labels.
        size: font size of the values written on bars, in points.
        upright: whether to turn these texts by 90 degrees, if bars are close.
    """
    places, width = np.arange(len(panel.labels)), 0.8 / len(panel.series)
    for k, one in enumerate(panel.series):
        values, counts = np.array(one.values, dtype=float), all(isinstance(v, int) for v in one.values)
        ends = np.array(one.intervals, dtype=float).T
        bars = axes.bar(
            places + (k - (len(panel.series) - 1) / 2) * width,
            values,
            0.94 * width,
            yerr=np.nan_to_num(np.abs(ends - values)) if one.intervals else None,
            label=one.name,
            color=one.colour,
            edgecolor=INK,
            linewidth=0.4,
            hatch="////" if k else None,
            error_kw={"ecolor": INK, "elinewidth": 0.6},
        )
        texts = [str(v) if counts else percent(None if v is None else v / 100) for v in one.values]
        box = {"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none"}
        axes.bar_label(bars, texts, rotation=90 if upright else 0, padding=1.5, fontsize=size, bbox=box)
    axes.set_title(panel.title)
    axes.set_xticks(places, panel.labels)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(panel.labels) - 0.4)
    axes.margins(y=0.35 if upright else 0.12)
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.grid(axis="y")


def draw_panels(
    stem: str,
    panels: Sequence[Panel],
    label: str,
    caption: str,
    *,
    notes: tuple[str, ...] = (),
    sharex: bool = False,
) -> Drawing:
    """Draw panels of bars: two side by side if they have few labels, else one below the other.

    Args:
        stem: of the files.
        panels: what to draw.
        label: of their y-axis.
        caption: what they show.
        notes: on their numbers.
        sharex: whether all have the same labels, which are then written once.
    """
    most = max(len(panel.labels) for panel in panels)
    long = max(len(label) for panel in panels for label in panel.labels) > 12
    columns = 1 if sharex or most > 6 or len(panels) == 1 else 2
    crowded = most > _PER_LINE
    height = 1.4 if sharex and len(panels) > 1 else 2.5 if long else 2.1
    figure, grid = panel_grid(len(panels), columns, height, label, sharex=sharex)
    upright = crowded or columns * most * len(panels[0].series) > 20
    for axes, panel in zip(grid, panels, strict=True):
        draw_bars(axes, panel, size=TINY if crowded else SMALL, upright=upright)
        axes.set_xlim(-0.6, most - 0.4)
        if crowded or long:
            axes.tick_params(axis="x", labelrotation=90, labelsize=TINY + 0.5)
    if label != "photos":  # nothing is beyond 100 percent or points
        low, high = (max(-100, min(100, end)) for end in grid[0].get_ylim())
        grid[0].set_yticks([tick for tick in grid[0].get_yticks() if low <= tick <= high])
    handles, names = grid[0].get_legend_handles_labels()
    if len(names) > 1:
        columns = len(names) if max(map(len, names)) < 24 else 1
        figure.legend(handles, names, loc="outside upper right", ncols=columns)
    return Drawing(stem, figure, caption, notes)


def _colour(measure: str, family: str = "clip") -> str:
    """Return the family's colour; its tint on the counter side, distinguishable without colour too."""
    return tint(FAMILY_COLOURS[family], 0.4 if measure in ("counter", "out_of_distribution") else 1)


def _bars(part: pl.DataFrame, column: str, name: str, colour: str | Sequence[str]) -> Bars:
    """Return the bars of a column of fractions, with the intervals in ``<column>_low`` and ``_high``."""
    ends = part.select(pl.col(f"{column}_low", f"{column}_high") * 100)
    return Bars(name, (100 * part[column]).to_list(), colour, ends.rows())


def draw_bar_figure(material: Material, name: str) -> list[Outcome]:
    """Draw figure ``name`` (5 to 10) of the paper, and of the runs or, for 10, of the studies."""
    outcomes: list[Outcome] = [_printed(name)] if material.published else []
    if name == "10":
        return outcomes + [_objectives(*each) for each in enumerate(material.of_study("coloredcoco"))]
    return [*outcomes, _of_runs(material, name)] if material.runs else outcomes


def _printed(name: str) -> Drawing:
    rows = load_table("figure_bars").filter(pl.col("figure").str.contains(rf"^Figure {name}\b"))
    panels = []
    for (figure,), part in rows.group_by("figure", maintain_order=True):
        series = [
            Bars(
                str(kind).replace("_", " "),
                bars["value"].to_list(),
                [_colour(str(kind), "imagenet" if each == "ImageNet" else "clip") for each in bars["label"]],
            )
            for (kind,), bars in part.group_by("series", maintain_order=True)
        ]
        title = f"{str(figure).removeprefix(f'Figure {name}')} {part['fixed'][0]}"
        panels.append(Panel(title, part["label"].unique(maintain_order=True).to_list(), series))
    label = "drop (points)" if name in _DROPS else "accuracy (%)"
    return draw_panels(f"figure-{name}", panels, label, _CAPTIONS[name], notes=distinct_notes(rows))


def _objectives(place: int, study: StudyResults) -> Drawing:
    results = study.table
    at = min(results["strength"].drop_nulls(), key=lambda strength: abs(strength - _STRENGTH))
    sides = {"id": "in distribution", "ood": "out of distribution"}
    # Models before fine-tuning have a row per strength too: it decides which photos are in distribution.
    panels = [
        Panel(
            shorten(str(model)),
            part["objective"].to_list(),
            [_bars(part, side, name, _colour(name.replace(" ", "_"))) for side, name in sides.items()],
        )
        for (model,), part in results.filter(strength=at).group_by("model", maintain_order=True)
    ]
    caption = (
        f"Coloured objects: accuracy (percent) before and after fine-tuning with {100 * at:g} % of the "
        f"training photos on the colour of their class, from {study.folder.name}. Lines: 95 % intervals over "
        "seeds."
    )
    return draw_panels(own("figure-10", place), panels, "accuracy (%)", caption)


def _of_runs(material: Material, name: str) -> Outcome:
    points, words = points_of(material), material.words
    if points.is_empty():
        return Absent(name, words.absent)
    panels = [
        panel
        for _, part in points.group_by(PHOTOS, maintain_order=True)
        for panel in _own_panels(part, name, words)
    ]
    if not panels:
        return Absent(name, "the runs hold no two models that differ only in backbone or training data.")
    what = f"Accuracy (percent) on {words.on_left} and on {words.on_right}"
    label = "accuracy (%)"
    if name in _DROPS:
        what = label = f"{words.contrast.name} (points)"
    caption = (
        f"{what} of the models of the runs, with 95 % intervals. Of models with one backbone and data set, "
        "figures 6 to 9 show the first."
    )
    return draw_panels(own(f"figure-{name}"), panels, label, caption)


def _own_panels(points: pl.DataFrame, name: str, words: Words) -> Iterator[Panel]:
    """Return panels of models measured on the same photos with the same candidate names."""
    where = shorten(f"{points['benchmark'][0]}, {points[COMPETING][0]}")
    measures = dict(zip(GROUPS, (words.left, words.right), strict=True))
    if name in _DROPS:
        measures = {"drop": words.contrast.name}

    def panel(title: str, part: pl.DataFrame, labels: str) -> Panel:
        series = [
            _bars(part, measure, shown, [_colour(measure, family) for family in part["family"]])
            for measure, shown in measures.items()
        ]
        return Panel(f"{title} ({where})".strip(), [shorten(text) for text in part[labels]], series)

    if name == "5":
        for part in points.iter_slices(_PER_LINE):
            yield panel("", part, "shown")
        return
    fixed, varied = ("pretrain_dataset", "backbone") if name == "7" else ("backbone", "pretrain_dataset")
    for _, part in points.drop_nulls([fixed, varied]).group_by(fixed, *_SHARED, maintain_order=True):
        first = part.filter(part[varied].is_first_distinct())
        if len(first) > 1 and (name != "9" or {"clip", "imagenet"} <= set(part["family"])):
            title = ", ".join(filter(None, (part[fixed][0], part["prompts"][0])))
            yield panel(shorten(title), first, varied)


def _named(rows: pl.DataFrame) -> pl.DataFrame:
    """Add the printed name of each class; † marks those that a note contradicts."""
    names = load_table("classes").select(
        class_id="id", name=pl.col("imagenet_full_name").str.split(",").list.first()
    )
    mark = pl.when(pl.col("note").is_not_null().any().over("class_id")).then(pl.lit(" †"))
    joined = rows.join(names, on="class_id", maintain_order="left")
    return joined.with_columns(pl.col("name") + mark.otherwise(pl.lit("")))


def draw_group_sizes(material: Material) -> list[Outcome]:
    """Draw figure 3: photos of each class and group, in the paper and in the benchmark of each run."""
    outcomes: list[Outcome] = []
    if material.published:
        sizes = _named(load_table("group_sizes"))
        caption = f"Photos of each class in the common and the counter group, as printed.{_MARKED}"
        outcomes.append(_sizes("figure-3", sizes, caption, notes=distinct_notes(sizes)))
    words = material.words
    runs = {run.info.benchmark.version: run for run in material.runs}
    for place, run in enumerate(runs.values()):
        name = run.info.benchmark.name
        rows = on_sides(run.predictions, words.contrast).filter(pl.col("group").is_in(GROUPS))
        if rows.is_empty():
            outcomes.append(Absent("3", f"{name} has no photos on {words.on_left} or {words.on_right}."))
            continue
        photos = rows.unique(["path", "class_index", "group"]).group_by("class_index", name="class_name")
        sizes = photos.agg(**{f"n_{group}": (pl.col("group") == group).sum() for group in GROUPS})
        caption = (
            f"Photos of each class on {words.left} and {words.right} of {name}; of the largest "
            f"{_MOST_CLASSES} classes."
        )
        outcomes.append(_sizes(own("figure-3", place), sizes.sort("class_index"), caption, words))
    return outcomes


def _sizes(
    stem: str, sizes: pl.DataFrame, caption: str, words: Words = DROP_WORDS, notes: tuple[str, ...] = ()
) -> Drawing:
    if len(sizes) > _MOST_CLASSES:
        sizes = sizes.top_k(_MOST_CLASSES, by=pl.col("n_common") + pl.col("n_counter"))
    lines = -(-len(sizes) // _CLASSES_PER_LINE)
    titles = dict(zip(GROUPS, (words.left, words.right), strict=True))
    panels = [
        Panel(
            "",
            _labels(part),
            [Bars(titles[group], part[f"n_{group}"].to_list(), _colour(group)) for group in GROUPS],
        )
        for part in sizes.iter_slices(-(-len(sizes) // lines))
    ]
    return draw_panels(stem, panels, "photos", caption, notes=notes)


def _labels(part: pl.DataFrame) -> list[str]:
    return [shorten(name, 24) for name in part["name"]]


def draw_class_drops(material: Material, figure: str, models: int = 1) -> list[Outcome]:
    """Draw the drop of each class: of the referee (figure 4), of several models (15), and of the runs'."""
    outcomes: list[Outcome] = []
    stem, label = f"figure-{figure}", "drop (points)"
    if material.published:
        printed = pl.col("figure").str.contains(rf"^Figure {figure}\b")
        rows = _named(load_table("figure_class_drops").filter(printed))
        panels = [
            Panel(
                f"{str(name).removeprefix(f'Figure {figure}')} {part['model'][0]}".strip(),
                _labels(part),
                [Bars("drop", part["drop"].to_list(), _colour("drop"))],
            )
            for (name,), part in rows.group_by("figure", maintain_order=True)
        ]
        caption, notes = f"Drop (points) of each class, as printed.{_MARKED}", distinct_notes(rows)
        outcomes.append(draw_panels(stem, panels, label, caption, notes=notes, sharex=True))
    return [*outcomes, _own_drops(figure, models, material)] if material.runs else outcomes


def _own_drops(figure: str, most: int, material: Material) -> Outcome:
    contrast = material.words.contrast
    drops = [
        each
        for run, name in zip(material.runs, run_names(material.runs), strict=True)
        for each in _drops_of(run, name, material.words)
    ][:most]
    if not drops:
        return Absent(figure, material.words.absent)
    family = dict(points_of(material).select("model", "family").iter_rows())
    means = pl.concat(drops).group_by("class_index", "name").agg(pl.col("drop").mean())
    order = means.sort("drop", "name", descending=[True, False]).head(_MOST_DROPS).drop("drop")
    panels = []
    for part in drops:
        found = order.join(part.drop("name"), on="class_index", how="left", maintain_order="left")
        colour = _colour("drop", family.get(part["model"][0], "other"))
        panels.append(Panel(part["title"][0], _labels(found), [_bars(found, "drop", "drop", colour)]))
    label = f"{contrast.name} (points)"
    caption = (
        f"{label} of each class with photos on both sides, largest mean first, at most {_MOST_DROPS} classes "
        "and 8 models, with 95 % intervals."
    )
    return draw_panels(own(f"figure-{figure}"), panels, label, caption, sharex=True)


def _drops_of(run: Run, name: str, words: Words) -> Iterator[pl.DataFrame]:
    """Yield the drop of each class, for each model and setting of a run."""
    wanted = words.contrast.difference_key._asdict().items()
    rows = run.estimates(words.contrast).filter(
        pl.all_horizontal(pl.col(column).eq_missing(value) for column, value in wanted)
    )
    names = run.predictions.select("class_index", name="class_name").unique("class_index")
    columns = ("class_index", "name", "model", pl.col("value", "low", "high"))
    for key, part in rows.drop_nulls(["class_index", "value"]).group_by(KEYS, maintain_order=True):
        title = shorten(f"{key[0]} ({', '.join([name, *map(str, filter(None, key[1:]))])})", 80)
        drops = part.join(names, on="class_index").select(*columns, title=pl.lit(title))
        yield drops.rename({"value": "drop", "low": "drop_low", "high": "drop_high"})
