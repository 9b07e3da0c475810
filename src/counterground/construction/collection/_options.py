"""The options of a collection, checked before anything is requested."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from numbers import Real
from urllib.parse import urlsplit

from counterground.errors import UsageError, did_you_mean
from counterground.http import user_agent

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

# Published by iNaturalist ("API recommended practices"); whoever asks for more may be blocked.
REQUESTS_PER_MINUTE = 60
REQUESTS_PER_DAY = 10_000
BYTES_PER_HOUR = 5_000_000_000
BYTES_PER_DAY = 24_000_000_000

_MOST = 10**9  # photos: far beyond any use, and exact wherever they are counted
_LARGEST_BUDGET = 10**15
_TAXON = re.compile(r"[0-9]{1,9}")


@dataclass(frozen=True)
class CollectOptions:
    """What to collect, and how many requests and bytes it may take.

    Attributes:
        per_class: photos per class, newest first (the paper took 300 to 800, section 2).
        quality: quality grade of the observation: "research", "needs_id", "casual" or "any".
        licences: licence codes of the photos; empty: any, including all rights reserved.
        place: id or name of an iNaturalist place.
        since, until: ISO dates of the observation, both inclusive.
        per_observation: photos per observation; they show the same animal.
        size: "small" (240 pixels on the longer side), "medium" (500), "large" (1024) or "original".
        taxa: taxon ids that define a class, by class name.
        add: add what another query finds, or list the same one again once it is exhausted.
        jobs: photos fetched at the same time.
        api_url: address of the API; None: ``$COUNTERGROUND_API_URL``, else iNaturalist's own.
        contact: how to reach whoever is responsible, sent with each request; None:
            ``$COUNTERGROUND_CONTACT``.
        requests_per_minute, requests_per_day, bytes_per_hour, bytes_per_day: budgets, shared by all processes
            of this user; above the published ones only with an API of your own.
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
    requests_per_minute: int = REQUESTS_PER_MINUTE
    requests_per_day: int = REQUESTS_PER_DAY
    bytes_per_hour: int = BYTES_PER_HOUR
    bytes_per_day: int = BYTES_PER_DAY
    first_pause: float = 2.0
    show_progress: bool = False

    def __post_init__(self) -> None:
        one_of("quality grade", self.quality, QUALITIES)
        one_of("size", self.size, SIZES)
        if isinstance(self.licences, str):
            object.__setattr__(self, "licences", (self.licences,))
        for licence in self.licences:
            one_of("licence", licence, LICENCES)
        _check_dates(self.since, self.until)
        for name in ("per_class", "per_observation", "jobs"):
            if not 1 <= getattr(self, name) <= _MOST:
                raise UsageError(f"{name} is from 1 to {_MOST:,}, not {getattr(self, name)}.")
        for name, ids in self.taxa.items():
            for number in ids:
                taxon_id(str(number), name)
        if not _fits_header(self.user_agent):
            raise UsageError(
                f"No request can carry the contact in {self.user_agent!r}: give an e-mail address or a page, "
                "in Latin letters."
            )
        self._check_address()
        self._check_budgets()

    @property
    def address(self) -> str:
        """The API's address, without a slash at its end."""
        return (self.api_url or os.environ.get("COUNTERGROUND_API_URL") or API_URL).strip().rstrip("/")

    @property
    def host(self) -> str:
        """The host whose budgets are counted."""
        return _account(self.address)

    @property
    def user_agent(self) -> str:
        """The user agent sent with requests."""
        contact = self.contact or os.environ.get("COUNTERGROUND_CONTACT") or ""
        return user_agent(contact.strip() or None)

    def _check_address(self) -> None:
        if not _is_web(self.address):
            raise UsageError(f"{self.address!r} is not the address of an API, such as {API_URL!r}.")

    def _check_budgets(self) -> None:
        budgets = (
            ("requests per minute", self.requests_per_minute, REQUESTS_PER_MINUTE),
            ("requests per day", self.requests_per_day, REQUESTS_PER_DAY),
            ("bytes per hour", self.bytes_per_hour, BYTES_PER_HOUR),
            ("bytes per day", self.bytes_per_day, BYTES_PER_DAY),
        )
        own = self.host != _account(API_URL)
        for what, wanted, published in budgets:
            if not isinstance(wanted, Real):
                raise UsageError(f"A budget of {what} is a number, not {wanted!r}.")
            if not wanted >= 1:
                raise UsageError(f"A budget of {wanted} {what} is too small; give 1 or more.")
            if wanted > _LARGEST_BUDGET:
                raise UsageError(
                    f"A budget of more than {_LARGEST_BUDGET:,} {what} is too large: give a smaller one."
                )
            if wanted > published and not own:
                raise UsageError(
                    f"{wanted:,} {what} exceeds iNaturalist's published limit of {published:,}: budgets can "
                    "be raised only for an API of your own (--api-url)."
                )


def _account(address: str) -> str:
    """Return the host whose budgets an address spends: one for all of iNaturalist, however it is spelled."""
    parts = urlsplit(address)
    name = (parts.hostname or "").rstrip(".")
    if name == _SITE or name.endswith(f".{_SITE}"):
        return f"api.{_SITE}"
    return parts.netloc.rpartition("@")[2].lower()


def _is_web(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def taxon_id(text: str, class_name: str) -> int:
    """Return the id of a taxon, as iNaturalist numbers them.

    Raises:
        UsageError: the text is not such an id.
    """
    if not _TAXON.fullmatch(text):
        raise UsageError(f"{text[:60]!r}, given for {class_name!r}, is not the id of a taxon, such as 43338.")
    return int(text)


def _fits_header(text: str) -> bool:
    try:
        text.encode("latin-1")
    except UnicodeEncodeError:
        return False
    return text.isprintable()


def one_of(what: str, value: str, known: tuple[str, ...]) -> None:
    """Refuse a value that is not one of the known ones; ``what`` is the kind of value.

    Raises:
        UsageError: the value is unknown; the message lists the known ones.
    """
    if value not in known:
        raise UsageError(
            f"Unknown {what} {value!r}: choose from {', '.join(known)}.{did_you_mean(value, known)}"
        )


def _check_dates(since: str | None, until: str | None) -> None:
    for name, value in (("since", since), ("until", until)):
        if value is None:
            continue
        if not _is_date(value):
            raise UsageError(f"{value!r} is not a date for --{name}; write it as year-month-day: 2024-05-31.")
    if since and until and since > until:
        raise UsageError(f"--since {since} is later than --until {until}.")


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False
