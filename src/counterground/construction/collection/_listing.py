"""From observations to candidates, page by page, and where a listing continues."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from counterground.construction.collection._api import INaturalist, ObservationAnswer
from counterground.construction.collection._options import (
    ALL_RIGHTS_RESERVED,
    INATURALIST,
    CollectOptions,
)
from counterground.construction.collection._taxa import Choice
from counterground.construction.pool import PhotoKey
from counterground.errors import CounterGroundError

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
