"""Whether a licence lets a photo be shared.

Codes and texts are matched strictly; what is not known is not shared. This is not legal advice.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

# The jurisdictions of Creative Commons: not any two letters, since "CC BY 4.0 NC" is not a known licence.
_PORTS = (
    "ar at au az be bg br ca ch cl cn co cr cz de dk ec ee eg es fi fr ge gr gt hk hr hu ie igo il in it jp"
    " kr lu mk mt mx my nl no nz pe ph pl pr pt ro rs scotland se sg si th tw ug uk us ve vn za"
)
_JURISDICTION = f"(?P<port>{'|'.join(_PORTS.split())})"
_CC = re.compile(
    r"(?:creative commons |cc[ -]?)(?P<terms>(?:attribution|by)(?:[ -](?:nc|nd|sa|noncommercial|noderivatives"
    r"|noderivs|sharealike))*)(?:[ -]?v?(?P<version>[1-4]\.[05])(?:[ -]" + _JURISDICTION + r")?)?"
    r"(?:[ -](?:international|unported|generic))?"
)
# Anything else after an address may be another licence or a condition.
_URL_TAIL = r"/?(?:(?:deed|legalcode)(?:\.[a-z]{2,3}(?:-[a-z]{2,4})?)?)?(?:\?[^#\s]*)?(?:#\S*)?"
_CC_URL = re.compile(
    r"(?:https?://)?(?:www\.)?creativecommons\.org/licen[sc]es/(?P<terms>by(?:-(?:nc|nd|sa))*)"
    r"(?:/(?P<version>[1-4]\.[05])(?:/" + _JURISDICTION + r")?)?" + _URL_TAIL
)
_CC0 = re.compile(
    r"cc[ -]?0(?:[ -]1\.0)?(?: universal)?|cc[ -]zero"
    r"|(?:https?://)?(?:www\.)?creativecommons\.org/publicdomain/zero(?:/1\.0)?" + _URL_TAIL
)
_PUBLIC_DOMAIN = re.compile(
    r"pd|pdm(?:[ -]1\.0)?|public[ -]domain(?: mark)?(?: 1\.0)?"
    r"|(?:https?://)?(?:www\.)?creativecommons\.org/publicdomain/mark(?:/1\.0)?" + _URL_TAIL
)
_FREE_SOFTWARE = re.compile(
    r"(?:a|l)?gpl(?:[ -]?v?[123](?:\.[01])?)?(?:\+|[ -](?:only|or[ -]later))?"
    r"|apache(?:[ -]2(?:\.0)?)?|mit|expat|bsd(?:-[234]-clause)?|isc|zlib|mpl[ -]2\.0|artistic(?:[ -]2\.0)?"
    r"|ofl[ -]1\.1|gfdl(?:[ -]1\.[123])?(?:\+|-only|-or-later)?|fal(?:[ -]1\.3)?|free art licen[cs]e"
)
_RESERVED = re.compile(
    r"(?:c|©|copyright(?:ed)?)?[ ,.]*all[ -]rights[ -]reserved\.?|c|©|copyright(?:ed)?|proprietary|none"
)
_SEPARATOR = re.compile(r"(?:;|\bor\b|\band\b)(?![^()]*\))")
_BRACKETS = re.compile(r"\(([^()]*)\)")
# Remarks of the built-in benchmarks that restrict nothing.
_HARMLESS = frozenset(
    {"as debian states", "background", "cut-out", "generic", "international", "per file", "unported"}
    | {"some rights reserved"}
)
_SHORT = {
    "attribution": "by",
    "noncommercial": "nc",
    "noderivatives": "nd",
    "noderivs": "nd",
    "sharealike": "sa",
}
_LONGEST = 1000  # characters; a longer text does not state a licence, and takes minutes to parse
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
    ``;``, "and" or "or", or one in brackets, all apply: a photo may be shared only if each allows it. Any
    other remark in brackets makes a licence unknown, except some that restrict nothing, such as "(per file)".
    """
    if text is None or not text.strip():
        return Licence("not stated", obstacle="no licence is stated")
    if len(text) > _LONGEST:
        return _unknown(text)
    if not (whole := _read_one(text)).obstacle:
        return whole
    parts = [part.strip() for part in _SEPARATOR.split(text)]
    return _all_of(text, [_read_part(part) for part in parts if part] or [whole])


def _read_part(text: str) -> Licence:
    """Read one licence, with the remarks in brackets after it."""
    remarks = (" ".join(remark.split()) for remark in _BRACKETS.findall(text))
    texts = [_BRACKETS.sub("", text), *(remark for remark in remarks if remark.lower() not in _HARMLESS)]
    found = list(dict.fromkeys(_read_one(each) for each in texts))
    if len(found) > 1 and any(licence.obstacle for licence in found):
        return _unknown(text)
    return _all_of(text, found)


def _all_of(text: str, found: Sequence[Licence]) -> Licence:
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
        return _creative_commons(match["terms"], match["version"] or "4.0", match["port"] or "")
    if _CC0.fullmatch(wanted):
        return Licence("CC0 1.0", CC0)
    if _PUBLIC_DOMAIN.fullmatch(wanted):
        return Licence("public domain", PUBLIC_DOMAIN)
    if _FREE_SOFTWARE.fullmatch(wanted):
        return Licence(" ".join(text.split()), needs_credit=True)
    if _RESERVED.fullmatch(wanted):
        return Licence("all rights reserved", obstacle="all rights are reserved")
    return _unknown(text)


def _port_name(port: str) -> str:
    return port.capitalize() if len(port) > 3 else port.upper()


def _unknown(text: str) -> Licence:
    name = " ".join(text.split())
    return Licence(name, obstacle=f"the licence {name!r} is not known to allow redistribution")


def _creative_commons(terms: str, version: str, port: str) -> Licence:
    words = [_SHORT.get(word, word) for word in re.split(r"[ -]", terms)]
    code = "-".join(word for word in ("by", "nc", "nd", "sa") if word in words).replace("nd-sa", "nd")
    # Until version 4.0, the licence of a jurisdiction is a text of its own.
    port = "" if version == "4.0" else port
    return Licence(
        " ".join(filter(None, ("CC", code.upper(), version, _port_name(port)))),
        "/".join(filter(None, (f"https://creativecommons.org/licenses/{code}/{version}", port))) + "/",
        needs_credit=True,
        noncommercial="nc" in words,
        verbatim="nd" in words,
    )
