"""A page that shows each group of photos and asks for its word."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

import polars as pl

from counterground.discovery._backgrounds import NOT_A_BACKGROUND, FoundBackgrounds
from counterground.discovery._suggestions import suggested_words
from counterground.files import write_parquet, write_text
from counterground.reporting import make_thumbnails
from counterground.reporting.shell import as_script, page_policy, render_page
from counterground.reporting.shown_photos import photo_sources
from counterground.settings import DiscoverSettings

GROUPS_FILES = ("groups.html", "groups.parquet")
_SHOWN = 12  # photos of each group
_MEGABYTES = 8.0


def write_groups(found: FoundBackgrounds, settings: DiscoverSettings, out: Path) -> None:
    """Write ``groups.parquet`` and ``groups.html``, where people name the groups.

    Photos are spread over scenes, the nearest and the farthest of each in turn: the most central ones may all
    be of one scene, and the farthest may not belong here.
    """
    out.mkdir(parents=True, exist_ok=True)
    write_parquet(out / GROUPS_FILES[1], found.groups)
    nearest, farthest = (
        2 * pl.col("distance").rank("ordinal", descending=far).over("name", "scene") + far
        for far in (False, True)
    )
    shown = found.groups.drop_nulls("name").with_columns(turn=pl.min_horizontal(nearest, farthest))
    shown = shown.sort("name", "turn", "distance").group_by("name", maintain_order=True).head(_SHOWN)
    photos = found.shown.photos.select("path", "photo_id", "licence", "attribution")
    shown = shown.join(photos, on="path", maintain_order="left")
    sources = photo_sources([found.shown])
    pictures = make_thumbnails(shown.select("path", "photo_id").rows(), sources, _MEGABYTES).pictures
    suggested = suggested_words(
        {
            name: [sources[identity].file for identity in of["photo_id"]]
            for (name,), of in shown.group_by("name", maintain_order=True)
        },
        settings,
    )
    groups = [
        {
            "name": name,
            "key": of["key"][0],
            "word": of["background"][0],
            "photos": of.height,
            "scenes": of.filter("chooses")["scene"].n_unique(),
            "suggested": suggested.get(name, []),
            "shown": [
                (pictures[identity], path)
                for path, identity in shown.filter(name=name).select("path", "photo_id").iter_rows()
                if identity in pictures
            ],
        }
        for (name,), of in found.groups.drop_nulls("name")
        .sort(pl.col("name").str.len_chars(), "name")
        .group_by("name", maintain_order=True)
    ]
    script = files("counterground.discovery").joinpath("templates", "groups.js").read_text("utf-8")
    page = render_page(
        "groups.html.j2",
        "counterground.discovery",
        groups=groups,
        no_background=NOT_A_BACKGROUND,
        benchmark=found.benchmark.name,
        sentences=[found.refusal, *found.notes, *(each.text for each in found.findings)],
        script=as_script(script),
        policy=page_policy([script]),
    )
    write_text(out / GROUPS_FILES[0], page)
