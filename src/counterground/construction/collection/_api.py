"""The part of the iNaturalist API that collecting needs; taxa and places are cached on this machine."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from counterground.construction.collection._options import CollectOptions
from counterground.construction.collection._taxa import Taxon
from counterground.errors import CounterGroundError, first_problem
from counterground.files import atomic_path, cache_dir
from counterground.http import Answer, Budget, Client, FetchError, PatientClient, RequestLimits, Waiting
from counterground.text import in_utf8

PER_PAGE = 200
_FOUND_PER_NAME = 30
_LIMITS = RequestLimits(timeout=60.0, longest=300.0, most_bytes=16 * 1024**2)  # a page has a few MB at most
_KEPT_SECONDS = 7 * 86400  # taxa and places hardly change


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


class INaturalist:
    """Taxa, places and observations at one address.

    Every method raises ``CounterGroundError`` if the server cannot be reached, refuses, or is not this API.
    """

    def __init__(self, options: CollectOptions, budget: Budget, waiting: Waiting) -> None:
        self._address = options.address
        self._client = PatientClient(
            Client(options.user_agent, _LIMITS), budget, first_pause=options.first_pause, waiting=waiting
        )
        self._cache = cache_dir() / "inaturalist" / "answers"

    def close(self) -> None:
        """Close connections."""
        self._client.close()

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
        kept = None if path == "observations" else self._cache / hashlib.sha256(url.encode()).hexdigest()
        try:
            answer = kept and _read_kept(kept)
            fetched = answer is None
            if fetched:
                answer = self._client.fetch(url, _read_json, follow=False)
            read = Results[kind].model_validate(answer)  # type: ignore[valid-type]
        except FetchError as error:
            if missing and error.status in (404, 422):
                return Results(results=[])
            raise CounterGroundError(self._explain(error)) from error
        except ValidationError as error:
            raise CounterGroundError(
                f"{self._address} does not answer like the iNaturalist API ({first_problem(error)})."
            ) from error
        if kept and fetched:
            with atomic_path(kept) as temporary:
                temporary.write_text(json.dumps(answer), encoding="utf-8")
        return read

    def _explain(self, error: FetchError) -> str:
        failure = f"{self._address}: {error.reason}"
        with suppress(ValueError, KeyError, TypeError, RecursionError):
            failure += f" ({str(json.loads(error.excerpt)['error'])[:100]})"
        if error.again:
            return f"{failure}. What was fetched is kept: run the same command again later."
        return f"{failure}. Is that the address of the API (it ends in /v1)?"


def _read_kept(file: Path) -> Any:
    """Return an answer kept before; None if there is none, or it is too old."""
    with suppress(OSError, ValueError):
        if time.time() - file.stat().st_mtime < _KEPT_SECONDS:
            return json.loads(file.read_text(encoding="utf-8"))
    return None


def _read_json(answer: Answer) -> Any:
    if not answer.headers.get("Content-Type", "").startswith("application/json"):
        raise FetchError("it sends a page in place of JSON")
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise FetchError("it sends broken JSON", again=True) from error


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
