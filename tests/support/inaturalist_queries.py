"""What iNaturalist's API makes of a query: which observations fit, which page of them, photos by size."""

from __future__ import annotations

import io
from functools import lru_cache
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from inaturalist_server import Observation, Taxon


def lineage(taxon: Taxon) -> list[int]:
    return [*taxon.ancestors, taxon.id]


def fits(one: Observation, query: dict[str, str]) -> bool:
    taxa = {int(part) for part in query.get("taxon_id", "").split(",") if part}
    licences = set(query.get("photo_license", "").split(",")) - {""}
    places = {int(part) for part in query.get("place_id", "").split(",") if part}
    return (
        (not taxa or bool(taxa & set(lineage(one.taxon))))
        and ("id_below" not in query or one.id < int(query["id_below"]))
        and ("quality_grade" not in query or one.quality in query["quality_grade"].split(","))
        and (not licences or any(photo.licence in licences for photo in one.photos))
        and (not places or bool(places & set(one.places)))
        and query.get("d1", "") <= one.observed_on
        and ("d2" not in query or one.observed_on <= query["d2"])
        and (query.get("photos") != "true" or bool(one.photos))
    )


def page_of(rows: list[dict], query: dict[str, str], most: int) -> dict:
    size = min(int(query.get("per_page", 30)), most)
    number = int(query.get("page", 1))
    shown = rows[(number - 1) * size : number * size]
    return {"total_results": len(rows), "page": number, "per_page": size, "results": shown}


@lru_cache(maxsize=4096)
def resized(data: bytes, longest: int) -> bytes:
    try:
        image = Image.open(io.BytesIO(data))
        if max(image.size) <= longest:
            return data
        kind = image.format or "JPEG"
        image.thumbnail((longest, longest))
    except OSError:  # tests serve broken bytes, too
        return data
    out = io.BytesIO()
    image.save(out, kind)
    return out.getvalue()
