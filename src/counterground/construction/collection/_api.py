"""The part of the iNaturalist API that collecting needs, and from its observations to candidates."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from counterground.construction.collection._taxa import Choice, Taxon
from counterground.construction.settings import ALL_RIGHTS_RESERVED, INATURALIST, CollectOptions
from counterground.errors import CounterGroundError, first_problem
from counterground.http import Answer, Budget, Client, FetchError, PatientClient, RequestLimits, Waiting
from counterground.text import in_utf8

PER_PAGE = 200
_PER_NAME = 30
_LIMITS = RequestLimits(timeout=60.0, longest=300.0, most_bytes=16 * 1024**2)  # a page has a few MB at most

T = TypeVar("T")
_Number = Annotated[int, Field(ge=0, lt=2**63)]  # as SQLite keeps it
_Text = Annotated[str, AfterValidator(in_utf8)]


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
    taxon: Taxon | None = None
    user: UserAnswer | None = None
    photos: list[PhotoAnswer] | None = None


class Results(BaseModel, Generic[T]):
    """An answer: a page of results, and how many the query has in all."""

    results: list[T]
    total_results: _Number | None = None


class INaturalist:
    """Taxa and observations at one address; to be closed.

    Every method raises ``CounterGroundError`` if the server cannot be reached, refuses, or is not this API.
    """

    def __init__(self, options: CollectOptions, budget: Budget, waiting: Waiting) -> None:
        self._address = options.address
        self._client = PatientClient(
            Client(options.user_agent, _LIMITS), budget, first_pause=options.first_pause, waiting=waiting
        )
        self.close = self._client.close

    def taxon(self, number: int) -> Taxon | None:
        """Return the taxon with an id, active or not; None if there is none."""
        found = self._get(f"taxa/{number}", {}, Taxon, missing=True).results
        return found[0] if found else None

    def search(self, name: str) -> list[Taxon]:
        """Return active taxa that match a name, best first, in iNaturalist's order."""
        asked = {"q": name, "is_active": "true", "per_page": _PER_NAME}
        return self._get("taxa", asked, Taxon).results

    def observations(
        self, query: Query, below: int | None, per_page: int = PER_PAGE
    ) -> Results[ObservationAnswer]:
        """Return a page of observations, newest first, with ids below ``below``.

        Pages go by id: page numbers end at 10,000 observations, and shift as new ones arrive.
        """
        asked: dict[str, Any] = {"taxon_id": ",".join(map(str, query["taxa"])), "photos": "true"}
        if query["quality"] != "any":
            asked["quality_grade"] = query["quality"]
        if query["licences"] and not _UNKNOWN_TO_API & set(query["licences"]):
            asked["photo_license"] = ",".join(query["licences"])
        asked |= {"place_id": query["place"], "d1": query["since"], "d2": query["until"], "id_below": below}
        asked |= {"order_by": "id", "order": "desc", "per_page": per_page}
        given = {name: value for name, value in asked.items() if value is not None}
        return self._get("observations", given, ObservationAnswer)

    def _get(
        self, path: str, asked: Mapping[str, Any], kind: type[T], *, missing: bool = False
    ) -> Results[T]:
        url = f"{self._address}/{path}" + (f"?{urlencode(asked)}" if asked else "")
        try:
            answer = self._client.fetch(url, _read_json, follow=False)
            return Results[kind].model_validate(answer)  # type: ignore[valid-type]
        except FetchError as error:
            if missing and error.status in (404, 422):
                return Results(results=[])
            what = "What was fetched is kept: run the same command again later."
            if not error.again:
                what = "Is that the address of the API (it ends in /v1)?"
            raise CounterGroundError(f"{self._address}: {error.reason}. {what}") from error
        except ValidationError as error:
            raise CounterGroundError(
                f"{self._address} does not answer like the iNaturalist API ({first_problem(error)})."
            ) from error


def _read_json(answer: Answer) -> Any:
    if not answer.headers.get("Content-Type", "").startswith("application/json"):
        raise FetchError("it sends a page in place of JSON")
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError) as error:
        raise FetchError("it sends broken JSON", again=True) from error


Row = dict[str, Any]
Query = Mapping[str, Any]
"""What decides which photos a class gets, as JSON values: another query gives another selection."""

_SIZE = re.compile(r"/(square|thumb|small|medium|large|original)(?=\.[A-Za-z]{2,5}(?:\?|$))")
# The API knows the codes of licences but has none for "no licence": such sets are filtered here.
_UNKNOWN_TO_API = frozenset({ALL_RIGHTS_RESERVED, "pd"})


def make_query(choice: Choice, options: CollectOptions) -> Query:
    """Return the query of a class."""
    kept = ("quality", "place", "since", "until", "per_observation", "size")
    licences = sorted(set(options.licences))
    query = {name: getattr(options, name) for name in kept}
    return {"taxa": sorted(choice.ids), "licences": licences} | query


def candidate_rows(observation: ObservationAnswer, query: Query, class_name: str) -> list[Row]:
    """Return the first photos of an observation whose licence is wanted, as rows of ``CANDIDATE_SCHEMA``."""
    taxon, user = observation.taxon, observation.user
    shared: Row = {
        "class_name": class_name,
        "observation": str(observation.id),
        "observer": user and user.login,
        "taxon_id": taxon and taxon.id,
        "taxon": taxon and taxon.name,
        "source": observation.uri or f"https://www.inaturalist.org/observations/{observation.id}",
        "observed_on": observation.observed_on,
        "status": "wanted",
        "reason": None,
    }
    rows = []
    for photo in observation.photos or ():
        # No code means that the photographer grants no licence.
        licence = (photo.license_code or ALL_RIGHTS_RESERVED).lower()
        if query["licences"] and licence not in query["licences"]:
            continue
        address = sized(photo.url, query["size"])
        row = shared | {
            "key": f"{INATURALIST}:{photo.id}",
            "url": address,
            "licence": licence,
            "attribution": photo.attribution,
        }
        if address is None:
            row |= {"status": "failed", "reason": "hidden, or hosted elsewhere: its address has no sizes"}
        rows.append(row)
        if len(rows) == query["per_observation"]:
            break
    return rows


def sized(address: str | None, size: str) -> str | None:
    """Return the address of a photo in another size; None if the address has no size."""
    if not address or not _SIZE.search(address):
        return None
    address = f"https:{address}" if address.startswith("//") else address
    return _SIZE.sub(f"/{size}", address)
