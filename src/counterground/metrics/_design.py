"""What the scores of a benchmark compare: attributes of photos, cells, contrasts, and shares of cells."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from functools import cached_property
from typing import Any, NamedTuple

import polars as pl

from counterground.errors import UsageError, did_you_mean
from counterground.metrics._expression import ALL, SHAPE, Condition, Reader, Side, quoted, selection
from counterground.metrics._settings import KEYS, PHOTO_COLUMNS, RESULT_SCHEMA

RESERVED = frozenset(
    {
        *PHOTO_COLUMNS,
        *KEYS,
        *RESULT_SCHEMA,
        *(
            "mask",
            "licence",
            "attribution",
            "source",
            "imagenet_index",
        ),
        *("run", "class", "cell", "side", "k", "all", "average", "within"),
    }
)
"""Names that no attribute or covariate may have: columns of manifests and predictions; keywords."""
SELECTABLE = ("class_name", "background", "group", "cluster")
"""Columns that every manifest has and that an expression may name, besides attributes and covariates."""

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_WITHIN = ("class_name",)
_CLUSTERS = ("cluster",)
_TAKEN = frozenset({"accuracy", "all", "average", "within", "class", "cell", "side"})
_LISTED = 12
_ALIKE = 0.85  # a letter of six, or two neighbours of ten


def attributes(columns: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes (texts) and covariates (numbers) among the columns of photos or predictions."""
    return {name: kind for name, kind in columns.items() if name not in RESERVED}


def name_problem(name: str, known: Collection[str]) -> str:
    """Return why a column cannot be an attribute or a covariate; empty if it can.

    Args:
        name: name of the column.
        known: columns of a manifest; a name that hardly differs from one of them is not taken as a new one.
    """
    if name in RESERVED:
        return "the name is taken by predictions, scores or expressions: rename it"
    small = "_".join(name.casefold().split())
    meant = next(iter(get_close_matches(small, known, 1, _ALIKE)), None)
    if meant is not None and name != meant:
        return f"did you mean {meant!r}? If not, rename it, since it hardly differs from that"
    if not _NAME.fullmatch(name):
        return "an attribute's name has small letters, digits and _ only, a letter first: rename it"
    return ""


class ScoreKey(NamedTuple):
    """What a row of scores is about, apart from its model and class.

    Attributes:
        metric: a metric, or the name of a contrast for left minus right.
        contrast: name of the contrast; None for a metric.
        column: column that ``level`` is a value of (``group``, ``background``, several joined by `` & ``), or
            ``side`` of a contrast; None for all photos.
        level: common or counter, a value of a column, or what a side is called.
    """

    metric: str
    contrast: str | None = None
    column: str | None = None
    level: str | None = None

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> ScoreKey:
        """Return the key of a row of scores."""
        return cls(*(row[name] for name in cls._fields))

    @classmethod
    def of_group(cls, group: str | None, metric: str = "accuracy") -> ScoreKey:
        """Return the key of a metric of common or counter photos; None: of all."""
        return cls(metric, None, None if group is None else "group", group)


