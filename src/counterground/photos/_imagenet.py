"""The 1000 classes of ImageNet-1K: names, wnids, and strict matching of the names people use."""

from __future__ import annotations

import csv
import re
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Literal, NamedTuple

from counterground.errors import UsageError, did_you_mean

IMAGENET_SIZE = 1000
_WNID = re.compile(r"n\d{8}")
_NUMBERED = re.compile(r"(\d+)(?:[\s_]+(\S.*))?", re.DOTALL)


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

    Raises:
        UsageError: another ``kind``.
    """
    if kind not in ("openai", "wordnet"):
        raise UsageError(f"ImageNet names are not available as {kind!r}; use 'openai' or 'wordnet'.")
    return tuple(row.openai if kind == "openai" else row.wordnet for row in _rows())


def imagenet_wnids() -> tuple[str, ...]:
    """Return the 1000 WordNet ids ("n01440764") in logit order."""
    return tuple(row.wnid for row in _rows())


def name_key(text: str) -> str:
    """Fold case, commas, underscores and white space: names that differ only there are the same name."""
    return " ".join(re.split(r"[\s,_]+", text.casefold())).strip()


@cache
def _by_wnid() -> dict[str, int]:
    return {wnid: index for index, wnid in enumerate(imagenet_wnids())}


@cache
def _by_name() -> dict[str, frozenset[int]]:
    """Classes by OpenAI name and by full WordNet name."""
    return _collect((name, index) for index, row in enumerate(_rows()) for name in (row.openai, row.wordnet))


@cache
def _by_synonym() -> dict[str, frozenset[int]]:
    return _collect((part, index) for index, row in enumerate(_rows()) for part in row.wordnet.split(","))


def _collect(pairs: Iterable[tuple[str, int]]) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = defaultdict(set)
    for name, index in pairs:
        found[name_key(name)].add(index)
    return {name: frozenset(indices) for name, indices in found.items()}


def imagenet_candidates(name: str) -> frozenset[int]:
    """Return the classes ``name`` may mean: none, one, or several where it is ambiguous.

    The first of three readings that knows the name decides: an OpenAI or full WordNet name; one WordNet
    synonym; several synonyms of one class, comma-separated ("bighorn, bighorn sheep, cimarron", as the paper
    shortens). So *cardigan* is the garment, which both lists call so, not the corgi with that synonym.
    """
    key = name_key(name)
    if found := _by_name().get(key) or _by_synonym().get(key):
        return found
    parts = [_by_synonym().get(name_key(part), frozenset()) for part in name.split(",") if part.strip()]
    shared = frozenset.intersection(*parts) if parts else frozenset()
    return shared if len(shared) == 1 else frozenset()


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
        if (index := _by_wnid().get(wanted.lower())) is None:
            raise UsageError(f"{wanted!r} is not one of the 1000 wnids of ImageNet-1K.")
        return index
    if (numbered := split_number(wanted)) is not None:
        return _find_numbered(wanted, *numbered)
    found = imagenet_candidates(wanted)
    if len(found) == 1:
        return min(found)
    if found:
        raise UsageError(_ambiguous(wanted, found))
    raise UsageError(
        f"{wanted!r} is not a class of ImageNet-1K.{did_you_mean(wanted, suggestions())}"
        " Use an OpenAI name, a WordNet name, a wnid or an index."
    )


def _find_numbered(wanted: str, index: int, name: str) -> int:
    if index >= IMAGENET_SIZE:
        raise UsageError(f"{wanted!r}: index {index} is outside ImageNet-1K (0 to {IMAGENET_SIZE - 1}).")
    if name and index not in imagenet_candidates(name):
        raise UsageError(f"{wanted!r}: index and name disagree; ImageNet has {describe_class(index)}.")
    return index


def _ambiguous(wanted: str, found: frozenset[int]) -> str:
    choices = " or ".join(describe_class(index) for index in sorted(found))
    return f"{wanted!r} is ambiguous in ImageNet-1K: {choices}. Write the index or the wnid instead."


def suggestions() -> list[str]:
    """Return every name and synonym, as written, for suggestions on a miss."""
    return [
        name for row in _rows() for name in (row.openai, row.wordnet, *map(str.strip, row.wordnet.split(",")))
    ]
