"""A taxon, in so far as choosing one needs to know it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ANIMALS = 1  # id of the kingdom


@dataclass(frozen=True)
class Taxon:
    """One taxon of iNaturalist.

    Attributes:
        id: its number.
        name: its scientific name.
        rank: "species", "genus", ...
        common_name: the English name iNaturalist prefers; empty: none.
        observations: how many there are, of any quality.
        active: False where curators have replaced it.
        ancestors: ids of what it belongs to, without its own; empty: not said.
        found_by: the name that found it, which may be a synonym; empty: not said.
    """

    id: int
    name: str
    rank: str = ""
    common_name: str = ""
    observations: int = 0
    active: bool = True
    ancestors: tuple[int, ...] = ()
    found_by: str = ""

    @property
    def may_be_animal(self) -> bool:
        """False where it is known to be none."""
        return not self.ancestors or ANIMALS in self.ancestors

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Taxon:
        """Read a taxon as the API describes it; absent fields are as if unknown."""
        number = int(row["id"])
        return cls(
            id=number,
            name=str(row.get("name") or ""),
            rank=str(row.get("rank") or ""),
            common_name=str(row.get("preferred_common_name") or ""),
            observations=int(row.get("observations_count") or 0),
            active=row.get("is_active") is not False,
            ancestors=tuple(int(one) for one in row.get("ancestor_ids") or () if one != number),
            found_by=str(row.get("matched_term") or ""),
        )
