"""Whether a licence lets a photo be shared.

Codes and texts are matched strictly; what is not known is not shared. This is not legal advice.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

_CC = re.compile(
    r"(?:creative commons |cc[ -]?)(?P<terms>(?:attribution|by)(?:[ -](?:nc|nd|sa|noncommercial|noderivatives"
    r"|noderivs|sharealike))*)[ -]?v?(?P<version>[1-4]\.[05])?"
    r"(?:[ -](?:international|unported|generic|[a-z]{2}))?"
)
_CC_URL = re.compile(
    r"(?:https?://)?(?:www\.)?creativecommons\.org/licen[sc]es/(?P<terms>by(?:-(?:nc|nd|sa))*)"
    r"(?:/(?P<version>[1-4]\.[05]))?(?:/.*)?"
)
_CC0 = re.compile(
    r"cc[ -]?0(?:[ -]1\.0)?(?: universal)?|cc[ -]zero"
    r"|(?:https?://)?(?:www\.)?creativecommons\.org/publicdomain/zero/.*"
)
_PUBLIC_DOMAIN = re.compile(
    r"pd|pdm(?:[ -]1\.0)?|public[ -]domain(?: mark)?(?: 1\.0)?"
    r"|(?:https?://)?(?:www\.)?creativecommons\.org/publicdomain/mark/.*"
)
_FREE_SOFTWARE = re.compile(
    r"(?:a|l)?gpl(?:[ -]?v?[123](?:\.[01])?)?(?:\+|[ -](?:only|or[ -]later))?"
    r"|apache(?:[ -]2(?:\.0)?)?|mit|expat|bsd(?:-[234]-clause)?|isc|zlib|mpl[ -]2\.0|artistic(?:[ -]2\.0)?"
    r"|ofl[ -]1\.1|gfdl(?:[ -]1\.[123])?(?:\+|-only|-or-later)?|fal(?:[ -]1\.3)?|free art licen[cs]e"
)
_RESERVED = re.compile(
    r"(?:c|©|copyright(?:ed)?)?[ ,.]*all[ -]rights[ -]reserved\.?|c|©|copyright(?:ed)?|proprietary|none"
)
_SHORT = {
    "attribution": "by",
    "noncommercial": "nc",
    "noderivatives": "nd",
    "noderivs": "nd",
    "sharealike": "sa",
}
CC0 = "https://creativecommons.org/publicdomain/zero/1.0/"
PUBLIC_DOMAIN = "https://creativecommons.org/publicdomain/mark/1.0/"


@dataclass(frozen=True)
class Licence:
    """What is known of one licence.

    Attributes:
        name: name shown in tables.
        url: address of its text; empty if there is none.
        obstacle: why the photo must not be shared; empty if it may.
        needs_credit: whether the author must be named.
        noncommercial: only for non-commercial purposes.
        verbatim: only unchanged (no derivatives).
    """

    name: str
    url: str = ""
    obstacle: str = ""
    needs_credit: bool = False
    noncommercial: bool = False
    verbatim: bool = False


@cache
def read_licence(text: str | None) -> Licence:
    """Return what is known of a licence as a manifest states it.

    Known are the Creative Commons licences (codes, names, URLs; 4.0 if no version is given, as iNaturalist's
    are), CC0 and public domain, the usual free licences, and "all rights reserved". Several, separated by
    ``;``, "and" or "or", with remarks in brackets, all apply: a photo may be shared only if each allows it.
    """
    if text is None or not text.strip():
        return Licence("not stated", obstacle="no licence is stated")
    if not (whole := _read_one(text)).obstacle:
        return whole
    parts = [part.strip() for part in re.split(r";|\bor\b|\band\b", re.sub(r"\([^()]*\)", "", text))]
    found = [_read_one(part) for part in parts if part] or [whole]
    if len(found) == 1:
        return found[0]
    return Licence(
        " ".join(text.split()),
        # A link to one of several texts would pass for all of them.
        " ".join(dict.fromkeys(licence.url for licence in found)) if all(x.url for x in found) else "",
        next((licence.obstacle for licence in found if licence.obstacle), ""),
        any(licence.needs_credit for licence in found),
        any(licence.noncommercial for licence in found),
        any(licence.verbatim for licence in found),
    )


def _read_one(text: str) -> Licence:
    wanted = " ".join(text.lower().replace("_", "-").split())
    if match := _CC.fullmatch(wanted) or _CC_URL.fullmatch(wanted):
        return _creative_commons(match["terms"], match["version"] or "4.0")
    if _CC0.fullmatch(wanted):
        return Licence("CC0 1.0", CC0)
    if _PUBLIC_DOMAIN.fullmatch(wanted):
        return Licence("public domain", PUBLIC_DOMAIN)
    if _FREE_SOFTWARE.fullmatch(wanted):
        return Licence(" ".join(text.split()), needs_credit=True)
    if _RESERVED.fullmatch(wanted):
        return Licence("all rights reserved", obstacle="all rights are reserved")
    name = " ".join(text.split())
    return Licence(name, obstacle=f"the licence {name!r} is not known to allow redistribution")


def _creative_commons(terms: str, version: str) -> Licence:
    words = [_SHORT.get(word, word) for word in re.split(r"[ -]", terms)]
    code = "-".join(word for word in ("by", "nc", "nd", "sa") if word in words).replace("nd-sa", "nd")
    return Licence(
        f"CC {code.upper()} {version}",
        f"https://creativecommons.org/licenses/{code}/{version}/",
        needs_credit=True,
        noncommercial="nc" in words,
        verbatim="nd" in words,
    )
