"""Figure 1: photos of one class on both backgrounds, and how often a model recognises the class there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl
from PIL import Image

from counterground.errors import UsageError, did_you_mean
from counterground.metrics import GROUPS, in_setting
from counterground.paper.figures._material import Absent, Drawing, Material, Outcome, own
from counterground.paper.figures._style import COLUMN, PAGE, SMALL, family_colour, new_figure
from counterground.photos import UnreadablePhoto, load_photo
from counterground.reporting.photo_sources import PhotoSource, built_in_benchmarks, photo_sources
from counterground.reporting.sides import on_sides
from counterground.reporting.words import Words
from counterground.results import ModelScores, regroup
from counterground.text import one_line

if TYPE_CHECKING:
    from matplotlib.figure import SubFigure

    from counterground.results import Run

_PER_GROUP = 6
_SIDE = 330  # pixels: 300 per inch at print size
_LONGEST = 20
_PER_INCH = 16  # characters of a heading
_NEED = "no photos at hand: name the benchmark that holds them with --benchmark BENCHMARK."


@dataclass(frozen=True)
class _Row:
    """One group of the class: heading, photo_ids in an order independent of scores, and the answers.

    The heading is what the photos show, and the accuracy there.
    """

    title: str
    accuracy: str
    photos: Sequence[str]
    answers: Mapping[str, tuple[str, bool]]

    def heading(self, width: float) -> str:
        """Return the heading, with as much of the title as fits into so many inches."""
        room = int(width * _PER_INCH) - len(self.accuracy)
        return (self.title if len(self.title) <= room else f"{self.title[: room - 1]}…") + self.accuracy


def draw_panel(material: Material) -> list[Outcome]:
    """Draw figure 1 from photos at hand, with the accuracies of the first model that was run on them."""
    benchmarks = [material.photos] if material.photos else built_in_benchmarks(material.runs)
    sources = photo_sources(benchmarks)
    if not sources:
        return [Absent("1", _NEED)]
    model = _model(material, sources)
    words = material.words
    if model is None and material.photos is None:
        return [Absent("1", _NEED)]
    if model is None and not words.is_drop:
        return [Absent("1", f"no model with {words.contrast.name} was run on these photos.")]
    photos = _manifest(material, model, sources)
    if photos.is_empty():
        groups = "in a common or counter group" if words.is_drop else f"on a side of {words.contrast.name}"
        need = f"none of these photos is {groups}."
        return [Absent("1", need if material.photos else _NEED)]
    photos = photos.filter(class_index=_class(material, photos, model))
    name = photos["class_name"][0]
    rows = [_row(group, photos, model, words) for group in GROUPS]
    drawn, unreadable = _draw(rows, sources)
    if drawn is None:
        return [Absent("1", f"no photo of {name} can be read ({unreadable[0]}).")]
    shown = [sources[identity] for row in rows for identity in row.photos]
    notes = [
        f"{word}: {'; '.join(found)}."
        for word, key in (("Photos", "attribution"), ("Licences", "licence"))
        if (found := sorted({one_line(text) for one in shown if (text := getattr(one, key))}))
    ]
    notes += [f"Left out, because it cannot be read: {reason}." for reason in unreadable]
    groups = "of the common and the counter group" if words.is_drop else f"on {words.left} and {words.right}"
    caption = f"{name}: photos {groups}"
    if model:
        label = f"{model[1].label}"
        caption += f", with the accuracy of {label} and, under each photo, its answer"
        caption += "" if material.class_name else f". This is the class with the largest {words.noun}"
    caption += "."
    headings = "".join(part.get_suptitle() for part in drawn.subfigs)
    caption += "".join(f" In full: {row.title}." for row in rows if row.title not in headings)
    return [Drawing(own("figure-1"), drawn, caption, tuple(notes))]


def _model(material: Material, sources: Mapping[str, PhotoSource]) -> tuple[Run, ModelScores] | None:
    """Return the first model with groups that was run on these photos."""
    for run in material.runs:
        if run.predictions["photo_id"].is_in(list(sources)).any():
            scores = run.with_contrast(material.words.contrast).scores
            found = [model for model in regroup(scores) if material.words.knows(model)]
            if found:
                return run, found[0]
    return None


def _manifest(
    material: Material, model: tuple[Run, ModelScores] | None, sources: Mapping[str, PhotoSource]
) -> pl.DataFrame:
    """Return photos in groups: ``photo_id``, ``class_name``, ``class_index``, ``group``, ``background``."""
    columns = ["photo_id", "class_name", "class_index", "group", "background"]
    if model is not None:
        photos = on_sides(model[0].predictions, material.words.contrast).select(columns)
    else:
        assert material.photos is not None
        names = dict(enumerate(material.photos.label_space.names))
        photos = material.photos.photos.with_columns(
            class_name=pl.col("class_index").replace_strict(names, return_dtype=pl.String)
        ).select(columns)
    here = pl.col("photo_id").is_in(list(sources)) & pl.col("group").is_in(GROUPS)
    return photos.filter(here).unique(maintain_order=True).sort("photo_id")


def _class(material: Material, photos: pl.DataFrame, model: tuple[Run, ModelScores] | None) -> int:
    """Return the index of the class requested, else with the largest drop, else with the most photos."""
    both = photos.group_by("class_name", "class_index").agg(
        pl.col("group").n_unique().alias("groups"), pl.len().alias("photos")
    )
    names = dict(both.sort("class_index").select("class_index", "class_name").iter_rows())
    if material.class_name is not None:
        wanted = [index for index, name in names.items() if name.lower() == material.class_name.lower()]
        if not wanted:
            hint = did_you_mean(material.class_name, names.values())
            raise UsageError(f"These photos show no class {material.class_name!r}.{hint}")
        return int(wanted[0])
    drops = {}
    for row in both.sort("class_index").iter_rows(named=True):
        words, index = material.words, row["class_index"]
        drop = model[1].of(words.contrast, index).difference.value if model else None
        known = -1.0 if drop is None else drop
        drops[index] = (row["groups"], known, row["photos"], row["class_name"])
    return int(max(drops, key=lambda index: drops[index]))


def _row(group: str, photos: pl.DataFrame, model: tuple[Run, ModelScores] | None, words: Words) -> _Row:
    part = photos.filter(group=group)
    backgrounds = ", ".join(part["background"].drop_nulls().unique().sort())
    title = dict(zip(GROUPS, words.contrast.titles, strict=True))[group]
    title = one_line(f"{title}: {backgrounds}" if backgrounds and words.is_drop else title)
    correct = ""
    answers: dict[str, tuple[str, bool]] = {}
    if model is not None and len(part):
        run, scores = model
        sides = scores.of(words.contrast, part["class_index"][0])
        accuracy = sides.left if group == "common" else sides.right
        correct = f", {accuracy.text} % correct {accuracy.interval}".rstrip()
        answered = run.predictions.filter(
            in_setting(scores.setting._asdict()),
            pl.col("photo_id").is_in(part["photo_id"].to_list()),
            pl.col("class_index") == part["class_index"][0],  # a copy in another class was right elsewhere
        )
        answers = {
            identity: (one_line(name or "no class"), right)
            for identity, name, right in answered.select("photo_id", "predicted_name", "correct").iter_rows()
        }
    return _Row(title, correct, part["photo_id"].to_list()[:_PER_GROUP], answers)


def _draw(rows: Sequence[_Row], sources: Mapping[str, PhotoSource]) -> tuple[Any, list[str]]:
    """Return the figure, or None if no photo can be read, and why photos could not be read."""
    unreadable: list[str] = []
    pictures: dict[str, Image.Image] = {}
    for identity in (identity for row in rows for identity in row.photos):
        try:
            pictures[identity] = _square(load_photo(sources[identity].file, expect_id=identity).image)
        except UnreadablePhoto as error:
            unreadable.append(str(error).rstrip("."))
    if not pictures:
        return None, unreadable
    answered = any(row.answers for row in rows)
    columns = max(sum(identity in pictures for identity in row.photos) for row in rows)
    width = max(COLUMN, PAGE * columns / _PER_GROUP)
    figure = new_figure(width, 2 * (width / columns + 0.16 + 0.14 * answered))
    parts: Any = figure.subfigures(len(rows), 1)
    for part, row in zip(parts, rows, strict=True):
        _draw_row(part, row, pictures, columns, row.heading(width))
    return figure, unreadable


def _draw_row(
    part: SubFigure, row: _Row, pictures: Mapping[str, Image.Image], columns: int, heading: str
) -> None:
    part.suptitle(heading, x=0.005, ha="left", fontweight="bold", fontsize=SMALL + 1)
    there = [identity for identity in row.photos if identity in pictures]
    for place, axes in enumerate(part.subplots(1, columns, squeeze=False)[0]):
        axes.set_axis_off()
        axes.set_anchor("N")
        if place >= len(there):
            continue
        axes.imshow(pictures[there[place]], interpolation="none")
        if there[place] in row.answers:
            name, correct = row.answers[there[place]]
            short = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
            text = f"{'✓' if correct else '✗'} {short}"
            colour = family_colour("clip" if correct else "imagenet")
            axes.annotate(
                text,
                (0.5, 0),
                xycoords="axes fraction",
                xytext=(0, -2.5),
                textcoords="offset points",
                ha="center",
                va="top",
                fontsize=SMALL,
                color=colour,
            )


def _square(image: Image.Image) -> Image.Image:
    """Return the square middle of a photo, at print resolution."""
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    cut = image.crop((left, top, left + side, top + side))
    return cut.resize((_SIDE, _SIDE), Image.Resampling.LANCZOS)
