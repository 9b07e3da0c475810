"""What answers depend on: attribution maps of the photos whose scores change most with the background."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import polars as pl

from counterground.errors import CounterGroundError
from counterground.results import Run, percent


class SalientPhoto(NamedTuple):
    """A picture (a ``data:`` URL), what it shows, and sentences about it."""

    picture: str
    title: str
    sentences: list[str]
    credit: str


@dataclass(frozen=True)
class Salient:
    """The pictures of one model."""

    label: str
    photos: list[SalientPhoto]


def salient_photos(run: Run, models: Sequence[tuple[str, str]], *, pictures: bool) -> list[Salient]:
    """Return the pictures of the models that have any.

    Args:
        run: run on composites.
        models: the name of each in the run, and its label on the page.
        pictures: whether the page may hold photos.

    Raises:
        CounterGroundError: a picture cannot be read.
    """
    if run.saliency is None or not pictures:
        return []
    drawn = run.saliency.drop_nulls("picture").sort("picture")
    # By name alone, a "polar bear" among ImageNet's names would be a wrong answer to an "ice bear".
    rows = run.rows.filter(pl.col("path").is_in(drawn["path"].implode()))
    correct = rows.select("model", "path", "correct").collect()
    drawn = drawn.join(correct, on=["model", "path"], how="left", maintain_order="left")
    same_name = pl.col("predicted_name") == pl.col("class_name")  # of photos that another model lacks
    drawn = drawn.with_columns(pl.col("correct").fill_null(same_name))
    found = []
    for name, label in models:
        own = drawn.filter(pl.col("model") == name).iter_rows(named=True)
        if photos := [_photo(run, row) for row in own]:
            found.append(Salient(label, photos))
    return found


def _photo(run: Run, row: dict[str, Any]) -> SalientPhoto:
    file = run.path / row["picture"]
    try:
        picture = base64.b64encode(file.read_bytes()).decode()
    except OSError as error:
        raise CounterGroundError(
            f"The run in {run.path} is damaged ({row['picture']} is missing): swap again with --saliency."
        ) from error
    answer = "" if row["correct"] else f", answered {row['predicted_name']}"
    where = f" on {row['background']}" if row["background"] else ""
    return SalientPhoto(
        f"data:image/jpeg;base64,{picture}",
        f"{row['class_name']}{where}{answer}",
        [
            f"{percent(row['share_outside'])} % of the attribution lies outside the object.",
            f"The background is {percent(row['area_outside'])} % of the photo.",
            _scores(row),
        ],
        "; ".join(filter(None, [row["attribution"], row["licence"]])),
    )


def _scores(row: dict[str, Any]) -> str:
    """Say how the score of the true name changes when the same object stands elsewhere."""
    if row["score_difference"] is not None:
        common, counter = percent(row["score_common"]), percent(row["score_counter"])
        return f"Score of {row['class_name']}: {common} % on common, {counter} % on counter backgrounds."
    best, worst = percent(row["best_score"]), percent(row["worst_score"])
    if row["best_background"] == row["worst_background"]:
        return f"Score of {row['class_name']}: {best} % on {row['best_background']}."
    return (
        f"Score of {row['class_name']}: {best} % on {row['best_background']}, {worst} % on "
        f"{row['worst_background']}."
    )
