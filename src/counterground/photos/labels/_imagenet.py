"""The 1000 classes of ImageNet-1K: names, wnids, and strict matching of the names people use."""

from __future__ import annotations

import csv
import difflib
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

from counterground.errors import UsageError, did_you_mean

IMAGENET_SIZE = 1000
_IN_ORDER = 950  # of 1000 names at their place show that a list is in ImageNet's order
_WNID = re.compile(r"n\d{8}")
_NUMBERED = re.compile(r"(\d{1,18})(?:[\s_]+(\S.*))?", re.DOTALL)  # more digits are not an index


class _Row(NamedTuple):
    wnid: str
    openai: str
    wordnet: str


@cache
def _rows() -> tuple[_Row, ...]:
    text = files("counterground.photos").joinpath("data", "imagenet.csv").read_text(encoding="utf-8")
    table = csv.DictReader(text.splitlines())
    return tuple(_Row(row["wnid"], row["openai_name"], row["wordnet_names"]) for row in table)


def imagenet_names(kind: Literal["openai", "wordnet"] = "openai") -> tuple[str, ...]:
    """Return the 1000 class names in logit order.

    ``openai`` are OpenAI's cleaned names as OpenCLIP carries them ("tench"), with *missile* and *sunglasses*
    twice; ``wordnet`` are the full WordNet names ("tench, Tinca tinca"), with *crane* twice.
    """
    return tuple(row.openai if kind == "openai" else row.wordnet for row in _rows())


def imagenet_wnids() -> tuple[str, ...]:
    """Return the 1000 WordNet ids ("n01440764") in logit order."""
    return tuple(row.wnid for row in _rows())


def name_key(text: str) -> str:
    """Return a key that ignores case, commas, underscores, white space and Unicode form.

    Names with equal keys are one name, of a class or of a background. Unicode form: an accent may be a
    character of its own (NFD, as in archives from macOS), and names that differ only in that look alike.
    """
    folded = unicodedata.normalize("NFC", unicodedata.normalize("NFD", text).casefold())
    return " ".join(re.split(r"[\s,_]+", folded)).strip()


def respelled(names: Iterable[str]) -> list[list[str]]:
    """Return the spellings of each name that has several (see `name_key`), in the order given."""
    ways: dict[str, dict[str, None]] = {}
    for name in names:
        ways.setdefault(name_key(name), {})[name] = None
    return [list(same) for same in ways.values() if len(same) > 1]


def quoted_ways(ways: Sequence[str]) -> list[str]:
    """Return spellings in quotes; if some look alike, with escaped characters, which show the difference."""
    looks = {unicodedata.normalize("NFC", way) for way in ways}
    return list(map(repr if len(looks) == len(ways) else ascii, ways))


@cache
def _by_wnid() -> dict[str, int]:
    return {wnid: index for index, wnid in enumerate(imagenet_wnids())}


@cache
def _by_name() -> dict[str, frozenset[int]]:
    """Return the classes by OpenAI name and by full WordNet name."""
    return _collect((name, index) for index, row in enumerate(_rows()) for name in (row.openai, row.wordnet))


@cache
def _by_first_synonym() -> dict[str, frozenset[int]]:
    return _collect((row.wordnet.partition(",")[0], index) for index, row in enumerate(_rows()))


@cache
def _by_synonym() -> dict[str, frozenset[int]]:
    return _collect((part, index) for index, row in enumerate(_rows()) for part in row.wordnet.split(","))


def _collect(pairs: Iterable[tuple[str, int]]) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = defaultdict(set)
    for name, index in pairs:
        found[name_key(name)].add(index)
    return {name: frozenset(indices) for name, indices in found.items()}


def imagenet_candidates(name: str) -> frozenset[int]:
    """Return the classes ``name`` may mean: none, one, or several if it is ambiguous.

    The first of three readings that knows the name decides: an OpenAI or full WordNet name; one WordNet
    synonym; several synonyms of one class, comma-separated ("bighorn, bighorn sheep, cimarron", as the paper
    shortens). A name that is also the first synonym of another class, which is what most lists call that
    class, is ambiguous too, unless it is spelt exactly as OpenAI spells one: *cardigan* is the garment, but
    *Cardigan* may be the corgi.
    """
    found = _any_case(name)
    exact = frozenset(index for index in found if _rows()[index].openai == name.strip())
    return exact if len(exact) == 1 else found


def _any_case(name: str) -> frozenset[int]:
    key = name_key(name)
    if found := _by_name().get(key):
        return found | _by_first_synonym().get(key, frozenset())
    if found := _by_synonym().get(key):
        return found
    parts = [_by_synonym().get(name_key(part), frozenset()) for part in name.split(",") if part.strip()]
    shared = frozenset.intersection(*parts) if parts else frozenset()
    return shared if len(shared) == 1 else frozenset()


