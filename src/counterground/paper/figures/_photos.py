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
_NEED = "no photos at hand: name the benchmark that holds them with --benchmark BENCHMARK."
_Measured = tuple["Run", ModelScores]


def draw_panel(material: Material) -> list[Outcome]:
    """Draw figure 1 from photos at hand, with the accuracies of the first model that was run on them."""
    sources = photo_sources([material.photos] if material.photos else built_in_benchmarks(material.runs))
    words, model = material.words, _model(material, sources)
    photos = _manifest(material, model, sources)
    if photos.is_empty():
        return [Absent("1", _NEED)]
    photos = photos.filter(class_index=_class(material, photos, model))
    # In an order that is independent of scores.
    rows = {group: photos.filter(group=group)["photo_id"].to_list()[:_PER_GROUP] for group in GROUPS}
    pictures, unreadable = _read([identity for row in rows.values() for identity in row], sources)
    if not pictures:
        return [Absent("1", f"no photo can be read ({unreadable[0]}).")]
    notes = [
        f"{word}: {'; '.join(texts)}."
        for word, key in (("Photos", "attribution"), ("Licences", "licence"))
        if (texts := sorted({one_line(text) for one in pictures if (text := getattr(sources[one], key))}))
    ]
    notes += [f"Left out, because it cannot be read: {reason}." for reason in unreadable]
    caption = f"{photos['class_name'][0]}: photos of {words.left} and {words.right}"
    if model:
        caption += f", with the accuracy of {model[1].label} and, under each photo, its answer"
    figure = new_figure(PAGE, 2 * (PAGE / _PER_GROUP + 0.3))
    parts: Any = figure.subfigures(len(rows), 1)
    for part, (group, row) in zip(parts, rows.items(), strict=True):
        heading = _heading(group, photos.filter(group=group), model, words)
        part.suptitle(heading, x=0.005, ha="left", fontweight="bold", fontsize=SMALL + 1)
        there = {identity: pictures[identity] for identity in row if identity in pictures}
        _draw_row(part, there, _answers(photos, model))
    return [Drawing(own("figure-1"), figure, f"{caption}.", tuple(notes))]


def _model(material: Material, sources: Mapping[str, PhotoSource]) -> _Measured | None:
    """Return the first model with groups that was run on these photos."""
    for run in material.runs:
        if run.predictions["photo_id"].is_in(list(sources)).any():
            for model in regroup(run.estimates(material.words.contrast)):
                if material.words.knows(model):
                    return run, model
    return None


def _manifest(
    material: Material, model: _Measured | None, sources: Mapping[str, PhotoSource]
) -> pl.DataFrame:
    """Return photos in groups: ``photo_id``, ``class_name``, ``class_index``, ``group``, ``background``."""
    if model is not None:
        photos = on_sides(model[0].predictions, material.words.contrast)
    elif material.photos is not None and material.words.is_drop:
        names = dict(enumerate(material.photos.classes.names))
        class_name = pl.col("class_index").replace_strict(names, return_dtype=pl.String)
        photos = material.photos.photos.with_columns(class_name=class_name)
    else:
        return pl.DataFrame()
    here = pl.col("photo_id").is_in(list(sources)) & pl.col("group").is_in(GROUPS)
    columns = ["photo_id", "class_name", "class_index", "group", "background"]
    return photos.filter(here).select(columns).unique(maintain_order=True).sort("photo_id")


def _class(material: Material, photos: pl.DataFrame, model: _Measured | None) -> int:
    """Return the index of the class requested, else with the largest drop, else with the most photos."""
    sizes = photos.group_by("class_name", "class_index").agg(pl.col("group").n_unique(), n=pl.len())
    names = dict(sizes.sort("class_index").select("class_name", "class_index").iter_rows())
    if material.class_name is not None:
        wanted = {name.lower(): index for name, index in names.items()}.get(material.class_name.lower())
        if wanted is None:
            hint = did_you_mean(material.class_name, names)
            raise UsageError(f"These photos show no class {material.class_name!r}.{hint}")
        return int(wanted)

    def interest(row: dict[str, Any]) -> tuple[Any, ...]:
        drop = model[1].of(material.words.contrast, row["class_index"]).difference.value if model else None
        return row["group"], -1.0 if drop is None else drop, row["n"], row["class_name"]

    return int(max(sizes.to_dicts(), key=interest)["class_index"])


def _heading(group: str, photos: pl.DataFrame, model: _Measured | None, words: Words) -> str:
    """Return the side, its backgrounds, and how often the model is right there."""
    backgrounds = ", ".join(photos["background"].drop_nulls().unique().sort())
    title = words.contrast.titles[GROUPS.index(group)]
    title = f"{title}: {backgrounds}" if backgrounds and words.is_drop else title
    accuracy = ""
    if model is not None and len(photos):
        side = model[1].of(words.contrast, photos["class_index"][0])[GROUPS.index(group)]
        accuracy = f", {side.text} % correct {side.interval}".rstrip()
    return shorten(title, _HEADING - len(accuracy)) + accuracy


def _answers(photos: pl.DataFrame, model: _Measured | None) -> dict[str, tuple[str, bool]]:
    """Return the name that the model gives each photo, and whether it is right."""
    if model is None:
        return {}
    answered = model[0].predictions.filter(
        in_setting(model[1].setting._asdict()),
        pl.col("photo_id").is_in(photos["photo_id"].to_list()),
        pl.col("class_index") == photos["class_index"][0],  # a copy in another class was right elsewhere
    )
    rows = answered.select("photo_id", "predicted_name", "correct").iter_rows()
    return {identity: (name or "no class", right) for identity, name, right in rows}


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


def _draw_row(
    part: SubFigure, pictures: Mapping[str, Image.Image], answers: Mapping[str, tuple[str, bool]]
) -> None:
    grid = part.subplots(1, _PER_GROUP)
    for axes in grid:
        axes.set_axis_off()
    for axes, (identity, picture) in zip(grid, pictures.items(), strict=False):
        axes.imshow(picture, interpolation="none")
        if identity in answers:
            name, correct = answers[identity]
            axes.text(
                0.5,
                -0.03,
                f"{'✓' if correct else '✗'} {shorten(name, 20)}",
                transform=axes.transAxes,
                ha="center",
                va="top",
                fontsize=SMALL,
                color=BLUE if correct else ORANGE,
            )
