"""Figures 3 to 10 and 15: bars with their values written on them, and with intervals where there are any."""

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
    PHOTOS,
    Absent,
    Drawing,
    Material,
    Outcome,
    StudyResults,
    distinct_notes,
    group_colours,
    own,
    points_of,
    shade,
    shorten,
)
from counterground.paper.style import INK, SMALL, TINY, panel_grid
from counterground.published import load_table
from counterground.reporting.shell import FAMILY_COLOURS
from counterground.reporting.shown_photos import class_facts, on_sides
from counterground.results import ModelScores, regroup
from counterground.text import percent

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from counterground.results import Run

Bounds = tuple[float | None, float | None]
_CAPTIONS = {
    "5": "Common and counter accuracy (percent): (a) LAION400M by backbone, (b) ViT/B/32 by training data.",
    "6": "Common and counter accuracy (percent) by training data: (a) ViT/B/16, (b) ViT/L/14.",
    "7": "Common and counter accuracy (percent) by backbone: (a) LAION2B, (b) OpenAI.",
    "8": "Drop (points) by training data, paler for less of it: (a) ViT/B/16, (b) ViT/L/14.",
    "9": "Drop (points) of CLIPs and of the ImageNet model of the same backbone: (a) ViT/B/16, (b) ViT/B/32.",
    "10": "ColoredCOCO: accuracy (percent) before and after fine-tuning, as printed (Table 7).",
}
_OBJECTIVES = {"in_distribution": ("common", "id"), "out_of_distribution": ("counter", "ood")}
_SHARED = [name for name in SETTING if name != COMPETING]
"""Settings that the models of a panel share, besides photos and competing names."""
_DROPS = ("8", "9")
_STRENGTH = 0.8  # the paper's share of training photos on the colour of their class
_PER_LINE, _CLASSES_PER_LINE = 12, 24
_MOST_CLASSES, _MOST_DROPS = 192, 48
_MARKED = " †: contradicted elsewhere in the paper."


@dataclass(frozen=True)
class Bars:
    """One series of bars: heights, a colour for each, and what to write on them.

    Attributes:
        name: what the bars show.
        values: heights in percent or points; None where there is no bar.
        colours: one for each bar.
        intervals: low and high ends in the same units, or empty.
        label: name in the legend; ``name`` by default.
    """

    name: str
    values: Sequence[float | None]
    colours: Sequence[str]
    intervals: Sequence[Bounds] = ()
    label: str = ""


@dataclass(frozen=True)
class Panel:
    """One panel of bars: title, labels, series, and the paper's models that they are of."""

    title: str
    labels: Sequence[str]
    series: Sequence[Bars]
    models: Sequence[str] = ()