@dataclass(frozen=True)
class ImageNetMatch:
    """ImageNet-1K index (or None) of each name of a list.

    ``in_order``: the list is ImageNet-1K's in its usual order. ``by_place``: the names that only this order
    explains, since by themselves they mean several classes, none, or another one.
    """

    indices: tuple[int | None, ...]
    in_order: bool = False
    by_place: tuple[str, ...] = ()


def match_imagenet(names: Sequence[str]) -> ImageNetMatch:
    """Match a list of names (or wnids) with ImageNet-1K, each strictly; a bare number is not a name.

    A list of 1000 names of which at least 950 may name the class at their place is in ImageNet's order, as
    torchvision's ``categories`` and timm's descriptions are. There, a name that by itself is ambiguous or
    unknown stands for the class at its place; so does one that means another class, unless that class is not
    named at its own place (two names are swapped). In a list of 1000 names, the text after a colon is a
    description.
    """
    whole = len(names) == IMAGENET_SIZE
    short = [name.partition(":")[0] if whole else name for name in names]
    found = [_exactly(name) for name in short]
    alone = [min(indices) if len(indices) == 1 else None for indices in found]
    placed = [at in found[at] | _any_case(name) for at, name in enumerate(short)]
    if not whole or sum(placed) < _IN_ORDER:
        return ImageNetMatch(tuple(alone))
    moved = {
        at: index
        for at, index in enumerate(alone)
        if not placed[at] and index is not None and not placed[index] and alone.count(index) == 1
    }
    free = set(range(IMAGENET_SIZE)) - set(moved.values())
    indices = tuple(moved.get(at, at if at in free else None) for at in range(IMAGENET_SIZE))
    by_place = [
        name
        for at, name in enumerate(short)
        if indices[at] == at != alone[at] and at not in _by_name().get(name_key(name), ())
    ]
    return ImageNetMatch(indices, True, tuple(by_place))


def _exactly(name: str) -> frozenset[int]:
    numbered = split_number(name)
    if name.strip().lower() in _by_wnid() or (numbered and numbered[1]):
        try:
            return frozenset([find_imagenet_index(name)])
        except UsageError:
            return frozenset()
    return imagenet_candidates(name)


def split_number(text: str) -> tuple[int, str] | None:
    """Split "100 black swan" into (100, "black swan") and "100" into (100, ""); None without a number."""
    match = _NUMBERED.fullmatch(text.strip())
    return (int(match[1]), (match[2] or "").strip()) if match else None


def describe_class(index: int) -> str:
    """Return "134 (n02012849: crane bird | crane)" for messages."""
    row = _rows()[index]
    names = row.openai if name_key(row.openai) == name_key(row.wordnet) else f"{row.openai} | {row.wordnet}"
    return f"{index} ({row.wnid}: {names})"


def find_imagenet_index(text: str) -> int:
    """Return the ImageNet-1K index that ``text`` names, strictly.

    ``text`` is an OpenAI name, a full WordNet name, one unambiguous WordNet synonym, a wnid, an index
    ("100"), or an index and a name that agree ("100 black swan"). Case, commas and underscores do not matter.

    Raises:
        UsageError: unknown (with suggestions), ambiguous (naming the candidates), or index and name disagree.
    """
    wanted = text.strip()
    if _WNID.fullmatch(wanted.lower()):
        if wanted.lower() not in _by_wnid():
            raise UsageError(f"{wanted!r} is not one of the 1000 wnids of ImageNet-1K.")
        return _by_wnid()[wanted.lower()]
    if (numbered := split_number(wanted)) is not None:
        index, name = numbered
        if index >= IMAGENET_SIZE:
            raise UsageError(f"{wanted!r}: index {index} is outside ImageNet-1K (0 to {IMAGENET_SIZE - 1}).")
        if name and index not in _any_case(name):
            raise UsageError(f"{wanted!r}: index and name disagree; ImageNet has {describe_class(index)}.")
        return index
    found = imagenet_candidates(wanted)
    if len(found) == 1:
        return min(found)
    if found:
        choices = " or ".join(describe_class(index) for index in sorted(found))
        raise UsageError(
            f"{wanted!r} is ambiguous in ImageNet-1K: {choices}. Write the index or the wnid instead."
        )
    raise UsageError(
        f"{wanted!r} is not a class of ImageNet-1K.{did_you_mean(wanted, suggestions())}"
        " Use an OpenAI name, a WordNet name, a wnid or an index."
    )


def similar_imagenet_name(name: str) -> str | None:
    """Return the name of a class that differs from ``name`` by little more than a slip; None without one."""
    known = {known.casefold(): known for known in suggestions()}
    found = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.8)
    return known[found[0]] if found else None


def suggestions() -> list[str]:
    """Return every name and synonym, as written, for suggestions on a miss."""
    return [
        name for row in _rows() for name in (row.openai, row.wordnet, *map(str.strip, row.wordnet.split(",")))
    ]
