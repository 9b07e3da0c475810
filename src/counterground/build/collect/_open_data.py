"""Candidates from iNaturalist's open-data dump: no request is made to list a million photos."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from counterground.build.collect._open_data_dump import Dump, open_dump
from counterground.errors import CounterGroundError, UsageError
from counterground.pool import CANDIDATE_SCHEMA

QUALITIES = ("research", "needs_id", "casual", "any")
SIZES = ("small", "medium", "large", "original")  # longest side of 240, 500, 1024 and 2048 pixels
MEDIA_URL = "https://inaturalist-open-data.s3.amazonaws.com"
_PAGE_URL = "https://www.inaturalist.org/observations/"


@dataclass(frozen=True)
class OpenTaxon:
    """A taxon of the dump."""

    taxon_id: int
    name: str
    rank: str
    active: bool
    ancestors: tuple[int, ...]


def resolve_taxa(folder: Path, names: Mapping[str, str | int]) -> dict[str, OpenTaxon]:
    """Return each class's taxon, from a scientific name or the number of a taxon.

    Case does not matter. Where a genus and its own subgenus share the name, the genus is meant.

    Args:
        folder: the dump.
        names: by class name, a scientific name or a taxon's number.

    Raises:
        UsageError: a name that no active taxon has or several unrelated ones have, or a number of none;
            one line for all of them.
        CounterGroundError: see ``open_dump``.
    """
    with open_dump(Path(folder)) as dump:
        dump.ask("CREATE TEMP TABLE asked (name VARCHAR, taxon_id INTEGER)")
        dump.fill("asked", [_asked(name) for name in dict.fromkeys(names.values())])
        rows = dump.ask(
            "SELECT a.name, a.taxon_id, t.taxon_id, t.name, coalesce(t.rank, ''), coalesce(t.active, false), "
            "coalesce(t.ancestry, '') FROM {dump} t "
            "JOIN asked a ON lower(t.name) = a.name OR t.taxon_id = a.taxon_id ORDER BY t.taxon_id",
            "taxa",
        )
        found: dict[tuple[str | None, int | None], list[OpenTaxon]] = {}
        for name, number, taxon_id, taxon, rank, active, ancestry in rows:
            chosen = OpenTaxon(taxon_id, taxon, rank, active, _ancestors(ancestry))
            found.setdefault((name, number), []).append(chosen)
        taxa, problems = {}, []
        for class_name, name in names.items():
            meant = _choose(dump, name, found.get(_asked(name), []))
            if isinstance(meant, OpenTaxon):
                taxa[class_name] = meant
            else:
                problems.append(f"class {class_name!r}: {meant}")
    if problems:
        more = f" (and {len(problems) - 5} more)" if len(problems) > 5 else ""
        raise UsageError(f"Not every class has a taxon in the dump: {'; '.join(problems[:5])}{more}.")
    return taxa


def list_open_data(
    folder: Path,
    taxa: Mapping[str, int | Sequence[int]],
    *,
    per_class: int = 500,
    quality: str = "research",
    licences: Sequence[str] | None = None,
    since: str | date | None = None,
    until: str | date | None = None,
    per_observation: int = 1,
    size: str = "medium",
    media_url: str = MEDIA_URL,
) -> pl.DataFrame:
    """Return each class's newest photos as ``CANDIDATE_SCHEMA``, by class and position; paper section 2.

    The dump has no date of upload, so the newest photos are those with the highest number. A taxon stands
    for all that descend from it. Of an observation its first photos count; a photo that several
    observations share counts once per class. A class may get fewer photos than asked for, or none.

    Args:
        folder: the dump: ``observations``, ``photos``, ``taxa``, ``observers``, each ``.csv.gz`` or ``.csv``.
        taxa: number of the taxon, or of several, by class name.
        per_class: photos of a class.
        quality: grade of the observations; "any" for all.
        licences: codes such as "cc-by"; None or none for all.
        since: first day of observation (ISO); observations without a date are then out.
        until: last day of observation.
        per_observation: photos of an observation.
        size: "small" (240 pixels on the longer side), "medium" (500), "large" (1024) or "original" (2048).
        media_url: where the photos lie; mirrors have the same layout.

    Raises:
        UsageError: see ``open_dump``; or a value that is none of those.
        CounterGroundError: a file of the dump is damaged or not as iNaturalist writes it.
    """
    if quality not in QUALITIES:
        raise UsageError(f"Unknown quality {quality!r}: there are {', '.join(QUALITIES)}.")
    if size not in SIZES:
        raise UsageError(f"Unknown size {size!r}: there are {', '.join(SIZES)}.")
    with open_dump(Path(folder)) as dump:
        _find_taxa(dump, taxa)
        dump.ask(
            _OBSERVATIONS,
            "observations",
            quality=None if quality == "any" else quality,
            since=None if since is None else str(since),
            until=None if until is None else str(until),
        )
        codes = [code.lower() for code in licences] if licences else None
        dump.ask(_PHOTOS, "photos", licences=codes)
        dump.ask(_NEWEST, per_observation=per_observation, per_class=per_class)
        rows = dump.ask(_OBSERVERS, "observers")
    place = f"{media_url.rstrip('/')}/photos"
    columns = (*CANDIDATE_SCHEMA,)
    made = [_candidate(row, place, size) for row in rows]
    return pl.DataFrame([[row.get(name) for name in columns] for row in made], CANDIDATE_SCHEMA, orient="row")


_TAXA = """
CREATE TEMP TABLE member AS
SELECT w.class_name, t.taxon_id, any_value(t.name) AS name
FROM (
    SELECT taxon_id, name, unnest(string_split(concat_ws('/', ancestry, taxon_id), '/')) AS ancestor
    FROM {dump}
) t JOIN wanted w ON w.taxon_id = TRY_CAST(t.ancestor AS INTEGER)
GROUP BY w.class_name, t.taxon_id
"""

_OBSERVATIONS = """
CREATE TEMP TABLE seen AS
SELECT m.class_name, CAST(o.observation_uuid AS UUID) AS observation_uuid, o.taxon_id, m.name AS taxon,
    o.observed_on
