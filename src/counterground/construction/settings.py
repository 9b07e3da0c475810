"""The settings of the commands of ``data``; nothing heavy is imported here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Annotated, ClassVar, Literal
from urllib.parse import urlsplit

from counterground.errors import UsageError
from counterground.http import DAY, HOUR, MINUTE, Limit, user_agent
from counterground.settings import Help, ModelSettings, Record

API_URL = "https://api.inaturalist.org/v1"
INATURALIST = "inaturalist"
"""The source in a photo's key."""
ALL_RIGHTS_RESERVED = "all-rights-reserved"
Licence = Literal[
    "cc0",
    "cc-by",
    "cc-by-sa",
    "cc-by-nd",
    "cc-by-nc",
    "cc-by-nc-sa",
    "cc-by-nc-nd",
    "pd",
    "all-rights-reserved",
]
_SITE = "inaturalist.org"
# Published by iNaturalist ("API recommended practices"); whoever asks for more may be blocked. The requests
# of a minute must not come in its first second.
PUBLISHED_LIMITS = {
    "requests": (Limit(5.0, 5), Limit(MINUTE, 60), Limit(DAY, 10_000)),
    "bytes": (Limit(HOUR, 5_000_000_000), Limit(DAY, 24_000_000_000)),
}


@dataclass(frozen=True, kw_only=True)
class CollectOptions(Record):
    """Settings of ``data collect``.

    ``first_pause`` are the seconds before the first retry, doubled before each further one.
    """

    command: ClassVar[str] = "data collect"
    usual: ClassVar[tuple[str, ...]] = ("per_class", "licences", "place", "since", "until", "taxa", "add")

    per_class: Annotated[int, Help("Photos per class, newest first.", least=1)] = 500
    quality: Annotated[
        Literal["research", "needs_id", "casual", "any"], Help("Quality grade of observations.")
    ] = "research"
    licences: Annotated[
        tuple[Licence, ...],
        Help(
            "Only photos under this licence (cc0, cc-by, cc-by-nc, ...); repeatable.  [default: any, "
            "including all rights reserved]",
            metavar="CODE",
        ),
    ] = ()
    place: Annotated[
        int | None, Help("Only photos from this place, by its id on iNaturalist.", metavar="ID", least=0)
    ] = None
    since: Annotated[str | None, Help("First day of observation, such as 2024-05-31.", metavar="DATE")] = None
    until: Annotated[str | None, Help("Last day of observation.", metavar="DATE")] = None
    taxa: Annotated[
        Mapping[str, tuple[int, ...]],
        Help("iNaturalist taxon id of a class, remembered in the pool; repeatable.", metavar="CLASS=ID"),
    ] = field(default_factory=dict)
    size: Annotated[Literal["small", "medium", "large", "original"], Help("Size of the photos.")] = "medium"
    per_observation: Annotated[int, Help("Maximum photos per observation.", least=1)] = 1
    add: Annotated[
        bool,
        Help("Add photos from a different query, or new ones of the same, up to --per-class in all."),
    ] = False
    jobs: Annotated[int, Help("Parallel downloads.", least=1, most=16)] = 4
    contact: Annotated[
        str | None,
        Help(
            "E-mail address or web page, sent so that iNaturalist can contact you.  [default: "
            "$COUNTERGROUND_CONTACT]",
            metavar="ADDRESS",
            env="COUNTERGROUND_CONTACT",
        ),
    ] = None
    api_url: Annotated[
        str | None,
        Help(
            "Another server with the iNaturalist API (the URL ends in /v1).  [default: "
            "$COUNTERGROUND_API_URL, else iNaturalist's]",
            metavar="URL",
            env="COUNTERGROUND_API_URL",
        ),
    ] = None
    first_pause: float = 2.0
    show_progress: bool = False

    def check(self) -> None:
        """Refuse what is no date."""
        for name in ("since", "until"):
            value = getattr(self, name)
            try:
                date.fromisoformat(value or "2024-05-31")
            except ValueError as error:
                raise UsageError(
                    f"{value!r} is not a date for --{name}; write it as year-month-day: 2024-05-31."
                ) from error

    @property
    def address(self) -> str:
        """The API's address, without a slash at its end."""
        return (self.api_url or os.environ.get("COUNTERGROUND_API_URL") or API_URL).rstrip("/")

    @property
    def account(self) -> str:
        """Whose budget is spent: iNaturalist's, however its address is written, or that of another server."""
        host = (urlsplit(self.address).hostname or "").rstrip(".")
        return INATURALIST if host == _SITE or host.endswith(f".{_SITE}") else self.address

    @property
    def limits(self) -> dict[str, tuple[Limit, ...]]:
        """What may be spent: iNaturalist's published limits; another server has none."""
        return PUBLISHED_LIMITS if self.account == INATURALIST else {"requests": (), "bytes": ()}

    @property
    def user_agent(self) -> str:
        """The user agent sent with requests."""
        return user_agent(self.contact or os.environ.get("COUNTERGROUND_CONTACT"))


