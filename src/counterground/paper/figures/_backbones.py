"""Figures 5 to 9: accuracies and drops by backbone and by training data, as bars."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from counterground.metrics import GROUPS, SETTING
from counterground.paper.figures._bars import (
    Bars,
    bar_legend,
    draw_bars,
    lies_flat,
    room_for_texts,
    scale_in_points,
)
from counterground.paper.figures._families import shade
from counterground.paper.figures._material import (
    Absent,
    Drawing,
    Material,
    Outcome,
    distinct_notes,
    own,
)
from counterground.paper.figures._points import PHOTOS, own_points, paper_points
from counterground.paper.figures._style import (
    COLUMN,
    INK,
    PAGE,
    TITLE,
    group_colours,
    in_percent,
    new_figure,
    rule,
    shorten,
    wrap,
)
from counterground.published import load_table
from counterground.reporting.words import DROP_WORDS, Words
from counterground.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_CAPTIONS = {
    "5": "Common and counter accuracy (percent): (a) LAION400M by backbone, (b) ViT/B/32 by training data.",
    "6": "Common and counter accuracy (percent) by training data: (a) ViT/B/16, (b) ViT/L/14.",
    "7": "Common and counter accuracy (percent) by backbone: (a) LAION2B, (b) OpenAI.",
    "8": "Drop (points) by training data, paler for less of it: (a) ViT/B/16, (b) ViT/L/14.",
    "9": "Drop (points) of CLIPs and of the ImageNet model of the same backbone: (a) ViT/B/16, (b) ViT/B/32.",
}
_OWN = {
    "5": ("all models", "Common and counter accuracy (percent) of the models of the runs."),
    "6": ("backbone", "Common and counter accuracy (percent) by training data, one panel for each backbone."),
    "7": ("data", "Common and counter accuracy (percent) by backbone, one panel for each training data set."),
    "8": ("backbone", "Drop (points) by training data, paler for less of it, one panel for each backbone."),
    "9": ("both kinds", "Drop (points) of CLIPs and of ImageNet models of the same backbone."),
}
_LACK = {
    "backbone": "the runs hold no two models with one backbone and different training data.",
    "data": "the runs hold no two models with one training data set and different backbones.",
    "both kinds": "the runs hold no CLIP and ImageNet model of one backbone.",
}
_ONE_PROMPT = "simple"
_ASKED = [name for name in SETTING if name != "label_space"]
"""Settings that the models of a panel share, besides photos and competing names."""
_PER_LINE = 12
_AXES, _TEXT, _UPRIGHT = 105.0, 10.0, 21.0  # points: room for the axes of a panel, a text there
_LINE, _LABELS = 0.13, 0.55  # inches: a line of a title, tilted labels
_WIDE = 24  # characters in a line of a label


@dataclass(frozen=True)
class Panel:
    """One panel of bars: title, labels, series, the paper's models, and the photos and names (``where``).

    ``left_out`` names models that differ from a drawn one neither in backbone nor in training data.
    """

    title: str
    labels: Sequence[str]
    series: Sequence[Bars]
    models: Sequence[str] = ()
    where: str = ""
    left_out: Sequence[str] = ()


def draw_bar_figure(material: Material, name: str) -> list[Outcome]:
    """Draw figure ``name`` (5 to 9) of the paper and of the runs."""
    points = own_points(material) if material.runs else None
    outcomes: list[Outcome] = []
    if material.published:
        outcomes.append(_published(name, points))
    if points is not None:
        outcomes.append(_of_runs(points, name, material.words))
    return outcomes


def _published(name: str, points: pl.DataFrame | None) -> Drawing:
    """Draw the printed bars, with the value of any of these models that a run measured on the same photos."""
    rows = load_table("figure_bars").filter(pl.col("figure").str.starts_with(f"Figure {name}("))
    panels = []
    for (figure,), part in rows.group_by("figure", maintain_order=True):
        title = f"{str(figure).removeprefix(f'Figure {name}')} {part['fixed'][0]}"
        panels.append(Panel(title, *_columns(part)))
    models = {model for panel in panels for model in panel.models}
    same = pl.col("comparable") & pl.col("paper_model").is_in(sorted(models))
    mine = None if points is None or points.filter(same).is_empty() else points.filter(same)
    caption = _CAPTIONS[name] + ("" if mine is None else _measured(mine))
    return _draw(f"figure-{name}", panels, caption, mine, distinct_notes(rows))


def _measured(mine: pl.DataFrame) -> str:
    """Return what the caption says about diamonds; prompts concern CLIPs only, and printed bars have one."""
    caption = " Diamonds: measured in the runs, with 95 % intervals."
    prompts = mine.filter(family="clip")["prompts"].drop_nulls().unique(maintain_order=True).to_list()
    if any(each != _ONE_PROMPT for each in prompts):
        caption += f" Prompts of these CLIPs: {', '.join(prompts)}; printed bars have one prompt."
    return caption


def _columns(part: pl.DataFrame) -> tuple[list[str], list[Bars], list[str]]:
    """Return labels, series and the paper's models of one printed panel, in printed order."""
    labels = part["label"].unique(maintain_order=True).to_list()
    series = []
    for (kind,), rows in part.group_by("series", maintain_order=True):
        values = dict(zip(rows["label"], rows["value"], strict=True))
        if kind == "drop":
            colours = [_data_colour(label) for label in labels]
        else:
            colours = [group_colours()[str(kind)]] * len(labels)
        series.append(_bars(str(kind), [values[label] for label in labels], colours))
    fixed, varied = part["fixed"][0], part["varied"][0]
    return labels, series, [_model(fixed, label, varied) for label in labels]


