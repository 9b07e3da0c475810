"""The part of the iNaturalist API that collecting needs; answers are cached on this machine for a while."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from counterground.construction.collection._options import API_URL, CollectOptions
from counterground.construction.collection._taxa import Taxon
from counterground.errors import CounterGroundError, first_problem
from counterground.files import cache_dir, check_writable
from counterground.http import Answer, Budget, Client, FetchError, PatientClient, RequestLimits, Waiting
from counterground.text import in_utf8

PER_PAGE = 200
_FOUND_PER_NAME = 30
_LIMITS = RequestLimits(timeout=60.0, longest=300.0, most_bytes=16 * 1024**2)  # a page has a few MB at most
_DAY = 86400
_KEPT_SECONDS = 1800
_NAMES_KEPT_SECONDS = 7 * _DAY  # taxa and places hardly change


T = TypeVar("T")
_Number = Annotated[int, Field(ge=0, lt=2**63)]  # as SQLite keeps it
_Text = Annotated[str, AfterValidator(in_utf8)]


class TaxonAnswer(BaseModel):
    """What is used of a taxon, as the API describes it."""

    id: _Number
    name: _Text | None = None
    rank: _Text | None = None
    preferred_common_name: _Text | None = None
    matched_term: _Text | None = None
    observations_count: _Number | None = None
    is_active: bool | None = None
    ancestor_ids: list[_Number] | None = None


class PhotoAnswer(BaseModel):
    """What is used of an observation's photo."""

    id: _Number
    url: _Text | None = None
    license_code: _Text | None = None
    attribution: _Text | None = None


class UserAnswer(BaseModel):
    """What is used of an observer."""

    login: _Text | None = None


class ObservationAnswer(BaseModel):
    """What is used of an observation."""

    id: _Number
    uri: _Text | None = None
    observed_on: _Text | None = None
    taxon: TaxonAnswer | None = None
    user: UserAnswer | None = None
    photos: list[PhotoAnswer] | None = None


class PlaceAnswer(BaseModel):
    """What is used of a place."""

    id: _Number
    name: _Text | None = None
    display_name: _Text | None = None


class Results(BaseModel, Generic[T]):
    """An answer: a page of results, and how many the query has in all."""

    results: list[T]
    total_results: _Number | None = None


class _NotJsonError(FetchError):
    """Something else arrived in place of JSON: a page from the network, or half an answer."""


class INaturalist:
    """Taxa, places and observations at one address.

    Every method raises ``CounterGroundError`` if the server cannot be reached, refuses, or is not this API.
    """

    def __init__(self, options: CollectOptions, budget: Budget, waiting: Waiting) -> None:
        self._address = options.address
        self._client = PatientClient(
            Client(options.user_agent, _LIMITS), budget, first_pause=options.first_pause, waiting=waiting
        )
        self._cache = _AnswerCache()
        self._anew = options.add  # to list what was uploaded meanwhile, not a cached page

    def close(self) -> None:
        """Close connections and the cache."""
        self._client.close()
        self._cache.close()

    def taxon(self, number: int) -> Taxon | None:
        """Return the taxon with an id, active or not; None if there is none."""
        found = self._get(f"taxa/{number}", {}, TaxonAnswer, missing=True)
        return _taxon(found.results[0]) if found.results else None

    def search(self, name: str) -> list[Taxon]:
        """Return active taxa that match a name, best first, in iNaturalist's order."""
        asked = {"q": name, "is_active": "true", "per_page": _FOUND_PER_NAME}
        return [_taxon(one) for one in self._get("taxa", asked, TaxonAnswer).results]

    def places(self, name: str) -> list[PlaceAnswer]:
        """Return the places whose name begins with ``name``."""
        asked = {"q": name, "per_page": _FOUND_PER_NAME}
        return self._get("places/autocomplete", asked, PlaceAnswer).results

    def observations(
        self, query: Mapping[str, Any], below: int | None, per_page: int = PER_PAGE
    ) -> Results[ObservationAnswer]:
        """Return a page of observations, newest first, with ids below ``below``.

        Pages go by id: page numbers end at 10,000 observations, and shift as new ones arrive.
        """
        asked = {**query, "order_by": "id", "order": "desc", "per_page": per_page}
        asked |= {"id_below": below} if below is not None else {}
        return self._get("observations", asked, ObservationAnswer)

    def _get(
        self, path: str, asked: Mapping[str, Any], kind: type[T], *, missing: bool = False
    ) -> Results[T]:
        url = f"{self._address}/{path}" + (f"?{urlencode(asked)}" if asked else "")
        kept = None if self._anew and path == "observations" else self._cache.find(url)
        try:
            headers, answer = ({}, kept) if kept else self._client.fetch(url, _read_json, follow=False)
            read = Results[kind].model_validate(answer)  # type: ignore[valid-type]
        except FetchError as error:
            if missing and error.status in (404, 422):
                return Results(results=[])
            raise CounterGroundError(self._explain(error)) from error
        except ValidationError as error:
            raise CounterGroundError(
                f"{self._address} does not answer like the iNaturalist API ({first_problem(error)})."
            ) from error
        if not kept:
            self._cache.keep(url, answer, _lifetime(path, headers.get("Cache-Control", "")))
        return read

    def _explain(self, error: FetchError) -> str:
        if isinstance(error, _NotJsonError):
            return (
                f"{self._address} sends pages or broken answers in place of JSON: is that the address of the "
                "API, and does this network allow the connection?"
            )
        if error.status is None and not error.again:
            return f"{self._address}: {error.reason}. Is that the address of the API?"
        if error.status is None:
            return (
                f"{self._address} cannot be reached ({error.reason}). What was fetched is kept: "
                "run the same command again when the connection is back."
            )
        failure = f"{self._address}: {error.reason}"
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            failure += f" ({str(json.loads(error.excerpt)['error'])[:100]})"
        if error.again:
            return f"{failure} again and again. What was fetched is kept: run the same command again later."
        if 300 <= error.status < 400:
            return f"{failure}. Give the address it leads to with --api-url, if you trust it."
        own = error.status == 404 and self._address != API_URL
        return f"{failure}: is that the address of the API? It ends in /v1." if own else f"{failure}."