FROM {dump} o JOIN member m USING (taxon_id)
WHERE ($quality IS NULL OR o.quality_grade = $quality)
AND ($since IS NULL OR o.observed_on >= $since)
AND ($until IS NULL OR o.observed_on <= $until)
"""

_PHOTOS = """
CREATE TEMP TABLE photo AS
SELECT s.*, p.photo_id, p.observer_id, p.extension, lower(p.license) AS licence,
    coalesce(p.position, 0) AS place
FROM {dump} p JOIN seen s USING (observation_uuid)
WHERE $licences IS NULL OR list_contains($licences, lower(p.license))
"""

_NEWEST = """
CREATE TEMP TABLE newest AS
SELECT *, row_number() OVER (PARTITION BY class_name ORDER BY photo_id DESC) - 1 AS position
FROM (
    SELECT *, row_number() OVER (
        PARTITION BY class_name, observation_uuid ORDER BY place, photo_id DESC
    ) AS turn
    FROM (
        SELECT *, row_number() OVER (
            PARTITION BY class_name, photo_id ORDER BY place, observation_uuid
        ) AS occurrence
        FROM photo
    )
    WHERE occurrence = 1
)
WHERE turn <= $per_observation
QUALIFY position < $per_class
"""

_OBSERVERS = """
SELECT n.class_name, n.position, n.photo_id, CAST(n.observation_uuid AS VARCHAR), n.taxon_id, n.taxon,
    n.observed_on, n.licence, n.extension, n.observer_id, o.login, o.name