def draw_bars(
    axes: Axes, panel: Panel, *, size: float = SMALL, upright: bool = False, inside: bool = False
) -> None:
    """Draw series side by side; a bar without a value is left out, never drawn as 0.

    Values are written at the ends of bars, beyond intervals. All series but the first are hatched.

    Args:
        axes: where to draw.
        panel: what to draw; each series has as many bars as there are labels.
        size: font size of the values written on bars, in points.
        upright: whether to turn these texts by 90 degrees, if bars are close.
        inside: whether to write them in the middle of the bars, if something else is at their ends.
    """
    labels, width = panel.labels, 0.8 / len(panel.series)
    for k, one in enumerate(panel.series):
        values, counts = np.array(one.values, dtype=float), all(isinstance(v, int) for v in one.values)
        reach = (
            np.nan_to_num(np.abs(np.array(one.intervals, dtype=float).T - values)) if one.intervals else None
        )
        bars = axes.bar(
            np.arange(len(labels)) + (k - (len(panel.series) - 1) / 2) * width,
            values,
            0.94 * width,
            yerr=reach,
            label=one.label or one.name,
            color=one.colours,
            edgecolor=INK,
            linewidth=0.4,
            hatch="////" if k else None,
            error_kw={"ecolor": INK, "elinewidth": 0.6},
        )
        axes.bar_label(
            bars,
            [str(v) if counts else percent(None if v is None else v / 100) for v in one.values],
            label_type="center" if inside else "edge",
            rotation=90 if upright else 0,
            padding=0 if inside else 1.5,
            fontsize=size,
            bbox={"boxstyle": "square,pad=0.05", "facecolor": "white", "edgecolor": "none"},
        )
    axes.set_title(panel.title)
    axes.set_xticks(range(len(labels)), labels)
    axes.tick_params(axis="x", length=0)
    axes.set_xlim(-0.6, len(labels) - 0.4)
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
    measured: pl.DataFrame | None = None,
) -> Drawing:
    """Draw panels of bars: two side by side if they have few labels, else one below the other.

    Args:
        stem: of the files.
        panels: what to draw.
        label: of their y-axis.
        caption: what they show.
        notes: on their numbers.
        sharex: whether all have the same labels, which are then written once.
        measured: points of runs, marked on the bars of the paper's models.
    """
    most = max(len(panel.labels) for panel in panels)
    longest = max(len(label) for panel in panels for label in panel.labels)
    columns = 1 if sharex or most > 6 or len(panels) == 1 else 2
    crowded = most > _PER_LINE
    height = 1.4 if sharex and len(panels) > 1 else 2.5 if longest > 12 else 2.1
    figure, grid = panel_grid(len(panels), columns, height, label, sharex=sharex)
    upright = crowded or columns * most * len(panels[0].series) > 20
    size, inside = TINY if crowded else SMALL, measured is not None
    for axes, panel in zip(grid, panels, strict=True):
        draw_bars(axes, panel, size=size, upright=upright, inside=inside)
        if crowded:
            axes.tick_params(axis="x", labelrotation=90, labelsize=TINY + 0.5)
            axes.set_xlim(-0.6, most - 0.4)
        elif longest > 12:
            for text in axes.get_xticklabels():
                text.set(rotation=25, ha="right", rotation_mode="anchor")
        if measured is not None:
            _draw_measured(axes, panel, measured)
    low, high = grid[0].get_ylim()
    if label != "photos":  # nothing is beyond 100 percent or points
        grid[0].set_yticks(
            [tick for tick in grid[0].get_yticks() if max(low, -100) <= tick <= min(high, 100)]
        )
    named = dict(zip(*grid[0].get_legend_handles_labels()[::-1], strict=True))
    if len(named) > 1:
        columns = len(named) if max(map(len, named)) < 24 else 1
        figure.legend(list(named.values()), list(named), loc="outside upper right", ncols=columns)
    return Drawing(stem, figure, caption, notes)


def _draw_measured(axes: Axes, panel: Panel, measured: pl.DataFrame) -> None:
    """Mark what runs measured for the paper's models: a diamond on the bar, with its interval."""
    for k, bars in enumerate(panel.series):
        shift = (k - (len(panel.series) - 1) / 2) * 0.8 / len(panel.series)
        for place, model in enumerate(panel.models):
            ends = [pl.col(f"{bars.name}{end}").cast(pl.Float64) * 100 for end in ("", "_low", "_high")]
            rows = measured.filter(paper_model=model).select(ends).to_numpy().T
            if rows.size:
                axes.errorbar(
                    np.full(rows.shape[1], place + shift),
                    rows[0],
                    np.abs(rows[1:] - rows[0]),
                    fmt="D",
                    markersize=3,
                    color=INK,
                    markerfacecolor="white",
                    elinewidth=0.7,
                    label="measured",
                )


def draw_bar_figure(material: Material, name: str) -> list[Outcome]:
    """Draw figure ``name`` (5 to 10) of the paper, and of the runs or, for 10, of the studies."""
    points = points_of(material) if material.runs and name != "10" else None
    outcomes: list[Outcome] = [_printed(name, points)] if material.published else []
    if name == "10":
        return outcomes + [_objectives(*each) for each in enumerate(material.of_study("coloredcoco"))]
    return outcomes if points is None else [*outcomes, _of_runs(points, name, material.words)]


