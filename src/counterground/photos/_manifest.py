"""The manifest, one row per photo: its columns, and what must hold for them."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import polars as pl

from counterground.errors import CounterGroundError
from counterground.metrics import GROUPS, name_problem
from counterground.photos.labels import LabelSpace, quoted_ways, respelled

MANIFEST_SCHEMA: dict[str, pl.DataType] = {
    "path": pl.String(),  # relative to the benchmark's root, with forward slashes
    "photo_id": pl.String(),  # SHA-256 of the file's bytes
    "class_index": pl.Int32(),  # indexes the label space of the benchmark
    "class_name": pl.String(),
    "background": pl.String(),
    "group": pl.String(),  # "common", "counter" or null
    "cluster": pl.String(),  # photos that are not independent share it; null: a cluster of its own
    "mask": pl.String(),  # relative to the root, like path
    "licence": pl.String(),
    "attribution": pl.String(),  # credit line to be shown with the photo
    "source": pl.String(),
}
OPTIONAL_TEXTS = ("background", "group", "cluster", "licence", "attribution", "source")
EXACT = 2**53  # beyond it, floats lack whole numbers
_TEXTS = (pl.String, pl.Boolean, pl.Categorical, pl.Enum, pl.Null)
_REQUIRED = ("path", "photo_id", "class_index", "class_name")

HASH = "^[0-9a-f]{64}$"
FOREIGN_ID = (
    "its photo_id is not the SHA-256 of a file (64 hex digits): rename the column, or remove it, and it is "
    "computed"
)

_Check = tuple[pl.Expr, str, str]
"""What is wrong with a photo, the same in words, and the column whose value is shown (or none)."""


def validate_manifest(photos: pl.DataFrame, classes: LabelSpace) -> pl.DataFrame:
    """Return the manifest in ``MANIFEST_SCHEMA``, sorted by path; columns that may be null may be absent.

    Spaces around the texts of ``OPTIONAL_TEXTS`` are removed, and empty ones become null, whichever format
    they come from. Further columns follow, sorted by name: attributes (texts; true and false become yes and
    no) and covariates (numbers, float64; NaN becomes null).

    Raises:
        CounterGroundError: the first thing that is wrong, naming the column or the photo: a missing or
            mistyped column, one that cannot be an attribute by its name or type, an empty required value, a
            path that is repeated, absolute or outside the root, a group other than common, counter and null,
            a class that the label space does not have, or a background that is written in several ways.
    """
    photos = in_schema(photos).with_columns(stripped(pl.col(OPTIONAL_TEXTS)))
    if photos.is_empty():
        raise CounterGroundError("The manifest has no photo.")
    checks: list[_Check] = []
    for column in _REQUIRED:
        empty = pl.col(column).is_null() if column == "class_index" else pl.col(column).fill_null("") == ""
        checks.append((empty, f"its {column} is empty", ""))
    checks.append((pl.col("path").is_duplicated(), "its path occurs more than once", ""))
    for column, remedy in (("path", "; or make all paths absolute"), ("mask", "")):
        outside = pl.col(column).str.contains(r"(^|/)\.\.(/|$)|^/|^[A-Za-z]:[\\/]")
        checks.append((outside, f"its {column} must stay inside the benchmark's folder{remedy}", ""))
    not_a_hash = ~pl.col("photo_id").str.contains(HASH)
    unknown = ~pl.col("class_index").is_between(0, len(classes) - 1)
    checks += [
        (not_a_hash, FOREIGN_ID, ""),
        (~pl.col("group").is_in(GROUPS), "its group must be common, counter or null", "group"),
        (unknown, f"its class_index is outside the {len(classes)} classes", "class_index"),
    ]
    _refuse(photos, checks)
    names = pl.Series(classes.names)
    wrong = pl.col("class_name") != names.gather(photos["class_index"])
    _refuse(
        photos, [(wrong, "its class_name is not the label space's name for its class_index", "class_name")]
    )
    _refuse_respelled(photos)
    return photos.sort("path")


def _refuse_respelled(photos: pl.DataFrame) -> None:
    """Refuse a background in several spellings, which would count as several, even as a pair of one class.

    They are refused, as classes are, and not merged: options and designs name backgrounds exactly, and the
    most frequent spelling may differ between a benchmark and a part of it.
    """
    ways = respelled(photos["background"].drop_nulls().unique().sort())
    if ways:
        listed = "; ".join(" and ".join(quoted_ways(same)) for same in ways)
        raise CounterGroundError(f"{listed} are the same background: write it in one way.")


def in_schema(photos: pl.DataFrame) -> pl.DataFrame:
    """Return the manifest in ``MANIFEST_SCHEMA``, its texts, clusters and order as they are.

    Raises:
        CounterGroundError: a missing or mistyped column, or one that cannot be an attribute.
    """
    for column in _REQUIRED:
        if column not in photos.columns:
            raise CounterGroundError(f"The manifest has no column {column!r}.")
    further = sorted(set(photos.columns) - set(MANIFEST_SCHEMA))
    for column in further:
        if problem := attribute_problem(column, photos.schema[column]):
            raise CounterGroundError(f"The manifest has a column {column!r}: {problem}.")
    absent = [
        pl.lit(None, kind).alias(name) for name, kind in MANIFEST_SCHEMA.items() if name not in photos.columns
    ]
    photos = photos.with_columns(absent)
    return with_plain_paths(
        pl.DataFrame(
            [
                *(cast_column(photos[name], kind) for name, kind in MANIFEST_SCHEMA.items()),
                *(_as_attribute(photos[name]) for name in further),
            ]
        )
    )


def with_plain_paths(photos: pl.DataFrame) -> pl.DataFrame:
    """Return a manifest whose paths are spelt alike (``./ox//p0.jpg`` is ``ox/p0.jpg``); no mask is empty."""
    columns = [name for name in ("path", "mask") if photos.schema.get(name) == pl.String]
    plain = pl.col(columns).str.replace_all("/+", "/").str.replace_all(r"/(\./)+", "/")
    photos = photos.with_columns(plain.str.replace(r"^(\./)+", ""))
    if "mask" in columns:
        photos = photos.with_columns(mask=pl.when(pl.col("mask") != "").then("mask"))
    return photos


def stripped(texts: pl.Expr) -> pl.Expr:
    """Return texts without the spaces around them, null if nothing is left."""
    texts = texts.str.strip_chars()
    return pl.when(texts != "").then(texts)


def attribute_problem(name: str, kind: pl.DataType, known: Collection[str] = tuple(MANIFEST_SCHEMA)) -> str:
    """Say why a column cannot be an attribute or a covariate; empty if it can.

    ``known`` are the columns of a manifest for which its name may be a misspelling.
    """
    if problem := name_problem(name, known):
        return problem
    if kind.is_numeric() or kind in _TEXTS:
        return ""
    return f"its type is {kind}, and an attribute is text or true and false, a covariate is a number"


def _as_attribute(column: pl.Series) -> pl.Series:
    """Return a further column as an attribute or a covariate."""
    if column.dtype == pl.Boolean:
        return column.replace_strict({True: "yes", False: "no"}, return_dtype=pl.String, default=None)
    if column.dtype.is_integer() and max(-(column.min() or 0), column.max() or 0) > EXACT:  # type: ignore[operator]
        return column.cast(pl.String)  # codes: as numbers, some would become equal
    return column.cast(pl.Float64).fill_nan(None) if column.dtype.is_numeric() else column.cast(pl.String)


def cast_column(column: pl.Series, kind: pl.DataType) -> pl.Series:
    """Return the column of a manifest as ``kind``.

    Raises:
        CounterGroundError: it cannot be cast; ``kind`` is an integer type and the column's is not; or
            ``kind`` is text and the column holds lists or records.
    """
    found = column.dtype
    if kind == pl.String and found.is_float():
        column = column.fill_nan(None)  # pandas writes missing values as NaN
    wrong = f"The manifest's column {column.name!r} must be {kind}, not {found}."
    # A cast would cut 8.7 to 8 and turn True into 1, and write out the bytes of an image.
    cut = kind.is_integer() and not found.is_integer() and found != pl.Null
    if cut or (kind == pl.String and found.is_nested()):
        raise CounterGroundError(wrong)
    try:
        return column.cast(kind)
    except pl.exceptions.PolarsError as error:
        raise CounterGroundError(wrong) from error


def _refuse(photos: pl.DataFrame, checks: Sequence[_Check]) -> None:
    """Raise at the first check that finds something, naming the first wrong photo (null is not wrong)."""
    failed = photos.select(wrong.any().alias(str(number)) for number, (wrong, *_) in enumerate(checks)).row(0)
    if True not in failed:
        return
    wrong, what, column = checks[failed.index(True)]
    found = photos.filter(wrong)
    first = found.row(0, named=True)
    value = f", not {first[column]!r}" if column else ""
    more = f" (and {len(found) - 1} more)" if len(found) > 1 else ""
    raise CounterGroundError(f"Photo {first['path']!r}{more}: {what}{value}.")
