"""Figure 1: photos of one class on both backgrounds, and how often a model recognises the class there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from PIL import Image, ImageOps

from counterground.errors import UsageError, did_you_mean
from counterground.findings import Words
from counterground.metrics import GROUPS, in_setting
from counterground.paper.figures._material import Absent, Drawing, Material, Outcome, own, shorten
from counterground.paper.style import BLUE, ORANGE, PAGE, SMALL, new_figure
from counterground.photos import UnreadablePhoto, load_photo
from counterground.reporting.photo_sources import PhotoSource, built_in_benchmarks, photo_sources
from counterground.reporting.sides import on_sides
from counterground.results import ModelScores, regroup
from counterground.text import one_line

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

    from counterground.results import Run

_PER_GROUP = 6
_SIDE = 330  # pixels: 300 per inch at print size
_LONGEST = 20
_HEADING = 100
_NEED = "no photos at hand: name the benchmark that holds them with --benchmark BENCHMARK."


@dataclass(frozen=True)
class _Row:
    """One group of the class: heading, photo_ids in an order independent of scores, and the answers."""

    heading: str
    photos: Sequence[str]
    answers: Mapping[str, tuple[str, bool]]


def draw_panel(material: Material) -> list[Outcome]:
    """Draw figure 1 from photos at hand, with the accuracies of the first model that was run on them."""
    sources = photo_sources([material.photos] if material.photos else built_in_benchmarks(material.runs))
    words, model = material.words, _model(material, sources)
    photos = _manifest(material, model, sources)
    if photos.is_empty():
        return [Absent("1", _NEED)]
    photos = photos.filter(class_index=_class(material, photos, model))
    rows = [_row(group, photos, model, words) for group in GROUPS]
    pictures, unreadable = _read([identity for row in rows for identity in row.photos], sources)
    if not pictures:
        return [Absent("1", f"no photo can be read ({unreadable[0]}).")]
    notes = [
        f"{word}: {'; '.join(found)}."
        for word, key in (("Photos", "attribution"), ("Licences", "licence"))
        if (found := sorted({one_line(text) for one in pictures if (text := getattr(sources[one], key))}))
    ]
    notes += [f"Left out, because it cannot be read: {reason}." for reason in unreadable]
    caption = f"{photos['class_name'][0]}: photos of {words.left} and {words.right}"
    if model:
        caption += f", with the accuracy of {model[1].label} and, under each photo, its answer"
    return [Drawing(own("figure-1"), _draw(rows, pictures), f"{caption}.", tuple(notes))]


def _model(material: Material, sources: Mapping[str, PhotoSource]) -> tuple[Run, ModelScores] | None:
    """Return the first model with groups that was run on these photos."""
    for run in material.runs:
        if run.predictions["photo_id"].is_in(list(sources)).any():
            for model in regroup(run.estimates(material.words.contrast)):
                if material.words.knows(model):
                    return run, model
    return None


def _manifest(
    material: Material, model: tuple[Run, ModelScores] | None, sources: Mapping[str, PhotoSource]
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


def _class(material: Material, photos: pl.DataFrame, model: tuple[Run, ModelScores] | None) -> int:
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


def _row(group: str, photos: pl.DataFrame, model: tuple[Run, ModelScores] | None, words: Words) -> _Row:
    part = photos.filter(group=group)
    backgrounds = ", ".join(part["background"].drop_nulls().unique().sort())
    title = dict(zip(GROUPS, words.contrast.titles, strict=True))[group]
    title = f"{title}: {backgrounds}" if backgrounds and words.is_drop else title
    accuracy = ""
    answers: dict[str, tuple[str, bool]] = {}
    if model is not None and len(part):
        run, scores = model
        index = part["class_index"][0]
        found = scores.of(words.contrast, index)[GROUPS.index(group)]
        accuracy = f", {found.text} % correct {found.interval}".rstrip()
        answered = run.predictions.filter(
            in_setting(scores.setting._asdict()),
            pl.col("photo_id").is_in(part["photo_id"].to_list()),
            pl.col("class_index") == index,  # a copy in another class was right elsewhere
        )
        answers = {
            identity: (name or "no class", right)
            for identity, name, right in answered.select("photo_id", "predicted_name", "correct").iter_rows()
        }
    heading = shorten(title, _HEADING - len(accuracy)) + accuracy
    return _Row(heading, part["photo_id"].to_list()[:_PER_GROUP], answers)


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


def _draw(rows: Sequence[_Row], pictures: Mapping[str, Image.Image]) -> Any:
    figure = new_figure(PAGE, 2 * (PAGE / _PER_GROUP + 0.3))
    parts: Any = figure.subfigures(len(rows), 1)
    for part, row in zip(parts, rows, strict=True):
        _draw_row(part, row, pictures)
    return figure


def _draw_row(part: SubFigure, row: _Row, pictures: Mapping[str, Image.Image]) -> None:
    part.suptitle(row.heading, x=0.005, ha="left", fontweight="bold", fontsize=SMALL + 1)
    grid = part.subplots(1, _PER_GROUP)
    for axes in grid:
        axes.set_axis_off()
    there = [identity for identity in row.photos if identity in pictures]
    for identity, axes in zip(there, grid, strict=False):
        axes.imshow(pictures[identity], interpolation="none")
        if identity in row.answers:
            name, correct = row.answers[identity]
            axes.text(
                0.5,
                -0.03,
                f"{'✓' if correct else '✗'} {shorten(name, _LONGEST)}",
                transform=axes.transAxes,
                ha="center",
                va="top",
                fontsize=SMALL,
                color=BLUE if correct else ORANGE,
            )
