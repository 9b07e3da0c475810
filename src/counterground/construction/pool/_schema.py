"""The schemas of a pool's tables, the labels people give, and names: a class and a person keep one."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import polars as pl

from counterground.errors import CounterGroundError, UsageError
from counterground.files import atomic_path
from counterground.photos import (
    UnreadablePhoto,
    assign_classes,
    image_type,
    load_photo,
    name_key,
    quoted_ways,
)

if TYPE_CHECKING:
    from counterground.construction.pool._store import Pool


DATABASE_FILE = "decisions.sqlite"
FILES = "files"
_PLAIN = re.compile(r"[a-z0-9]+(?:[ -][a-z0-9]+)*")
_RESERVED = re.compile(r"con|prn|aux|nul|(com|lpt)\d")


def is_pool(path: str | Path) -> bool:
    """Return whether the folder is a pool."""
    return (Path(path) / DATABASE_FILE).is_file()


def class_folder(class_name: str) -> str:
    """Return the folder name of a class: safe on every system, and different for different classes."""
    plain = class_name.replace(" ", "_")
    if _PLAIN.fullmatch(class_name) and not _RESERVED.fullmatch(class_name) and len(plain) <= 60:
        return plain
    readable = re.sub(r"[^a-z0-9]+", "_", class_name.lower())[:50].strip("_") or "class"
    return f"{readable}-{hashlib.sha256(class_name.encode()).hexdigest()[:8]}"


def inside_files(root: Path, path: str) -> Path:
    """Return the file at a photo's path, which must be below ``files/`` of the pool and not be a link.

    Raises:
        CounterGroundError: the file is elsewhere, is a link, or is missing.
    """
    parts = path.split("/")
    file = root / path
    inside = parts[0] == FILES and len(parts) > 1 and not {"", ".", ".."} & set(parts)
    if not inside or "\\" in path or file.is_symlink() or leads_out(root, file):
        raise CounterGroundError(f"{path!r} is not a file below {FILES}/ of the pool, or is a link.")
    if not file.is_file():
        raise CounterGroundError(f"The pool has no file {path!r}.")
    return file


def leads_out(root: Path, place: Path) -> bool:
    """Return whether a link on the path to a place, including ``files/`` itself, leads out of the pool."""
    return not place.resolve().is_relative_to(root.resolve() / FILES)


def is_from(source: str) -> pl.Expr:
    """Return the expression that is true for rows whose ``key`` ("inaturalist:123") has this source."""
    return pl.col("key").str.starts_with(f"{source}:")


Task = Literal["review", "background"]
TASKS: tuple[Task, ...] = ("review", "background")

KEEP = "keep"
LATER = "later"
"""Postpones a photo: it is not a verdict, and no label space may hold it."""

REVIEW_LABELS = (KEEP, "label noise", "feature noise", "ambiguity", "clarity", "duplicate")
"""Keep, the paper's four reasons to discard (section 2), and duplicates."""

BACKGROUND_LABELS = (
    "ground",
    "water",
    "earth",
    "sand",
    "snow",
    "grass",
    "human",
    "sky",
    "road",
    "rock",
    "shrub",
    "indoor",
    "tree",
    "outdoor",
)
"""The paper's label space of backgrounds (section 2), each once."""

IMPORTED = "imported"
"""The annotator of labels that came with an import."""

PHOTO_SCHEMA: dict[str, pl.DataType] = {
    "path": pl.String(),  # relative to the pool, below files/, with forward slashes
    "photo_id": pl.String(),  # SHA-256 of the file's bytes
    "class_name": pl.String(),
    "key": pl.String(),  # where it came from, e.g. inaturalist:123
    "observation": pl.String(),
    "observer": pl.String(),
    "taxon_id": pl.Int64(),
    "taxon": pl.String(),  # scientific name
    "licence": pl.String(),  # lower-case code; all-rights-reserved; null: unknown
    "attribution": pl.String(),  # credit line
    "source": pl.String(),  # page
    "url": pl.String(),  # file
    "observed_on": pl.String(),  # ISO date
    "cluster": pl.String(),
    "mask": pl.String(),  # relative to the pool, as path
    "width": pl.Int64(),  # pixels, as stored
    "height": pl.Int64(),
    "bytes": pl.Int64(),
    "added_at": pl.String(),  # ISO, UTC
}

PHOTO_DETAILS = (
    "licence",
    "attribution",
    "source",
    "cluster",
    "observer",
    "observation",
    "taxon",
    "taxon_id",
    "observed_on",
    "url",
)
"""What a source says about a photo: it may be corrected later, unlike what identifies the photo."""

CANDIDATE_SCHEMA: dict[str, pl.DataType] = {
    "key": pl.String(),
    "class_name": pl.String(),
    "position": pl.Int64(),  # 0 is the newest of its class
    "url": pl.String(),
    "observation": pl.String(),
    "observer": pl.String(),
    "taxon_id": pl.Int64(),
    "taxon": pl.String(),
    "licence": pl.String(),
    "attribution": pl.String(),
    "source": pl.String(),
    "observed_on": pl.String(),
    "status": pl.String(),  # wanted, got, failed
    "reason": pl.String(),  # why it failed
    "tries": pl.Int64(),
}

