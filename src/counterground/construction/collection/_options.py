"""What to collect: options, and the classes as names, lines of a file, or a built-in list."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cache
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlsplit

from counterground.arguments import texts
from counterground.errors import UsageError, did_you_mean
from counterground.files import read_text
from counterground.http import DAY, HOUR, MINUTE, Limit, user_agent
from counterground.photos import assign_classes, find_imagenet_index

API_URL = "https://api.inaturalist.org/v1"
_SITE = "inaturalist.org"
INATURALIST = "inaturalist"
"""The source in a photo's key."""

ALL_RIGHTS_RESERVED = "all-rights-reserved"
LICENCES = (
    "cc0",
    "cc-by",
    "cc-by-sa",
    "cc-by-nd",
    "cc-by-nc",
    "cc-by-nc-sa",
    "cc-by-nc-nd",
    "pd",
    ALL_RIGHTS_RESERVED,
)
QUALITIES = ("research", "needs_id", "casual", "any")
SIZES = ("small", "medium", "large", "original")  # longest side of 240, 500, 1024 and 2048 pixels

# Published by iNaturalist ("API recommended practices"); whoever asks for more may be blocked. The requests
# of a minute must not come in its first second.
PUBLISHED_LIMITS = {
    "requests": (Limit(5.0, 5), Limit(MINUTE, 60), Limit(DAY, 10_000)),
    "bytes": (Limit(HOUR, 5_000_000_000), Limit(DAY, 24_000_000_000)),
}