@dataclass(frozen=True)
class Contrast:
    """A difference in accuracy, ``left`` minus ``right``, with all of ``within`` held constant.

    The value of a selection is the mean accuracy over the strata of ``within`` that have photos on both
    sides; every stratum counts once. A photo may be on both sides, or on neither.

    Attributes:
        name: what tables call it: lower-case letters, digits and ``_``.
        left: ``column=value|value & column!=value & number<0.2`` (quote values that contain signs), ``all``,
            or ``average(NAME)``, the accuracy of cells weighted by a named share of the design.
        right: likewise.
        within: columns whose combinations are strata; empty: all photos are one stratum.

    Raises:
        UsageError: a side, the name or ``within`` does not have this form, the name is that of another score,
            or both sides are the same.
    """

    name: str
    left: str
    right: str
    within: tuple[str, ...] = ("class_name",)

    def __post_init__(self) -> None:
        for side in ("left", "right"):
            object.__setattr__(self, side, str(Side.parse(getattr(self, side))))
        object.__setattr__(self, "within", tuple(self.within))
        if not _NAME.fullmatch(self.name):
            raise UsageError(
                f"A contrast cannot be called {self.name!r}: its name has small letters, digits and _ only, "
                "a letter first."
            )
        is_drop = (self.left, self.right, self.within) == ("group=common", "group=counter", _WITHIN)
        if self.name in _TAKEN or (self.name == "drop" and not is_drop):
            raise UsageError(f"A contrast cannot be called {self.name!r}, which is another score: rename it.")
        if self.left == self.right:
            raise UsageError(f"The contrast {self.name!r} compares {self.left!r} with itself.")
        if len(set(self.within)) < len(self.within):
            raise UsageError(f"The contrast {self.name!r} names a column twice after 'within'.")

    def __str__(self) -> str:
        within = "" if self.within == _WITHIN else f" within {', '.join(self.within) or ALL}"
        return f"{self.name}: {self.left} - {self.right}{within}"

    @classmethod
    def parse(cls, text: str, names: Mapping[str, str] | None = None) -> Contrast:
        """Read ``NAME: LEFT - RIGHT [within COLUMN, COLUMN]``; without a name it is called ``contrast``.

        ``names`` are other names of columns -> theirs. ``within`` is ``class_name`` by default; ``within
        all`` holds nothing constant.

        Raises:
            UsageError: the text does not have this form; one line says where.
        """
        reader = Reader(text, names)
        name = reader.name()
        left = reader.side()
        reader.expect("-")
        right = reader.side()
        within = reader.within(_WITHIN)
        reader.end()
        return cls(name or "contrast", str(left), str(right), within)

    @cached_property
    def sides(self) -> tuple[Side, Side]:
        """The left and the right side."""
        return Side.parse(self.left), Side.parse(self.right)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that it reads, apart from those of averages."""
        named = [condition.column for side in self.sides for condition in side.conditions]
        return tuple(dict.fromkeys((*named, *self.within)))

    def of_classes(self) -> Contrast:
        """Return the contrast within classes too, which is defined for one class."""
        if "class_name" in self.within:
            return self
        return replace(self, within=("class_name", *self.within))

    def is_same(self, other: Contrast) -> bool:
        """Whether another contrast compares the same photos, perhaps turned round or by another name."""
        return self.within == other.within and {self.left, self.right} == {other.left, other.right}

    @property
    def sides_apart(self) -> bool:
        """Whether each side is over all classes that have it, as of the drop; else over strata with both."""
        return self == DROP

    @property
    def difference_key(self) -> ScoreKey:
        """The key under which scores list left minus right."""
        return ScoreKey(self.name, self.name)

    @property
    def side_keys(self) -> tuple[ScoreKey, ScoreKey]:
        """The keys under which scores list the accuracies of left and right.

        Those of the drop are ``accuracy`` of ``common`` and ``counter`` photos, over all classes that have
        some; those of other contrasts are over the strata that have both, so that their difference is its
        value.
        """
        if self.sides_apart:
            return ScoreKey.of_group("common"), ScoreKey.of_group("counter")
        left, right = (ScoreKey("accuracy", self.name, "side", side) for side in self.titles)
        return left, right

    def rows_of(self, scores: pl.DataFrame) -> pl.DataFrame:
        """Return the rows of its sides and its value."""
        keys = pl.DataFrame(
            [*self.side_keys, self.difference_key], dict.fromkeys(ScoreKey._fields, pl.String)
        )
        return scores.join(keys, on=ScoreKey._fields, how="semi", nulls_equal=True, maintain_order="left")

    @property
    def titles(self) -> tuple[str, str]:
        """What the sides are called."""
        return ("common", "counter") if self.sides_apart else (self.left, self.right)


DROP = Contrast("drop", "group=common", "group=counter")
"""The drop of CounterAnimal: mean over classes of common minus counter accuracy."""


@dataclass(frozen=True)
class Design:
    """What the scores of a benchmark compare; the default is that of CounterAnimal.

    Attributes:
        cells: columns whose combinations are cells; the worst of these is the worst group.
        contrasts: contrasts, the benchmark's own first.
        weights: named shares of cells, such as those of the training set: name -> values of ``cells`` in
            their order -> share, in any unit.
        clusters: column whose values are drawn together, or two columns that cross, as background photographs
            cross foregrounds: other samples would have others of both. A photo without a value is a cluster
            of its own.

    Raises:
        UsageError: no column of cells or no contrast, a column given twice, two contrasts with one name, an
            average of shares that are not named, shares of other cells, below 0 or all 0, or more than two
            columns of clusters.
    """

    cells: tuple[str, ...] = ("class_name", "group")
    contrasts: tuple[Contrast, ...] = (DROP,)
    weights: Mapping[str, Mapping[tuple[str, ...], float]] = field(default_factory=dict)
    clusters: tuple[str, ...] = _CLUSTERS

    def __post_init__(self) -> None:
        object.__setattr__(self, "cells", tuple(self.cells))
        object.__setattr__(self, "contrasts", tuple(self.contrasts))
        object.__setattr__(self, "clusters", tuple(self.clusters))
        shares = {
            name: {tuple(cell): _number(share) for cell, share in cells.items()}
            for name, cells in self.weights.items()
        }
        object.__setattr__(self, "weights", shares)
        if not self.cells or len(set(self.cells)) < len(self.cells):
            raise UsageError("A design names one column of cells or several, each once.")
        if len(set(self.clusters)) != len(self.clusters) or not 1 <= len(self.clusters) <= 2:
            raise UsageError("A design names one column of clusters or two that cross, each once.")
        if not self.contrasts:
            raise UsageError("A design has at least one contrast.")
        names = [contrast.name for contrast in self.contrasts]
        if repeated := next((name for name in names if names.count(name) > 1), None):
            raise UsageError(f"Two contrasts are called {repeated!r}: give each a name of its own.")
        for name, cells in self.weights.items():
            _check_shares(name, cells, self.cells)
        for contrast in self.contrasts:
            self._check_averages(contrast)

    def find(self, text: str, photos: pl.DataFrame, names: Mapping[str, str] | None = None) -> Contrast:
        """Return a contrast by its name, or the one that an expression defines (``Contrast.parse``).

        Args:
            text: as on the command line.
            photos: photos whose columns and values it may name.
            names: other names of columns -> theirs.

        Raises:
            UsageError: no such contrast, or one that does not fit these photos (``check``).
        """
        named = {contrast.name: contrast for contrast in self.contrasts}
        if text.strip() in named:
            contrast = named[text.strip()]
        elif _NAME.fullmatch(text.strip()):
            listed = "; ".join(map(str, self.contrasts))
            raise UsageError(
                f"There is no contrast {text.strip()!r}; there is {listed}. Or {SHAPE}."
                f"{did_you_mean(text.strip(), named)}"
            )
        else:
            contrast = Contrast.parse(text, names)
            known = named.get(contrast.name, contrast)
            if known != contrast:
                raise UsageError(f"The design has another contrast of that name ({known}): choose another.")
        self._check_averages(contrast)
        check_contrast(contrast, photos)
        return contrast

    def picked_from(self, contrast: Contrast, photos: pl.DataFrame) -> int | None:
        """Return of how many contrasts this one may be picked after looking: 1 if the design declares it.

        Of two values of a column with k values, it is one of the k (k - 1) / 2 pairs. Of anything else, such
        as thresholds, nobody knows: None.

        Args:
            contrast: what is compared.
            photos: photos with the columns that it names.
        """
        if any(contrast.is_same(declared) for declared in self.contrasts):
            return 1
        conditions = [condition for side in contrast.sides for condition in side.conditions]
        columns = {condition.column for condition in conditions}
        single = all(condition.sign == "=" and len(condition.values) == 1 for condition in conditions)
        if len(conditions) == 2 and len(columns) == 1 and single:
            return math.comb(photos[columns.pop()].drop_nulls().n_unique(), 2)
        return None

    def check(self, photos: pl.DataFrame, *, values: bool = True) -> None:
        """Refuse a design that does not fit the photos of a manifest.

        Args:
            photos: photos with attributes and covariates.
            values: whether every value that it names must occur; it need not in a part of a benchmark.

        Raises:
            UsageError: an unknown column or value, a comparison that the type of column does not support, a
                side that selects no photo, columns that leave no stratum with both sides, or a share of a
                cell without photos.
        """
        check_columns(self.cells, photos, "the cells")
        check_columns(self.clusters, photos, "the clusters")
        for contrast in self.contrasts:
            if not contrast.sides_apart:
                check_contrast(contrast, photos, values=values)
        if values:
            for name, cells in self.weights.items():
                self._check_cells(name, cells, photos)

    def _check_cells(self, name: str, cells: Mapping[tuple[str, ...], float], photos: pl.DataFrame) -> None:
        found = set(photos.select(self.cells).unique().iter_rows())
        if absent := [cell for cell, share in cells.items() if share and cell not in found]:
            raise UsageError(f"No photo is in the cell {' & '.join(absent[0])} of the shares {name!r}.")

    def _check_averages(self, contrast: Contrast) -> None:
        for side in contrast.sides:
            if side.average is not None and side.average not in self.weights:
                known = ", ".join(self.weights) or "none"
                raise UsageError(
                    f"The contrast {contrast.name!r} averages by the shares {side.average!r}, which the "
                    f"design does not name; it has {known}.{did_you_mean(side.average, self.weights)}"
                )

    def to_json(self) -> dict[str, Any]:
        """Return what ``benchmark.json`` and ``run.json`` hold; ``clusters`` only if not ``cluster``."""
        return {
            "cells": list(self.cells),
            "contrasts": [str(contrast) for contrast in self.contrasts],
            "weights": {
                name: [[*cell, share] for cell, share in cells.items()]
                for name, cells in self.weights.items()
            },
            **({} if self.clusters == _CLUSTERS else {"clusters": list(self.clusters)}),
        }

    @classmethod
    def from_json(cls, content: Mapping[str, Any] | None) -> Design:
        """Read what ``to_json`` returns; None gives the default design.

        Raises:
            KeyError, TypeError, ValueError: the content has another form.
            UsageError: see ``Design``.
        """
        if content is None:
            return cls()
        weights: dict[str, dict[tuple[str, ...], float]] = {}
        for name, rows in content["weights"].items():
            weights[name] = {tuple(map(str, cell)): share for *cell, share in rows}
            if len(weights[name]) < len(rows):
                raise ValueError(f"the shares {name!r} have a cell twice")
        return cls(
            _texts(content["cells"]),
            tuple(Contrast.parse(text) for text in _texts(content["contrasts"])),
            weights,
            _texts(content.get("clusters", _CLUSTERS)),
        )


def _texts(values: Any) -> tuple[str, ...]:
    if not isinstance(values, list | tuple) or not all(isinstance(value, str) for value in values):
        raise TypeError(f"{str(values)[:100]} is not a list of texts")
    return tuple(values)


def _number(value: Any) -> float:
    """Return a share or the value of a covariate; NaN, which is refused, if a float cannot be it."""
    try:
        return float(value)
    except (OverflowError, TypeError, ValueError):
        return math.nan


DESIGN = Design()
"""Class x group, and the drop."""


def _check_shares(name: str, cells: Mapping[tuple[str, ...], float], columns: Sequence[str]) -> None:
    if not _NAME.fullmatch(name):
        raise UsageError(f"Shares cannot be called {name!r}: small letters, digits and _ only.")
    if wrong := next((cell for cell in cells if len(cell) != len(columns)), None):
        raise UsageError(
            f"The shares {name!r} have the cell {wrong!r}; a cell has a value of {', '.join(columns)}."
        )
    if not all(0 <= share < float("inf") for share in cells.values()) or not sum(cells.values()) > 0:
        raise UsageError(f"The shares {name!r} must be numbers of at least 0, not all of them 0.")


def check_contrast(contrast: Contrast, photos: pl.DataFrame, *, values: bool = True) -> None:
    """Refuse a contrast that does not fit photos, as ``Design.check`` does.

    Raises:
        UsageError: it does not.
    """
    what = f"the contrast {contrast.name!r}"
    check_columns(contrast.within, photos, f"'within' of {what}")
    chosen = []
    for side in contrast.sides:
        for condition in side.conditions:
            _check_condition(condition, photos, what, values=values)
        chosen.append(selection(side, photos.schema))
    if not values:
        return
    for side, rows in zip(contrast.sides, chosen, strict=True):
        if photos.filter(rows).is_empty():
            raise UsageError(f"{what[0].upper()}{what[1:]}: no photo is on the side {str(side)!r}.")
    if contrast.within and all(side.average is None for side in contrast.sides):
        held = photos.drop_nulls(contrast.within)
        both = held.group_by(contrast.within).agg(
            pl.all_horizontal(rows.any() for rows in chosen).alias("both")
        )
        if not both["both"].any():
            raise UsageError(
                f"{what[0].upper()}{what[1:]}: within {', '.join(contrast.within)}, no stratum of "
                f"{both.height:,} has photos on both sides; hold fewer columns."
            )


def breakdowns(photos: pl.DataFrame) -> list[str]:
    """Return the attributes to offer for breakdowns: texts with at most half as many values as photos."""
    named = (name for name, kind in attributes(photos.schema).items() if not kind.is_numeric())
    return [name for name in named if 1 < photos[name].drop_nulls().n_unique() <= photos.height / 2]


def _offered(photos: pl.DataFrame) -> list[str]:
    """Return the columns that messages list."""
    numbers = [name for name, kind in attributes(photos.schema).items() if kind.is_numeric()]
    return [*(name for name in SELECTABLE if name in photos.columns), *breakdowns(photos), *numbers]


def _check_column(column: str, photos: pl.DataFrame, where: str) -> None:
    known = [*(name for name in SELECTABLE if name in photos.columns), *attributes(photos.schema)]
    if column not in known:
        raise UsageError(
            f"There is no column {column!r} for {where}; there are {', '.join(_offered(photos))}."
            f"{did_you_mean(column, known)}"
        )


def check_columns(columns: Sequence[str], photos: pl.DataFrame, where: str) -> None:
    """Refuse columns that photos do not have, or that are covariates.

    Args:
        columns: their names.
        photos: photos with attributes and covariates.
        where: what uses them, for the message.

    Raises:
        UsageError: one line that names the column.
    """
    for column in columns:
        _check_column(column, photos, where)
        if photos.schema[column].is_numeric():
            raise UsageError(f"The column {column!r} has numbers; {where} takes attributes, which are texts.")


def _check_condition(condition: Condition, photos: pl.DataFrame, what: str, *, values: bool) -> None:
    column = condition.column
    _check_column(column, photos, what)
    if photos.schema[column].is_numeric():
        for value in condition.values:
            _check_number(value, column)
        return
    if condition.sign not in ("=", "!="):
        raise UsageError(
            f"The column {column!r} has texts, which {condition.sign} does not compare: use = or !=."
        )
    if not values:
        return
    known = photos[column].drop_nulls().unique().sort().to_list()
    if not known:
        others = [name for name in _offered(photos) if photos[name].null_count() < photos.height]
        raise UsageError(
            f"No photo has a {column}, which {what} asks for: name a contrast of other columns; there are "
            f"{', '.join(others)}."
        )
    for value in condition.values:
        if value not in known:
            more = f" and {len(known) - _LISTED} more" if len(known) > _LISTED else ""
            raise UsageError(
                f"No photo has {column}={quoted(value)}; there are "
                f"{', '.join(known[:_LISTED])}{more}.{did_you_mean(value, known)}"
            )


def _check_number(value: str, column: str) -> None:
    if math.isnan(_number(value)):
        raise UsageError(f"The column {column!r} has numbers, and {value!r} is not one.")
