"""Figure 1: photos of one class on both backgrounds, and how often a model recognises the class there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import polars as pl
from PIL import Image, ImageOps

from counterground.errors import UsageError, did_you_mean
from counterground.findings import Words
from counterground.metrics import GROUPS, in_setting
from counterground.paper.figures._material import Absent, Drawing, Material, Outcome, own, shorten
from counterground.paper.style import BLUE, ORANGE, PAGE, SMALL, new_figure
from counterground.photos import UnreadablePhoto, load_photo
from counterground.reporting.shown_photos import PhotoSource, built_in_benchmarks, on_sides, photo_sources
from counterground.results import ModelScores, regroup
from counterground.text import one_line

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

    from counterground.results import Run

_PER_GROUP = 6
_SIDE = 330  # pixels: 300 per inch at print size
_HEADING = 100
_NEED = "no photos of a run at hand: name a RUN, and the benchmark it was measured on with --benchmark."


def draw_panel(material: Material) -> list[Outcome]:
    """Draw figure 1 from photos at hand, with the accuracies of the first model that was run on them."""
    sources = photo_sources([material.photos] if material.photos else built_in_benchmarks(material.runs))
    if (measured := _first_model(material, sources)) is None:
        return [Absent("1", _NEED)]
    run, model = measured
    words = material.words
    here = pl.col("photo_id").is_in(list(sources)) & pl.col("group").is_in(GROUPS)
    photos = on_sides(run.predictions, words.contrast).filter(here, in_setting(model.setting._asdict()))
    photos = photos.filter(class_index=_class(material, photos, model)).unique(["photo_id", "group"])
    photos = photos.sort("photo_id")
    # In an order that is independent of scores.
    rows = {group: photos.filter(group=group).head(_PER_GROUP) for group in GROUPS}
    pictures, unreadable = _read([each for row in rows.values() for each in row["photo_id"]], sources)
    if not pictures:
        return [Absent("1", f"no photo can be read ({unreadable[0]}).")]
    notes = [
        f"{word}: {'; '.join(texts)}."
        for word, key in (("Photos", "attribution"), ("Licences", "licence"))
        if (texts := sorted({one_line(text) for one in pictures if (text := getattr(sources[one], key))}))
    ]
    notes += [f"Left out, because it cannot be read: {reason}." for reason in unreadable]
    caption = (
        f"{photos['class_name'][0]}: photos of {words.left} and {words.right}, with the accuracy of "
        f"{model.label} and, under each photo, its answer."
    )
    figure = new_figure(PAGE, 2 * (PAGE / _PER_GROUP + 0.3))
    parts: Any = figure.subfigures(len(rows), 1)
    for part, (group, row) in zip(parts, rows.items(), strict=True):
        heading = _heading(photos.filter(group=group), group, model, words)
        part.suptitle(heading, x=0.005, ha="left", fontweight="bold", fontsize=SMALL + 1)
        _draw_row(part, row.filter(pl.col("photo_id").is_in(list(pictures))), pictures)
    return [Drawing(own("figure-1"), figure, caption, tuple(notes))]


def _first_model(material: Material, sources: Mapping[str, PhotoSource]) -> tuple[Run, ModelScores] | None:
    """Return the first model with both sides that was run on these photos."""
    for run in material.runs:
        if run.predictions["photo_id"].is_in(list(sources)).any():
            for model in regroup(run.estimates(material.words.contrast)):
                if material.words.knows(model):
                    return run, model
    return None


def _class(material: Material, photos: pl.DataFrame, model: ModelScores) -> int:
    """Return the index of the class requested, else of that with the largest drop."""
    names = dict(photos.select("class_name", "class_index").unique().sort("class_index").iter_rows())
    if material.class_name is not None:
        wanted = {name.lower(): index for name, index in names.items()}.get(material.class_name.lower())
        if wanted is None:
            hint = did_you_mean(material.class_name, names)
            raise UsageError(f"These photos show no class {material.class_name!r}.{hint}")
        return int(wanted)

    def drop(index: int) -> float:
        value = model.of(material.words.contrast, index).difference.value
        return -2.0 if value is None else value

    return int(max(names.values(), key=drop))


def _heading(photos: pl.DataFrame, group: str, model: ModelScores, words: Words) -> str:
    """Return the side, its backgrounds, and how often the model is right there."""
    backgrounds = ", ".join(photos["background"].drop_nulls().unique().sort())
    title, accuracy = words.contrast.titles[GROUPS.index(group)], ""
    title = f"{title}: {backgrounds}" if backgrounds and words.is_drop else title
    if len(photos):
        side = model.of(words.contrast, photos["class_index"][0])[GROUPS.index(group)]
        accuracy = f", {side.text} % correct {side.interval}".rstrip()
    return shorten(title, _HEADING - len(accuracy)) + accuracy


def _read(
    photos: Sequence[str], sources: Mapping[str, PhotoSource]
) -> tuple[dict[str, Image.Image], list[str]]:
    """Return the square middles of photos, at print resolution, and why photos could not be read."""
    unreadable: list[str] = []
    pictures: dict[str, Image.Image] = {}
    for identity in photos:
        try:
            image = load_photo(sources[identity].file, expect_id=identity).image
            pictures[identity] = ImageOps.fit(image, (_SIDE, _SIDE), Image.Resampling.LANCZOS)
        except UnreadablePhoto as error:
            unreadable.append(str(error).rstrip("."))
    return pictures, unreadable


def _draw_row(part: SubFigure, photos: pl.DataFrame, pictures: Mapping[str, Image.Image]) -> None:
    grid = part.subplots(1, _PER_GROUP)
    for axes in grid:
        axes.set_axis_off()
    rows = photos.select("photo_id", "predicted_name", "correct").iter_rows()
    for axes, (identity, name, correct) in zip(grid, rows, strict=False):
        axes.imshow(pictures[identity], interpolation="none")
        axes.text(
            0.5,
            -0.03,
            f"{'✓' if correct else '✗'} {shorten(name or 'no class', 20)}",
            transform=axes.transAxes,
            ha="center",
            va="top",
            fontsize=SMALL,
            color=BLUE if correct else ORANGE,
        )