def _printed(name: str, points: pl.DataFrame | None) -> Drawing:
    """Draw the printed bars, with the value of any of these models that a run measured on the same photos."""
    rows = load_table("figure_bars").filter(pl.col("figure").str.starts_with(f"Figure {name}("))
    panels = []
    for (figure,), part in rows.group_by("figure", maintain_order=True):
        labels, fixed = part["label"].unique(maintain_order=True).to_list(), part["fixed"][0]
        series = []
        for (kind,), bars in part.group_by("series", maintain_order=True):
            values, group = (
                dict(bars.select("label", "value").iter_rows()),
                _OBJECTIVES.get(str(kind), (kind,))[0],
            )
            colours = [
                _data_colour(each) if kind == "drop" else group_colours()[str(group)] for each in labels
            ]
            text = str(kind).replace("_", " ")
            series.append(Bars(str(kind), [values[each] for each in labels], colours, label=text))
        title = f"{str(figure).removeprefix(f'Figure {name}')} {fixed}"
        models = [_model(fixed, each, part["varied"][0]) for each in labels]
        panels.append(Panel(title, labels, series, models))
    caption, measured = _CAPTIONS[name], None
    models = [model for panel in panels for model in panel.models]
    if points is not None:
        measured = points.filter(pl.col("comparable") & pl.col("paper_model").is_in(models))
    if measured is None or measured.is_empty():
        measured = None
    else:
        prompts = measured["prompts"].drop_nulls().unique(maintain_order=True)
        caption += (
            " Diamonds: measured in the runs, with 95 % intervals; "
            f"prompts: {', '.join(prompts)}; printed bars have one prompt."
        )
    label = "drop (points)" if name in _DROPS else "accuracy (%)"
    return draw_panels(
        f"figure-{name}", panels, label, caption, notes=distinct_notes(rows), measured=measured
    )


def _model(fixed: str, label: str, varied: str) -> str:
    if label == "ImageNet":
        return fixed
    return f"CLIP-{fixed}-{label}" if varied == "backbone" else f"CLIP-{label}-{fixed}"


def _data_colour(dataset: str) -> str:
    """Return the colour of a drop's bar: its family's, in the shade of its data."""
    family, name = ("imagenet", "ImageNet-1K") if dataset == "ImageNet" else ("clip", dataset)
    sizes = points_of().filter(family=family, pretrain_dataset=name)["data_size"].drop_nulls()
    return shade(family, int(sizes[0]) if len(sizes) else None)


def _objectives(place: int, study: StudyResults) -> Drawing:
    results = study.table
    at = min(results["strength"].drop_nulls(), key=lambda strength: abs(strength - _STRENGTH))
    panels = []
    # Models before fine-tuning have a row per strength too: it decides which photos are in distribution.
    for (model,), part in results.filter(strength=at).group_by("model", maintain_order=True):
        series = [
            Bars(
                key.replace("_", " "),
                (100 * part[column]).to_list(),
                [group_colours()[group]] * len(part),
                part.select(pl.col(f"{column}_low", f"{column}_high") * 100).rows(),
            )
            for key, (group, column) in _OBJECTIVES.items()
        ]
        panels.append(Panel(shorten(str(model)), part["objective"].to_list(), series))
    caption = (
        f"Coloured objects: accuracy (percent) before and after fine-tuning with {100 * at:g} % of the "
        f"training photos on the colour of their class, from {study.folder.name}. Lines: 95 % intervals over "
        "seeds."
    )
    return draw_panels(own("figure-10", place), panels, "accuracy (%)", caption)


def _of_runs(points: pl.DataFrame, name: str, words: Words) -> Outcome:
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
    titles = dict(zip((*GROUPS, "drop"), (words.left, words.right, words.contrast.name), strict=True))

    def panel(title: str, part: pl.DataFrame, labels: str) -> Panel:
        series = []
        for measure in ("drop",) if name in _DROPS else GROUPS:
            models = part.select("family", "data_size").iter_rows()
            colours = [
                shade(family, size) if measure == "drop" else group_colours(family)[measure]
                for family, size in models
            ]
            ends = part.select(pl.col(f"{measure}_low", f"{measure}_high") * 100).rows()
            series.append(Bars(measure, (100 * part[measure]).to_list(), colours, ends, titles[measure]))
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
        name = run.info.benchmark.name
        rows = on_sides(run.predictions, words.contrast).filter(pl.col("group").is_in(GROUPS))
        if rows.is_empty():
            outcomes.append(Absent("3", f"{name} has no photos on {words.on_left} or {words.on_right}."))
            continue
        counts = {f"n_{group}": (pl.col("group") == group).sum().cast(pl.Int64) for group in GROUPS}
        photos = rows.unique(["path", "class_index", "group"])
        sizes = photos.group_by("class_index", name="class_name", note=pl.lit(None, pl.String)).agg(**counts)
        caption = (
            f"Photos of each class on {words.left} and {words.right} of {name}; of the largest "
            f"{_MOST_CLASSES} classes."
        )
        outcomes.append(_sizes(own("figure-3", place), sizes.sort("class_index"), caption, words))
    return outcomes


