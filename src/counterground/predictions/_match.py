"""Which photo and which candidate label the texts of a file of predictions mean, without guessing."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

import polars as pl

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.photos import ABSOLUTE, find_imagenet_index, name_key
from counterground.predictions._candidates import CandidateLabels
from counterground.text import count

_LISTED = 20
_WHOLE = re.compile(r"[0-9]{1,9}(\.0)?")
_NUMBER = "doc_id"  # how lmms-eval, which logs no file, numbers photos


def match_photos(photos: pl.DataFrame, given: pl.Series, root: Path) -> pl.DataFrame:
    """Return columns ``photo`` and ``whole``: which row of the manifest each of distinct texts means.

    A text is the ``photo_id``, the ``source`` of a photo behind a URL, the ``doc_id`` if the manifest has
    that column, or the path: one of the two may be the end of the other, at a slash, as ``site1/IMG_1.JPG``
    is of ``/data/2024/site1/IMG_1.JPG``. Where some lie below ``root``, the folder of the photos, absolute
    paths mean what they say: those of another site do not fit. Texts that mean no photo are left out.

    Raises:
        CounterGroundError: a text is the end of several paths.
    """
    columns = [name for name in ("photo_id", "path", "source", _NUMBER) if name in photos.columns]
    rows = photos.select(columns).with_row_index("whole")
    left = given.rename("photo").to_frame()
    matched = []
    for column in columns:
        key = pl.col(column) if photos.schema[column] == pl.String else pl.col(column).cast(pl.Int64)
        keyed = rows.select("whole", photo=key.cast(pl.String))
        matched.append(left.join(keyed, on="photo"))
        left = left.join(matched[-1], on="photo", how="anti")
    folder = f"{root.absolute().as_posix()}/"
    below = left.filter(pl.col("photo").str.starts_with(folder))
    if not below.is_empty():
        matched.append(below.join(rows.select("whole", photo=folder + pl.col("path")), on="photo"))
        left = left.filter(~pl.col("photo").str.contains(ABSOLUTE))
    texts = left.with_columns(parts=_parts("photo"))
    paths = rows.select("whole", parts=_parts("path"))
    depth = min(max(map(len, frame["parts"]), default=0) for frame in (texts, paths))
    ends = []
    for length in range(1, depth + 1):
        joined = _with_end(texts, length).join(_with_end(paths, length), on="end", suffix="_path")
        shorter = pl.min_horizontal("depth", "depth_path") == length
        ends.append(joined.filter(shorter).select("whole", "photo"))
    matches = pl.concat([frame.select("whole", "photo") for frame in (*matched, *ends)])
    by_path = [frame.select("whole", "photo") for frame in (*matched[1:], *ends)]  # an id means every copy
    repeated = pl.concat(by_path).filter(pl.col("photo").is_duplicated())
    if not repeated.is_empty():
        text = repeated["photo"][0]
        of = photos["path"][repeated.filter(pl.col("photo") == text)["whole"].to_list()]
        raise CounterGroundError(
            f"The prediction for {text!r} fits {len(of)} photos ({of[0]}, {of[1]}): write more of its path."
        )
    return matches


def _parts(column: str) -> pl.Expr:
    plain = pl.col(column).str.replace_all(r"[\\/]+", "/").str.replace(r"^([A-Za-z]:)?/|^(\./)+", "")
    return plain.str.split("/")


def _with_end(frame: pl.DataFrame, length: int) -> pl.DataFrame:
    depth = pl.col("parts").list.len()
    long_enough = frame.filter(depth >= length)
    return long_enough.with_columns(depth=depth, end=pl.col("parts").list.tail(length).list.join("/"))


def match_names(
    given: pl.Series,
    ways: Mapping[str, tuple[str, ...]],
    labels: CandidateLabels,
    left_out: Collection[str],
    *,
    others_are_wrong: bool,
) -> dict[str, int | None]:
    """Return the index among the candidate labels of each of distinct predictions; None: it names no one.

    Names are equal up to case, and to spaces and underscores; ImageNet's also by their synonyms and wnids. If
    no text is a name and all are whole numbers, they are indices.

    Args:
        given: distinct predictions.
        ways: other names of some of them.
        labels: what they are matched to.
        left_out: classes that are left out of the benchmark: they are known, and wrong.
        others_are_wrong: whether other names count as wrong predictions, too.

    Raises:
        UsageError: predictions that name no candidate label, all at once with the nearest ones.
    """
    texts = given.drop_nulls().to_list()
    known = _known_names(labels)
    by_imagenet = _imagenet_places(labels)
    named = {text: _place(ways.get(text, (text,)), known, by_imagenet) for text in texts}
    size = len(labels.space)
    numbers = {text: int(text.removesuffix(".0")) for text in texts if _WHOLE.fullmatch(text)}
    if texts and len(numbers) == len(texts) and not any(place is not None for place in named.values()):
        if beyond := [text for text, number in numbers.items() if number >= size]:
            raise UsageError(
                f"The prediction {beyond[0]} is no index into the {size:,} candidate labels, from 0."
            )
        if left_out:
            raise UsageError("Predictions are numbers, which --drop-classes would shift: write names.")
        return dict(numbers)
    wrong = {name_key(name) for name in left_out}
    unknown = [text for text, place in named.items() if place is None and ways.get(text, (text,))]
    unknown = sorted(text for text in unknown if wrong.isdisjoint(map(name_key, ways.get(text, (text,)))))
    if unknown and not others_are_wrong:
        shown = [f"{text!r}{_nearest(text, labels)}" for text in unknown[:_LISTED]]
        more = f" and {count(len(unknown) - _LISTED)} more" if len(unknown) > _LISTED else ""
        raise UsageError(
            f"{count(len(unknown))} of {count(len(texts))} predicted names are no candidate labels: "
            f"{', '.join(shown)}{more}. Correct them, or count them as wrong: -X other-names=wrong."
        )
    return named


def _nearest(text: str, labels: CandidateLabels) -> str:
    hint = did_you_mean(text, labels.space.names).strip()
    return f" ({hint[0].lower()}{hint[1:]})" if hint else ""


def _known_names(labels: CandidateLabels) -> dict[str, int]:
    """Return the places of the names by their keys; of equal names, as of scores, the lower index counts."""
    known: dict[str, int] = {}
    for place, (name, text) in enumerate(zip(labels.space.names, labels.texts, strict=True)):
        for each in (name, text):
            known.setdefault(name_key(each), place)
    return known


def _imagenet_places(labels: CandidateLabels) -> dict[int, int]:
    space = labels.space
    members = space.members or tuple(() if index is None else (index,) for index in space.imagenet)
    return {index: place for place, each in enumerate(members) for index in each}


def _place(names: tuple[str, ...], known: Mapping[str, int], by_imagenet: Mapping[int, int]) -> int | None:
    for name in names:
        if (place := known.get(name_key(name))) is not None:
            return place
    for name in names if by_imagenet else ():
        with suppress(UsageError):
            if not name.isdecimal() and (place := by_imagenet.get(find_imagenet_index(name))) is not None:
                return place
    return None