@dataclass(frozen=True)
class CollectOptions:
    """What to collect.

    Attributes:
        per_class: photos per class, newest first (the paper took 300 to 800, section 2).
        quality: quality grade of the observation: "research", "needs_id", "casual" or "any".
        licences: licence codes of the photos; empty: any, including all rights reserved.
        place: id or name of an iNaturalist place.
        since, until: ISO dates of the observation, both inclusive.
        per_observation: photos per observation; they show the same animal.
        size: "small" (240 pixels on the longer side), "medium" (500), "large" (1024) or "original".
        taxa: taxon ids that define a class, by class name.
        add: list the newest photos again, under this query: what it finds is added.
        jobs: photos fetched at the same time.
        api_url: address of the API; None: ``$COUNTERGROUND_API_URL``, else iNaturalist's own.
        contact: how to reach whoever is responsible, sent with each request; None:
            ``$COUNTERGROUND_CONTACT``.
        first_pause: seconds before the first retry, doubled before each further one.
        show_progress: show a bar on standard error.

    Raises:
        UsageError: an invalid value.
    """

    per_class: int = 500
    quality: str = "research"
    licences: tuple[str, ...] = ()
    place: str | None = None
    since: str | None = None
    until: str | None = None
    per_observation: int = 1
    size: str = "medium"
    taxa: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    add: bool = False
    jobs: int = 4
    api_url: str | None = None
    contact: str | None = None
    first_pause: float = 2.0
    show_progress: bool = False

    def __post_init__(self) -> None:
        one_of("quality grade", self.quality, QUALITIES)
        one_of("size", self.size, SIZES)
        object.__setattr__(self, "licences", tuple(texts("licences", self.licences)))
        for licence in self.licences:
            one_of("licence", licence, LICENCES)
        for name in ("since", "until"):
            _check_date(name, getattr(self, name))
        for name in ("per_class", "per_observation", "jobs"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be 1 or more, not {getattr(self, name)}.")

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


def one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a value that is not one of the known ones; ``what`` is the kind of value.

    Raises:
        UsageError: the value is unknown; the message lists the known ones.
    """
    if value not in known:
        raise UsageError(
            f"Unknown {what} {value!r}: choose from {', '.join(known)}.{did_you_mean(value, known)}"
        )


def _check_date(name: str, value: str | None) -> None:
    try:
        date.fromisoformat(value or "2024-05-31")
    except ValueError as error:
        raise UsageError(
            f"{value!r} is not a date for --{name}; write it as year-month-day: 2024-05-31."
        ) from error


LISTS = ("imagenet-animals", "counteranimal")
"""The animal classes of ImageNet-1K, and the paper's 45 among them."""

_JOINED = " + "


@dataclass(frozen=True)
class Animal:
    """An animal class of ImageNet-1K; ``names`` and ``ranks`` of its taxa are empty if it has none."""

    index: int
    class_name: str
    names: tuple[str, ...]
    ranks: tuple[str, ...]
    note: str


@dataclass(frozen=True)
class WantedClass:
    """A class to collect.

    Attributes:
        name: what the pool calls it.
        taxon: scientific name or id from its list; None: the name decides.
        left_out: why a built-in list has no taxon for it; empty: it has one.
    """

    name: str
    taxon: str | None = None
    left_out: str = ""


@cache
def animals() -> tuple[Animal, ...]:
    """Return the 398 animal classes of ImageNet-1K by index."""
    text = (
        files("counterground.construction.collection")
        .joinpath("data", "animals.csv")
        .read_text(encoding="utf-8")
    )
    return tuple(_animal(row) for row in csv.DictReader(text.splitlines()))


def _animal(row: dict[str, str]) -> Animal:
    names = tuple(row["scientific_name"].split(_JOINED)) if row["scientific_name"] else ()
    ranks = tuple(row["rank"].split(_JOINED)) if row["rank"] else ()
    if len(ranks) == 1:
        ranks *= len(names)
    return Animal(int(row["imagenet_index"]), row["class_name"], names, ranks, row["note"])


def find_animal(class_name: str) -> Animal | None:
    """Return the animal class of ImageNet-1K that a name means; None: another class, or none."""
    try:
        index = find_imagenet_index(class_name)
    except UsageError:
        return None
    return animals()[index] if index < len(animals()) else None


def read_classes(source: str | Path) -> list[WantedClass]:
    """Return the classes of a built-in list (see ``LISTS``) or of a text file.

    A line of a file has a class name and may have, after a tab, its taxon: a scientific name or an id. Empty
    lines and those that begin with # are skipped.

    Raises:
        UsageError: there is no such list or file.
    """
    if str(source) in LISTS:
        return _built_in(str(source))
    try:
        lines = read_text(source).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        hint = did_you_mean(str(source), LISTS)
        raise UsageError(
            f"{source} is neither a text file in UTF-8 nor one of {', '.join(LISTS)}.{hint}"
        ) from error
    found = []
    for line in lines:
        if line.strip() and not line.lstrip().startswith("#"):
            name, _, taxon = (part.strip() for part in line.partition("\t"))
            found.append(WantedClass(name, taxon or None))
    return found


def _built_in(name: str) -> list[WantedClass]:
    wanted = set(range(len(animals())))
    if name == "counteranimal":
        from counterground.published import load_table

        wanted = set(load_table("classes")["imagenet_index"])
    return [
        WantedClass(animal.class_name, left_out="" if animal.names else animal.note)
        for animal in animals()
        if animal.index in wanted
    ]


def wanted_classes(classes: str | Path | Sequence[str | WantedClass]) -> list[WantedClass]:
    """Return the classes of a list (a name or a file), or of names, each once.

    Raises:
        UsageError: there is no class.
        CounterGroundError: two names mean one class of ImageNet-1K, or no benchmark could hold a name.
    """
    given = read_classes(classes) if isinstance(classes, (str, Path)) else classes
    by_name: dict[str, WantedClass] = {}
    for each in given:
        one = WantedClass(each) if isinstance(each, str) else each
        if by_name.setdefault(one.name, one).taxon is None:
            by_name[one.name] = one
    if not by_name:
        raise UsageError("Name at least one class: -c CLASS, or --classes FILE.")
    assign_classes(list(by_name))
    return list(by_name.values())
