"""What a BENCHMARK says beyond a path: ``photos.csv?image=url&label=species``, ``hf:org/name?split=test``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, unquote

from counterground.errors import CounterGroundError, UsageError, did_you_mean

COLUMNS = {
    "image": "path",
    "label": "class_name",
    "background": "background",
    "group": "group",
    "cluster": "cluster",
    "mask": "mask",
    "licence": "licence",
    "attribution": "attribution",
    "source": "source",
}
"""What a specification calls the columns of a manifest."""

_WEB = ("http://", "https://")
_BRACES = re.compile(r"\{(\d{1,18})\.\.(\d{1,18})\}")
_MOST_SHARDS = 100_000


@dataclass(frozen=True)
class Source:
    """A parsed specification.

    Attributes:
        text: as the user wrote it, for messages.
        place: a path, ``hf:NAME`` or a URL.
        columns: column of the manifest -> column of the source.
        options: the other settings.
    """

    text: str
    place: str
    columns: Mapping[str, str]
    options: Mapping[str, str]

    def only(self, *allowed: str) -> None:
        """Refuse options that this kind of source does not have.

        Raises:
            UsageError: there is one.
        """
        for key in self.options:
            if key not in allowed:
                known = [*COLUMNS, *allowed]
                hint = did_you_mean(key, known)
                raise UsageError(f"{self.text}: unknown setting {key!r}; known are {', '.join(known)}.{hint}")


def parse_source(text: str) -> Source:
    """Parse a specification; a path that exists is taken as it is, whatever characters it has.

    In the query of a URL, only ``names`` and the columns are ours; the rest belongs to the URL.

    Raises:
        UsageError: a setting without a value, or twice.
    """
    place, mark, query = text.partition("?")
    if not mark or _exists(text):
        return Source(text, text, {}, {})
    pairs = parse_qsl(query, keep_blank_values=True)
    of_url = is_web(text)
    kept = [part for part in query.split("&") if unquote(part.partition("=")[0]) not in {*COLUMNS, "names"}]
    if of_url:
        pairs = [(key, value) for key, value in pairs if key in COLUMNS or key == "names"]
        place += f"?{'&'.join(kept)}" if kept else ""
    settings: dict[str, str] = {}
    for key, value in pairs:
        if not value or key in settings:
            raise UsageError(f"{text}: {key!r} {'is given twice' if value else 'has no value'}.")
        settings[key] = value
    columns = {COLUMNS[key]: value for key, value in settings.items() if key in COLUMNS}
    return Source(text, place, columns, {key: value for key, value in settings.items() if key not in COLUMNS})


def names_source(text: str) -> bool:
    """Return whether a text is a specification, not a path or a name."""
    if _exists(text):
        return False
    if text.startswith("hf:") or is_web(text):
        return True
    place = text.partition("?")[0]
    return bool(_BRACES.search(place)) or (place != text and _exists(place))


def is_web(text: str) -> bool:
    """Return whether a text is a web address."""
    return text.lower().startswith(_WEB)


def expand_braces(place: str) -> list[str]:
    """Return the places that ``{00000..00009}`` stands for, with leading zeros if they are written.

    Raises:
        UsageError: the numbers run backwards, or there are far too many.
    """
    match = _BRACES.search(place)
    if match is None:
        return [place]
    first, last = match[1], match[2]
    numbers = range(int(first), int(last) + 1)
    if not numbers or len(numbers) > _MOST_SHARDS:
        raise UsageError(f"{place}: {match[0]} stands for no shard, or for more than {_MOST_SHARDS:,}.")
    padded = len(first) if first.startswith("0") or len(first) == len(last) else 0
    begun = [f"{place[: match.start()]}{number:0{padded}}" for number in numbers]
    rests = expand_braces(place[match.end() :])
    if len(begun) * len(rests) > _MOST_SHARDS:
        raise UsageError(f"{place}: its braces stand for more than {_MOST_SHARDS:,} shards.")
    return [start + rest for start in begun for rest in rests]


def find_column(column: str, known: Iterable[str]) -> str:
    """Return the name of a column.

    Raises:
        CounterGroundError: there is no such column.
    """
    known = list(known)
    if column not in known:
        hint = did_you_mean(column, known)
        raise CounterGroundError(f"there is no column {column!r}; it has {', '.join(known)}.{hint}")
    return column


def _exists(text: str) -> bool:
    try:
        return Path(text).exists()
    except (OSError, ValueError):  # too long, or with a null byte
        return False
