"""The part of the iNaturalist API that collecting needs, and from its observations to candidates."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import urlencode

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from counterground.construction.collection._taxa import Choice, Taxon
from counterground.construction.pool import PhotoKey
from counterground.construction.settings import ALL_RIGHTS_RESERVED, INATURALIST, CollectOptions
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


Row = dict[str, Any]

_SIZE = re.compile(r"/(square|thumb|small|medium|large|original)(?=\.[A-Za-z]{2,5}(?:\?|$))")
# The API knows the codes of licences but has none for "no licence": such sets are filtered here.
_UNKNOWN_TO_API = frozenset({ALL_RIGHTS_RESERVED, "pd"})


@dataclass(frozen=True)
class Query:
    """What decides which photos a class gets; another query gives another selection."""

    taxa: tuple[int, ...]
    quality: str
    licences: tuple[str, ...]
    place: int | None
    since: str | None
    until: str | None
    per_observation: int
    size: str

    def to_setting(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self) | {"taxa": list(self.taxa), "licences": list(self.licences)}


@dataclass
class ListingState:
    """The progress of the listing of one class; stored in the pool.

    Attributes:
        query: what is listed.
        below: the next page holds observations with lower ids; None: from the newest.
        exhausted: there is nothing left to list.
    """

    query: dict[str, Any]
    below: int | None = None
    exhausted: bool = False


def make_query(choice: Choice, options: CollectOptions, place: int | None) -> Query:
    """Return the query of a class."""
    return Query(
        tuple(choice.ids),
        options.quality,
        tuple(sorted(set(options.licences))),
        place,
        options.since,
        options.until,
        options.per_observation,
        options.size,
    )


def state_for(class_name: str, query: Query, stored: Mapping[str, Any] | None, *, add: bool) -> ListingState:
    """Return where the listing of a class continues: where it stopped, or at the newest photo.

    With ``add``, another query begins at the newest photo, and so does the same one once it is exhausted.

    Raises:
        CounterGroundError: the pool lists the class under another query, and ``add`` was not asked for.
    """
    wanted = query.to_setting()
    if stored is None:
        return ListingState(wanted)
    state = ListingState(**stored)
    if add:
        return ListingState(wanted) if state.exhausted or state.query != wanted else state
    changed = [name for name, value in wanted.items() if state.query.get(name) != value]
    if changed:
        raise CounterGroundError(
            f"The pool has {class_name!r} from another query (other {', '.join(changed)}): repeat that, "
            "use --add to add what the new one finds, or start another pool."
        )
    return state


def api_parameters(query: Query) -> dict[str, Any]:
    """Return a query as parameters of the API."""
    asked: dict[str, Any] = {"taxon_id": ",".join(map(str, query.taxa)), "photos": "true"}
    if query.quality != "any":
        asked["quality_grade"] = query.quality
    if query.licences and not _UNKNOWN_TO_API & set(query.licences):
        asked["photo_license"] = ",".join(query.licences)
    further = {"place_id": query.place, "d1": query.since, "d2": query.until}
    return asked | {name: value for name, value in further.items() if value is not None}


def list_page(api: INaturalist, choice: Choice, query: Query, state: ListingState) -> list[Row]:
    """Return candidates of the next page, newest first and without position, and move ``state`` past it."""
    page = api.observations(api_parameters(query), state.below)
    ids = [observation.id for observation in page.results]
    # A server that ignores id_below would be asked for the same page for ever.
    if not ids or (state.below is not None and min(ids) >= state.below):
        state.exhausted = True
        return []
    rows = [row for each in page.results for row in candidate_rows(each, query, choice.class_name)]
    state.below = min(ids)
    state.exhausted = page.total_results is not None and page.total_results <= len(ids)
    return rows


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
        if query.licences and licence not in query.licences:
            continue
        address = sized(photo.url, query.size)
        row = shared | {
            "key": str(PhotoKey(INATURALIST, str(photo.id))),
            "url": address,
            "licence": licence,
            "attribution": photo.attribution,
        }
        if address is None:
            row |= {"status": "failed", "reason": "hidden, or hosted elsewhere: its address has no sizes"}
        rows.append(row)
        if len(rows) == query.per_observation:
            break
    return rows


def sized(address: str | None, size: str) -> str | None:
    """Return the address of a photo in another size; None if the address has no size."""
    if not address or not _SIZE.search(address):
        return None
    address = f"https:{address}" if address.startswith("//") else address
    return _SIZE.sub(f"/{size}", address)


def find_place(api: INaturalist, wanted: str) -> int:
    """Return the id of a place given by id or by name.

    Raises:
        CounterGroundError: no place has that name, or several have.
    """
    if re.fullmatch(r"[0-9]{1,18}", wanted):
        return int(wanted)
    found = api.places(wanted)
    exact = [
        place.id
        for place in found
        if wanted.casefold() in ((place.display_name or "").casefold(), (place.name or "").casefold())
    ]
    if len(exact) == 1:
        return exact[0]
    listed = "; ".join(f"{place.id} {place.display_name or place.name}" for place in found[:6])
    raise CounterGroundError(
        f"No place, or more than one, is called {wanted!r} (found: {listed or 'none'}): "
        "give its id, --place ID."
    )