@dataclass(frozen=True, kw_only=True)
class ImportOptions(Record):
    """Settings of ``data import``."""

    command: ClassVar[str] = "data import"
    usual: ClassVar[tuple[str, ...]] = ("class_name", "rename")

    class_name: Annotated[
        str | None, Help("Class of all photos of a folder without class folders.", metavar="CLASS")
    ] = None
    rename: Annotated[Mapping[str, str], Help("Rename a class; repeatable.", metavar="OLD=NEW")] = field(
        default_factory=dict
    )
    annotator: Annotated[str, Help("Annotator to record for the backgrounds.")] = "imported"
    jobs: Annotated[int, Help("Parallel reads.", least=1, most=64)] = 4
    show_progress: bool = False


@dataclass(frozen=True, kw_only=True)
class CurateSettings(ModelSettings):
    """Settings of ``data curate``: limits of the signals (see the README), and how a model is run."""

    command: ClassVar[str] = "data curate"
    usual: ClassVar[tuple[str, ...]] = ("label_space", "device")

    min_side: Annotated[float, Help("Pixels of the shorter side.")] = 128
    min_sharpness: Annotated[
        float,
        Help("Energy of second over first differences: 1 / (2 s^2) for an edge blurred by s pixels."),
    ] = 0.5
    max_dark: Annotated[float, Help("Share of pixels that are nearly black.", fraction=True)] = 0.75
    max_bright: Annotated[float, Help("Share of pixels that are nearly white.", fraction=True)] = 0.5
    min_contrast: Annotated[float, Help("Grey levels (of 256) that the middle 90 % of the pixels span.")] = 32
    min_entropy: Annotated[float, Help("Bits (of 8) of the histogram of grey levels.")] = 4.5
    hash_radius: Annotated[
        int, Help("Most bits (of 64) by which perceptual hashes of near duplicates differ.")
    ] = 8
    min_similarity: Annotated[float, Help("Cosine between features of near duplicates.")] = 0.95
    max_rank: Annotated[int, Help("Rank of the class among the candidate names, the first being 1.")] = 10
    max_rank_share: Annotated[
        float, Help("The same as a share of the names; the stricter of the two holds.", fraction=True)
    ] = 0.1
    min_gap: Annotated[
        float,
        Help(
            "Difference of the two highest probabilities, below which a second class is close.", fraction=True
        ),
    ] = 0.1
    min_both: Annotated[
        float, Help("Sum that those two must reach; below it no class is likely.", fraction=True)
    ] = 0.5
    min_margin: Annotated[float, Help("Lead of the first name over the second.", fraction=True)] = 0.1
    min_area: Annotated[
        float, Help("Share of the photo that the object covers, if there is a mask.", fraction=True)
    ] = 0.02
    max_offset: Annotated[
        float,
        Help("Position of its centre from the photo's centre (0) to the edge (1), if there is a mask."),
    ] = 0.6


@dataclass(frozen=True, kw_only=True)
class ServerSettings(Record):
    """Who takes part, and where the pages are; also settings of the review of masks.

    ``open_browser``: open the first link.
    """

    command: ClassVar[str] = "data label"

    annotators: Annotated[
        tuple[str, ...],
        Help("Annotator's name; repeat for several people.", metavar="NAME"),
    ] = ()
    port: Annotated[
        int, Help("Port to listen on.  [default: 0, which picks a free one]", least=0, most=65535)
    ] = 0
    open_browser: bool = False


@dataclass(frozen=True, kw_only=True)
class LabelSettings(ServerSettings):
    """Settings of ``data label``."""

    usual: ClassVar[tuple[str, ...]] = ("annotators", "task", "port", "second", "order")

    task: Annotated[
        Literal["review", "background"],
        Help("Task of the first page; the page links to the other task."),
    ] = "background"
    second: Annotated[float, Help("Share of photos that get a second annotator.", fraction=True)] = 0.1
    order: Annotated[
        Literal["blind", "ranked"],
        Help("ranked: start with the photos that `curate` flagged, and show why, so reviews are not blind."),
    ] = "blind"
    labels: Annotated[
        Path | None, Help("Background labels, one per line, instead of the pool's.", metavar="FILE")
    ] = None


@dataclass(frozen=True, kw_only=True)
class ExportSettings(Record):
    """Settings of ``data export``."""

    command: ClassVar[str] = "data export"
    usual: ClassVar[tuple[str, ...]] = ("overwrite", "private", "licence_for_unknown")

    private: Annotated[
        bool, Help("Export all photos for your own use, marked as not for redistribution.")
    ] = False
    licence_for_unknown: Annotated[
        str | None,
        Help("Licence (cc0, cc-by, ...) for photos without one, if they are your own.", metavar="CODE"),
    ] = None
    attribution_for_unknown: Annotated[
        str | None, Help('Credit line for photos without one, such as "© Ada Lovelace".')
    ] = None
    title: Annotated[str, Help("Title of the collection.  [default: the benchmark's name]")] = ""
    description: Annotated[str, Help("Description of the collection, in a few sentences.")] = ""
    creators: Annotated[tuple[str, ...], Help("Creators of the collection.", metavar="NAME,NAME")] = ()
    url: Annotated[str, Help("Web page of the collection.", metavar="URL")] = ""
    citation: Annotated[str, Help("How to cite the collection.")] = ""
    licence: Annotated[str, Help("Licence of the selection and labels.", metavar="CODE")] = ""
    version: Annotated[str, Help("Version of the collection.", metavar="X.Y.Z")] = "1.0.0"
    overwrite: Annotated[bool, Help("Replace another export already in --out.", recorded=False)] = False
    show_progress: bool = False
