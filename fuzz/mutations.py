"""Changes to valid files: to bytes, and to the cells, values and blocks that the files consist of."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from random import Random
from typing import Any

from packed import change_inside

_TOKENS = (
    b"",
    b"\0",
    b'"',
    b"\n",
    b",",
    b"..",
    b"/",
    b"./",
    b"//",
    b"\xff\xfe",
    b"\xed\xa0\x80",
    b"-1",
    b"NaN",
    b"1e999",
    b"9" * 5000,
    b"[" * 100_000,
    b"\\ud800",
    b"http://",
)
_VALUES: tuple[Any, ...] = (
    None,
    True,
    -1,
    0,
    7,
    2**63,
    10**400,
    1.5,
    2**31,
    1e9,
    -1e9,
    1e300,
    float("nan"),
    float("inf"),
    "",
    "x",
    "\ud800",
    "a\0b",
    "../x",
    "/etc/passwd",
    "ox\nhen",
    "y" * 3000,
    [],
    {},
    [[]],
    ["x", "x"],
    {"x": 1},
)
_BLOCK = 512


def mutate(data: bytes, random: Random) -> bytes:
    """Return the bytes with one to three changes, or a packed file with what it contains changed."""
    if random.random() < 0.5 and (repacked := change_inside(data, random, mutate)) is not None:
        return repacked[:2_000_000]
    for _ in range(random.randint(1, 3)):
        data = random.choice(_CHANGES)(data, random)
    return data[:2_000_000]


def _flip(data: bytes, random: Random) -> bytes:
    if not data:
        return data
    at = random.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << random.randrange(8)]) + data[at + 1 :]


def _cut(data: bytes, random: Random) -> bytes:
    return data[: random.randint(0, len(data))]


def _span(data: bytes, random: Random) -> tuple[int, int]:
    start = random.randint(0, len(data))
    return start, min(len(data), start + random.choice((1, 2, 4, 16, 64, _BLOCK)))


def _drop(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    return data[:start] + data[end:]


def _repeat(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    return data[:end] + data[start:]


def _zero(data: bytes, random: Random) -> bytes:
    start = random.randint(0, len(data) // _BLOCK) * _BLOCK
    end = min(len(data), start + _BLOCK)
    return data[:start] + bytes(end - start) + data[end:]


def _insert(data: bytes, random: Random) -> bytes:
    start, end = _span(data, random)
    return data[:start] + random.choice(_TOKENS) + data[random.choice((start, end)) :]


def _twice(data: bytes, random: Random) -> bytes:  # noqa: ARG001 - as the others
    return data + data


def _value(data: bytes, random: Random) -> bytes:
    """Change a value, a key or the length of a list in a JSON text, or in one of its lines."""
    lines = data.split(b"\n") if data[:1] == b"{" and b"}\n{" in data else [data]
    which = random.randrange(len(lines))
    try:
        content = json.loads(lines[which])
        lines[which] = json.dumps(_changed(content, random)).encode()
    except (ValueError, RecursionError):
        return _insert(data, random)
    return b"\n".join(lines)


def _changed(content: Any, random: Random) -> Any:
    if isinstance(content, dict) and content and random.random() < 0.9:
        key = random.choice(list(content))
        kind = random.random()
        if kind < 0.1:
            return {name: value for name, value in content.items() if name != key}
        if kind < 0.2:
            return content | {random.choice(("x", key + "s", key[:-1], "")): content[key]}
        return content | {key: _changed(content[key], random)}
    if isinstance(content, list) and content and random.random() < 0.9:
        at = random.randrange(len(content))
        kind = random.random()
        if kind < 0.1:
            return content[:at] + content[at + 1 :]
        if kind < 0.2:
            return content[:at] + content[at : at + 1] * 2 + content[at + 1 :]
        return [*content[:at], _changed(content[at], random), *content[at + 1 :]]
    return random.choice(_VALUES)


def _cell(data: bytes, random: Random) -> bytes:
    """Change a cell of a table, or repeat, drop or join rows."""
    rows = data.split(b"\n")
    at = random.randrange(len(rows))
    kind = random.random()
    if kind < 0.1:
        return b"\n".join(rows[:at] + rows[at + 1 :])
    if kind < 0.2:
        return b"\n".join(rows[:at] + rows[at : at + 1] * 2 + rows[at + 1 :])
    cells = rows[at].split(b",")
    cells[random.randrange(len(cells))] = random.choice((*_TOKENS, *cells))
    rows[at] = b",".join(cells)
    return b"\n".join(rows)


def _part(data: bytes, random: Random) -> bytes:
    """Change, repeat or drop a part between the separators of an address, a path or a specification."""
    parts = re.split(rb"([:/@?&=#.])", data)
    at = random.randrange(len(parts))
    kind = random.random()
    if kind < 0.2:
        return b"".join(parts[:at] + parts[at + 1 :])
    if kind < 0.4:
        return b"".join(parts[:at] + parts[at : at + 1] * 2 + parts[at + 1 :])
    parts[at] = random.choice((*_TOKENS, *parts))
    return b"".join(parts)


_CHANGES: tuple[Callable[[bytes, Random], bytes], ...] = (
    _flip,
    _flip,
    _cut,
    _drop,
    _repeat,
    _zero,
    _insert,
    _twice,
    _value,
    _value,
    _value,
    _cell,
    _cell,
    _part,
)