def _printed_names() -> pl.DataFrame:
    first = pl.col("imagenet_full_name").str.split(",").list.first()
    return load_table("classes").select(class_id="id", name=first)


def _sizes(stem: str, sizes: pl.DataFrame, caption: str, words: Words = DROP_WORDS) -> Drawing:
    if len(sizes) > _MOST_CLASSES:
        sizes = sizes.top_k(_MOST_CLASSES, by=pl.col("n_common") + pl.col("n_counter"))
    lines = -(-len(sizes) // _CLASSES_PER_LINE)
    panels = [
        Panel(
            "",
            _names(part),
            [
                Bars(group, part[f"n_{group}"].to_list(), [colour] * len(part), label=title)
                for (group, colour), title in zip(
                    group_colours().items(), (words.left, words.right), strict=True
                )
            ],
        )
        for part in sizes.iter_slices(-(-len(sizes) // lines))
    ]
    return draw_panels(stem, panels, "photos", caption, notes=distinct_notes(sizes))


def _names(part: pl.DataFrame) -> list[str]:
    return [shorten(name, 24) + " †" * bool(note) for name, note in part.select("name", "note").iter_rows()]


def draw_class_drops(material: Material, figure: str, models: int = 1) -> list[Outcome]:
    """Draw the drop of each class: of the referee (figure 4), of several models (15), and of the runs'."""
    outcomes: list[Outcome] = []
    if material.published:
        which, number = f"Figure {figure}", pl.col("figure")
        rows = load_table("figure_class_drops").filter(
            (number == which) | number.str.starts_with(f"{which}(")
        )
        rows = rows.join(_printed_names(), on="class_id", maintain_order="left")
        rows = rows.with_columns(low=None, high=None)
        marked = rows.drop_nulls("note")["name"].implode()
        noted = rows.with_columns(note=pl.when(pl.col("name").is_in(marked)).then(pl.lit("†")))
        panels = [
            _drops(f"{str(name).removeprefix(which)} {part['model'][0]}".strip(), "clip", part)
            for (name,), part in noted.group_by("figure", maintain_order=True)
        ]
        caption = f"Drop (points) of each class, as printed.{_MARKED}"
        stem, notes = f"figure-{figure}", distinct_notes(rows)
        outcomes.append(draw_panels(stem, panels, "drop (points)", caption, notes=notes, sharex=True))
    return [*outcomes, _own_drops(figure, models, material)] if material.runs else outcomes


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
    family = dict(points_of(material).select("model", "family").iter_rows())
    drops = pl.concat(frames).group_by("class_index", "name", "note").agg(mean=pl.col("drop").mean())
    order = drops.sort("mean", "name", descending=[True, False]).head(_MOST_DROPS).drop("mean")
    panels = [
        _drops(
            shorten(f"{model.label} ({name}, {model.setting.label_space})", 80),
            family.get(model.setting.model, "other"),
            order.join(frame.drop("name", "note"), on="class_index", how="left", maintain_order="left"),
        )
        for (_, name, model), frame in zip(models, frames, strict=True)
    ]
    caption = (
        f"{words.contrast.name} (points) of each class with photos on both sides, largest mean first, at "
        f"most {_MOST_DROPS} classes and 8 models, with 95 % intervals."
    )
    return draw_panels(
        own(f"figure-{figure}"), panels, f"{words.contrast.name} (points)", caption, sharex=True
    )


def _drops_of(run: Run, model: ModelScores, words: Words) -> pl.DataFrame:
    facts = class_facts(run.predictions)
    drops = [(index, model.of(words.contrast, index).difference) for index in model.classes]
    rows = [
        (index, facts[index].name, 100 * drop.value, drop.low, drop.high, None)
        for index, drop in drops
        if drop.value is not None
    ]
    numbers = dict.fromkeys(("drop", "low", "high"), pl.Float64)
    schema = {"class_index": pl.Int64, "name": pl.String} | numbers | {"note": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(pl.col("low", "high") * 100)


def _drops(title: str, family: str, part: pl.DataFrame) -> Panel:
    colours = [FAMILY_COLOURS[family]] * len(part)
    bars = Bars("drop", part["drop"].to_list(), colours, part.select("low", "high").rows())
    return Panel(title, _names(part), [bars])