DECISION_SCHEMA: dict[str, pl.DataType] = {
    "id": pl.Int64(),
    "path": pl.String(),
    "annotator": pl.String(),
    "task": pl.String(),
    "labels": pl.List(pl.String()),  # the first is the primary one; empty in an undo
    "adjudicates": pl.Boolean(),  # ends a disagreement between annotators
    "seconds": pl.Float64(),  # how long the photo was looked at
    "at": pl.String(),  # ISO, UTC
    "token": pl.String(),  # the same token twice is the same decision
    "undoes": pl.Int64(),  # id of the decision that this event takes back
    "undone": pl.Boolean(),
}

SIGNAL_SCHEMA: dict[str, pl.DataType] = {
    "path": pl.String(),
    "signal": pl.String(),
    "reason": pl.String(),  # one of REVIEW_LABELS[1:]
    "value": pl.Float64(),
    "flagged": pl.Boolean(),
    "priority": pl.Float64(),  # 0 to 1 within the pool
    "explanation": pl.String(),
    "related": pl.String(),  # path of the other photo, or name of the other class
}

VOTE_SCHEMA: dict[str, pl.DataType] = {
    "path": pl.String(),
    "task": pl.String(),
    "annotator": pl.String(),
    "labels": pl.List(pl.String()),  # the first is the primary one
}

VERDICT_SCHEMA: dict[str, pl.DataType] = {
    "path": pl.String(),
    "class_name": pl.String(),
    "label": pl.String(),  # null: none yet, or annotators disagree
    "labels": pl.List(pl.String()),  # all labels given
    "status": pl.String(),  # none, single, agreed, disagreed, adjudicated
    "annotators": pl.Int64(),
    "stands": pl.Boolean(),  # whether the task keeps the photo in the benchmark; always for backgrounds
}


def spelling_of(labels: Iterable[str]) -> dict[str, str]:
    """Return how a pool writes each of its labels, by ``name_key``: the first of several spellings."""
    spelling: dict[str, str] = {}
    for label in labels:
        spelling.setdefault(name_key(label), label)
    return spelling


def check_class_names(pool: Pool, names: Iterable[str], remedy: str, *, also: Iterable[str] = ()) -> None:
    """Refuse classes that the pool has under other names.

    Args:
        pool: the pool.
        names: names of the incoming classes.
        remedy: what to do; ``{0}`` is the name, ``{1}`` the pool's name for the class.
        also: further names that count as the pool's.

    Raises:
        CounterGroundError: the message names the class and its remedy.
    """
    theirs = {*pool.photos()["class_name"], *pool.candidates()["class_name"], *also}
    plain = {name_key(name): name for name in theirs}
    fresh = sorted(set(names) - theirs)
    for name in fresh:
        if known := plain.get(name_key(name)):
            ways = " ".join(quoted_ways([name, known]))
            raise CounterGroundError(f"The pool calls the class {ways}. {remedy.format(name, known)}")
    if fresh:
        assign_classes([*theirs, *fresh])  # refuses two names of one class


def check_annotators(pool: Pool, names: Iterable[str]) -> None:
    """Refuse another spelling of an earlier annotator's name: one person would count as two.

    Raises:
        UsageError: there is one; the message names both.
    """
    earlier = pool.decisions()["annotator"].unique().to_list()
    known = {name_key(name): name for name in sorted(earlier)}
    for name in names:
        same = known.get(name_key(name), name)
        if name not in earlier and same != name:
            raise UsageError(
                f"The pool has decisions by {same!r}: use that name, since {name!r} would count as a second "
                "person."
            )


_PLAIN_KEY = re.compile(r"[a-z]{1,20}:[a-z0-9]{1,40}")


@dataclass(frozen=True)
class KeptPhoto:
    """A photo in the pool that can be decoded; the fields are columns of ``PHOTO_SCHEMA``."""

    path: str
    photo_id: str
    width: int
    height: int
    bytes: int


def file_stem(key: str, name: str = "") -> str:
    """Return the file name, without suffix, that a photo of this key has in every pool.

    ``inaturalist:123`` is ``inaturalist-123``; other keys are hashed, after the readable part of ``name``.
    """
    if _PLAIN_KEY.fullmatch(key):
        return key.replace(":", "-")
    readable = re.sub(r"[^a-z0-9]+", "-", name.lower())[:40].strip("-") or "photo"
    return f"{readable}-{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def keep_photo(root: Path, folder: str, stem: str, data: bytes, origin: Path | None = None) -> KeptPhoto:
    """Write a photo's bytes to ``files/<folder>/<stem>.<suffix of its content>`` of the pool, atomically.

    Args:
        root: the pool's folder.
        folder: the class folder.
        stem: see ``file_stem``.
        data: the file as received; it is kept byte for byte.
        origin: the photo's name in errors; None: the file in the pool.

    Raises:
        UnreadablePhoto: the bytes cannot be decoded as a photo; nothing is written.
        CounterGroundError: the pool cannot be written, or a link in it leads elsewhere.
    """
    kind = image_type(data)  # by content: addresses and headers are often wrong
    target = root / "files" / folder / f"{stem}{kind.suffix if kind else '.jpg'}"
    if leads_out(root, target.parent):
        raise CounterGroundError(f"{target.parent} is a link out of the pool: replace it with a folder.")
    with atomic_path(target) as temporary:
        temporary.write_bytes(data)
        try:
            image = load_photo(temporary, rgb=False).image
        except UnreadablePhoto as error:
            raise UnreadablePhoto(origin or target, error.reason) from error
    return KeptPhoto(
        target.relative_to(root).as_posix(), hashlib.sha256(data).hexdigest(), *image.size, len(data)
    )
