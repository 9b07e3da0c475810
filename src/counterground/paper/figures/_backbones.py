"""Figures 5 to 9: accuracies and drops by backbone and by training data, as bars."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from counterground.findings import Words
from counterground.metrics import COMPETING, GROUPS, SETTING
from counterground.paper.figures._bars import Bars, bar_legend, draw_bars, ticks_to_100
from counterground.paper.figures._material import (
    PHOTOS,
    Absent,
    Drawing,
    Material,
    Outcome,
    distinct_notes,
    own,
    own_points,
    paper_points,
)
from counterground.paper.figures._style import INK, group_colours, panel_grid, shade, shorten
from counterground.published import load_table

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