def _model(fixed: str, label: str, varied: str) -> str:
    if label == "ImageNet":
        return fixed
    return f"CLIP-{fixed}-{label}" if varied == "backbone" else f"CLIP-{label}-{fixed}"


def _bars(
    kind: str,
    values: Sequence[float | None],
    colours: Sequence[str],
    intervals: Sequence[tuple[float | None, float | None]] = (),
) -> Bars:
    return Bars(kind, values, colours, intervals, hatch="////" if kind == "counter" else "")


def _data_colour(dataset: str) -> str:
    """Return the colour of a drop's bar: its family's, in the shade of its data."""
    family, name = ("imagenet", "ImageNet-1K") if dataset == "ImageNet" else ("clip", dataset)
    sizes = paper_points("one-prompt").filter(family=family, pretrain_dataset=name)["data_size"].drop_nulls()
    return shade(family, int(sizes[0]) if len(sizes) else None)


def _of_runs(points: pl.DataFrame, name: str, words: Words) -> Outcome:
    kind, caption = _OWN[name]
    if not words.is_drop:
        caption = caption.replace(
            "Common and counter accuracy", f"Accuracy on {words.left} and {words.right}"
        )
        caption = caption.replace("Drop (points)", f"{words.contrast} (points),")
    if points.is_empty():
        return Absent(name, words.absent)
    measures = ("drop",) if name in ("8", "9") else GROUPS
    panels = [
        panel
        for (_, space, _), part in points.group_by(PHOTOS, maintain_order=True)
        for panel in _own_panels(part, kind, measures, f"{part['benchmark'][0]}, {space}", words=words)
    ]
    if not panels:
        return Absent(name, _LACK[kind])
    where = list(dict.fromkeys(panel.where for panel in panels))
    if len(where) > 1:
        panels = [replace(panel, title=f"{panel.title} ({panel.where})".strip()) for panel in panels]
    caption += f" Measured on {'; '.join(where)}. Lines: 95 % intervals."
    if left_out := list(dict.fromkeys(name for panel in panels for name in panel.left_out)):
        caption += (
            " Not drawn, because an earlier model of the runs has the same backbone and training data: "
            f"{', '.join(left_out)}."
        )
    return _draw(own(f"figure-{name}"), panels, caption, None, (), words=words)