FROM {dump} o RIGHT JOIN newest n USING (observer_id)
ORDER BY n.class_name, n.position
"""


def _asked(name: str | int) -> tuple[str | None, int | None]:
    text = str(name).strip()
    return (None, int(text)) if text.isdigit() else (text.lower(), None)


def _ancestors(ancestry: str) -> tuple[int, ...]:
    return tuple(int(part) for part in ancestry.split("/") if part.isdigit())


def _choose(dump: Dump, name: str | int, found: list[OpenTaxon]) -> OpenTaxon | str:
    """Return the taxon that is meant, or why none is."""
    active = [taxon for taxon in found if taxon.active]
    for taxon in active:
        if all(taxon is other or taxon.taxon_id in other.ancestors for other in active):
            return taxon
    if active:
        listed = ", ".join(
            f"{taxon.taxon_id} ({taxon.rank} in {_where(dump, taxon)})" for taxon in active[:5]
        )
        return f"{name!r} is the name of several taxa, choose by number: {listed}"
    if found:
        return f"{name!r} is inactive, its photos are under another name now: look it up on iNaturalist"
    if str(name).strip().isdigit():
        return f"there is no taxon {name}"
    close = dump.ask(
        "SELECT name FROM {dump} WHERE active AND name IS NOT NULL "
        "AND jaro_winkler_similarity(lower(name), lower($name)) >= 0.85 "
        "ORDER BY jaro_winkler_similarity(lower(name), lower($name)) DESC, name LIMIT 3",
        "taxa",
        name=str(name),
    )
    hint = f", did you mean {', '.join(repr(row[0]) for row in close)}?" if close else ""
    return f"no taxon is called {name!r}{hint}"


def _where(dump: Dump, taxon: OpenTaxon) -> str:
    """Name the ancestor by which a reader knows one homonym from another."""
    rows = dump.ask(
        "SELECT name, rank FROM {dump} WHERE list_contains($ancestors, taxon_id)",
        "taxa",
        ancestors=list(taxon.ancestors),
    )
    by_rank = {rank: name for name, rank in rows}
    ranks = ("class", "phylum", "kingdom")
    return next((str(by_rank[rank]) for rank in ranks if rank in by_rank), "no known class")


def _find_taxa(dump: Dump, taxa: Mapping[str, int | Sequence[int]]) -> None:
    wanted = [
        (name, number)
        for name, numbers in taxa.items()
        for number in ([numbers] if isinstance(numbers, int) else numbers)
    ]
    dump.ask("CREATE TEMP TABLE wanted (class_name VARCHAR, taxon_id INTEGER)")
    dump.fill("wanted", wanted)
    dump.ask(_TAXA, "taxa")
    there = {row[0] for row in dump.ask("SELECT taxon_id FROM member")}
    for name, number in wanted:
        if number not in there:
            raise UsageError(
                f"The dump has no taxon {number} (class {name!r}): choose another for the class."
            )


def _candidate(row: tuple[Any, ...], place: str, size: str) -> dict[str, object]:
    (
        class_name,
        position,
        photo,
        observation,
        taxon_id,
        taxon,
        day,
        licence,
        extension,
        number,
        login,
        name,
    ) = row
    observer = login or (None if number is None else str(number))
    if extension is None or not str(extension).isalnum():
        raise CounterGroundError(
            f"Photo {photo} of the dump has the extension {extension!r}: fetch it again."
        )
    return {
        "key": f"inaturalist:{photo}",
        "class_name": class_name,
        "position": position,
        "url": f"{place}/{photo}/{size}.{extension}",
        "observation": observation,
        "observer": observer,
        "taxon_id": taxon_id,
        "taxon": taxon,
        "licence": licence or None,
        "attribution": _credit(name or observer or "unknown observer", licence or ""),
        "source": f"{_PAGE_URL}{observation}",
        "observed_on": day or None,
        "status": "wanted",
        "tries": 0,
    }


def _credit(name: str, licence: str) -> str:
    """Word the credit as iNaturalist does."""
    if licence == "cc0":
        return f"{name}, no rights reserved (CC0)"
    if licence == "pd":
        return f"{name}, public domain"
    code = licence.upper().replace("CC-", "CC ", 1)
    return f"(c) {name}, some rights reserved ({code})" if code else f"(c) {name}"