def _read_json(answer: Answer) -> tuple[Mapping[str, str], Any]:
    if not answer.headers.get("Content-Type", "").startswith("application/json"):
        raise _NotJsonError("a page in place of JSON")
    try:
        return answer.headers, json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise _NotJsonError("broken JSON", again=True) from error


def _taxon(answer: TaxonAnswer) -> Taxon:
    """Return a taxon; absent fields count as unknown."""
    return Taxon(
        id=answer.id,
        name=answer.name or "",
        rank=answer.rank or "",
        common_name=answer.preferred_common_name or "",
        observations=answer.observations_count or 0,
        active=answer.is_active is not False,
        ancestors=tuple(one for one in answer.ancestor_ids or () if one != answer.id),
        found_by=answer.matched_term or "",
    )


def _lifetime(path: str, cache_control: str) -> int:
    """Return for how many seconds to keep an answer; the server may state this itself."""
    if "no-store" in cache_control:
        return 0
    if stated := re.search(r"\bmax-age=(\d{1,9})", cache_control):
        return int(stated[1])
    return _KEPT_SECONDS if path == "observations" else _NAMES_KEPT_SECONDS


class _AnswerCache:
    """Answers by address, in one SQLite file for all processes of this user; for use in one thread."""

    def __init__(self) -> None:
        self._path = cache_dir() / "inaturalist" / "answers.sqlite"
        check_writable(self._path.parent)
        with self._clear_errors():
            self._connection = sqlite3.connect(self._path, timeout=30, isolation_level=None)
            # Answers lost in a power cut are requested again.
            self._connection.execute("PRAGMA synchronous = OFF")
            self._connection.execute(
                "CREATE TABLE IF NOT EXISTS answer (url TEXT PRIMARY KEY, until REAL, body TEXT)"
            )
            self._connection.execute("DELETE FROM answer WHERE until < ?", (time.time(),))

    def find(self, url: str) -> dict[str, Any] | None:
        with self._clear_errors():
            row = self._connection.execute(
                "SELECT body FROM answer WHERE url = ? AND until > ?", (url, time.time())
            ).fetchone()
        if row is None:
            return None
        found: dict[str, Any] = json.loads(row[0])
        return found

    def keep(self, url: str, answer: dict[str, Any], seconds: int) -> None:
        with self._clear_errors():
            values = (url, time.time() + seconds, json.dumps(answer))
            self._connection.execute("INSERT OR REPLACE INTO answer VALUES (?, ?, ?)", values)

    def close(self) -> None:
        self._connection.close()

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise CounterGroundError(
                f"The cache of answers {self._path} cannot be used ({error}): free some space, or delete it."
            ) from error