def _own_panels(
    points: pl.DataFrame, kind: str, measures: Sequence[str], where: str, *, words: Words
) -> list[Panel]:
    """Return the panels of models that were measured on the same photos with the same competing names."""
    if kind == "all models":
        lines = -(-len(points) // _PER_LINE)
        each = -(-len(points) // lines)
        starts = range(0, len(points), each)
        return [_own_panel("", points[k : k + each], "shown", measures, where, words=words) for k in starts]
    fixed, varied = ("pretrain_dataset", "backbone") if kind == "data" else ("backbone", "pretrain_dataset")
    parts = [
        part
        for _, part in points.drop_nulls([fixed, varied]).group_by(fixed, *_ASKED, maintain_order=True)
        if part[varied].n_unique() > 1
        and (kind != "both kinds" or {"clip", "imagenet"} <= set(part["family"]))
    ]
    return [
        _distinct_panel(_panel_title(part, fixed, parts), part, varied, measures, where, words=words)
        for part in parts
    ]


def _panel_title(part: pl.DataFrame, fixed: str, parts: Sequence[pl.DataFrame]) -> str:
    """Return what its models share, and the settings in which similar panels differ."""
    alike = [other for other in parts if other[fixed][0] == part[fixed][0]]
    differ = [name for name in _ASKED if len({other[name][0] for other in alike}) > 1]
    values = [str(part[name][0]) for name in differ if part[name][0] is not None]
    extra = f" ({', '.join(values)})" if values else ""
    return f"{part[fixed][0]}{extra}"


def _distinct_panel(
    title: str, part: pl.DataFrame, varied: str, measures: Sequence[str], where: str, *, words: Words
) -> Panel:
    """Return a panel with one bar per backbone or data set: that of its first model, in order of the runs."""
    first = part[varied].is_first_distinct()
    panel = _own_panel(title, part.filter(first), varied, measures, where, words=words)
    return replace(panel, left_out=part.filter(~first)["shown"].to_list())


def _own_panel(
    title: str, part: pl.DataFrame, varied: str, measures: Sequence[str], where: str, *, words: Words
) -> Panel:
    titles = dict(zip((*GROUPS, "drop"), (words.left, words.right, words.contrast.name), strict=True))
    series = []
    for measure in measures:
        values = [100 * value for value in part[measure]]
        ends = [part[f"{measure}_{end}"] for end in ("low", "high")]
        bounds = [(in_percent(low), in_percent(high)) for low, high in zip(*ends, strict=True)]
        colours = [
            shade(family, size) if measure == "drop" else group_colours(family)[measure]
            for family, size in zip(part["family"], part["data_size"], strict=True)
        ]
        series.append(replace(_bars(measure, values, colours, bounds), label=titles[measure]))
    # Names differ at both ends; what a model was trained on may be a sentence.
    sentences = varied == "pretrain_dataset"
    labels = [wrap(label, _WIDE) if sentences else shorten(label, 40) for label in part[varied]]
    return Panel(one_line(title), labels, series, where=one_line(where))


def _draw(
    stem: str,
    panels: Sequence[Panel],
    caption: str,
    mine: pl.DataFrame | None,
    notes: tuple[str, ...],
    *,
    words: Words = DROP_WORDS,
) -> Drawing:
    """Draw two panels side by side if they have few labels, else one below the other."""
    most = max(len(panel.labels) for panel in panels)
    columns = 1 if most > 6 or len(panels) == 1 else 2
    rows = -(-len(panels) // columns)
    longest = max(len(line) for panel in panels for label in panel.labels for line in label.split("\n"))
    tilted = longest > 12
    drop = panels[0].series[0].name == "drop"
    few = len(panels) == 1 and most < 6 and not tilted
    width = COLUMN if few else PAGE
    titles = [wrap(panel.title, TITLE[COLUMN if few or columns == 2 else PAGE]) for panel in panels]
    extra = max(title.count("\n") for title in titles) * _LINE + _LABELS * tilted
    figure = new_figure(width, (2.0 + extra) * rows + 0.2 * (not drop))
    if rows > 1:  # a title keeps clear of the labels above it
        figure.set_layout_engine("constrained", h_pad=0.05)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    upright = not lies_flat((width * 72 - 40) / columns, most, panels[0].series)
    for axes, panel, title in zip(grid, panels, titles, strict=False):
        draw_bars(axes, panel.labels, panel.series, at_base=mine is not None, upright=upright)
        if columns == 1:
            axes.set_xlim(-0.6, most - 0.4)
        axes.set_title(title)
        rule(axes)
        if tilted:
            for label in axes.get_xticklabels():
                label.set(rotation=25, ha="right", rotation_mode="anchor")
        if mine is not None:
            _draw_measured(axes, panel, mine)
    for axes in grid[len(panels) :]:
        axes.set_visible(False)
    for row in range(rows):
        grid[row * columns].set_ylabel(f"{words.contrast.name} (points)" if drop else "accuracy (%)")
    _limit(grid[0], panels, mine, _UPRIGHT if upright else _TEXT)
    bar_legend(figure, grid)
    cut = [panel.title for panel, title in zip(panels, titles, strict=True) if title.endswith("…")]
    return Drawing(stem, figure, caption + "".join(f" In full: {title}." for title in cut), notes)


def _draw_measured(axes: Axes, panel: Panel, mine: pl.DataFrame) -> None:
    """Mark what runs measured for the paper's models: a diamond on the bar, with its interval."""
    width = 0.8 / len(panel.series)
    for k, bars in enumerate(panel.series):
        for place, model in enumerate(panel.models):
            x = place + (k - (len(panel.series) - 1) / 2) * width
            for row in mine.filter(paper_model=model).iter_rows(named=True):
                value = 100 * row[bars.name]
                low, high = (in_percent(row[f"{bars.name}_{end}"]) for end in ("low", "high"))
                reach = None
                if low is not None and high is not None:  # rounding may put the value beyond an end
                    reach = [[max(value - low, 0)], [max(high - value, 0)]]
                drawn = axes.errorbar(
                    x, value, reach, fmt="D", markersize=3, color=INK, markerfacecolor="white", elinewidth=0.7
                )
                drawn.set_label("measured")


def _limit(axes: Axes, panels: Sequence[Panel], mine: pl.DataFrame | None, text: float) -> None:
    """Set the limits of the axis that all panels share, with room for numbers and intervals."""
    series = [bars for panel in panels for bars in panel.series]
    heights = [value for bars in series for value in bars.values if value is not None]
    ends = [end for bars in series for pair in bars.intervals for end in pair if end is not None]
    if mine is not None:
        columns = [f"{bars.name}{end}" for bars in series for end in ("", "_low", "_high")]
        heights += [100 * value for column in columns for value in mine[column].drop_nulls()]
    low, high = room_for_texts(min([0.0, *heights]), max([1.0, *heights]), _AXES, text, ends)
    scale_in_points(axes, low, high)
    if low < 0:
        for each in axes.figure.axes:
            each.axhline(0, color=INK, linewidth=0.6)
