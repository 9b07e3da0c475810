"""Changes inside packed files, which are packed again: lengths and checksums are right, the content is not.

Tables and pickles are only unpacked if they are seeds or were written here: others' may end the process.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Callable
from random import Random
from typing import Any

import pyarrow as pa
from arrow_tables import TEXTS, Change, changed_table, unexpected
from pyarrow import parquet as pq

_LARGEST = 2_000_000
_SAFE: set[int] = set()


def know(data: bytes) -> None:
    """Remember that these bytes are safe to unpack."""
    if len(_SAFE) < 1_000_000:
        _SAFE.add(_digest(data))


def _digest(data: bytes) -> int:
    return zlib.crc32(data) << 32 | len(data)


def _trusted(data: bytes) -> bytes:
    if _digest(data) not in _SAFE:
        raise ValueError("not written here")
    return data


def change_inside(data: bytes, random: Random, change: Change) -> bytes | None:
    """Return the file with something in it changed; None if it is not packed, or cannot be unpacked."""
    for at, begins, repack in FORMATS:
        if data.startswith(begins, at):
            try:
                changed = repack(data, random, change)
            except Exception:  # of whatever kind: a damaged file is changed byte by byte instead
                return None
            know(changed)
            return changed
    return None


def _gzip(data: bytes, random: Random, change: Change) -> bytes:
    inner = zlib.decompressobj(31).decompress(data, _LARGEST)
    return gzip.compress(change(inner, random), compresslevel=1, mtime=0)


def _png(data: bytes, random: Random, change: Change) -> bytes:
    """Change, move, repeat or rename a chunk; pixels are changed before they are compressed."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    place, kind = random.randrange(len(chunks)), random.random()
    name, content = chunks[place]
    if kind < 0.1:
        chunks.insert(random.randrange(len(chunks)), chunks.pop(place))
    elif kind < 0.2:
        chunks.insert(place, chunks[place])
    elif kind < 0.3:
        chunks[place] = random.choice((b"tEXt", b"iCCP", b"eXIf", b"PLTE", b"tRNS", b"acTL")), content
    elif name == b"IDAT":
        pixels = zlib.decompressobj().decompress(content, _LARGEST)
        chunks[place] = name, zlib.compress(change(pixels, random), 1)
    else:
        chunks[place] = name, change(content, random)
    written = [len(c).to_bytes(4) + n + c + zlib.crc32(n + c).to_bytes(4) for n, c in chunks]
    return data[:8] + b"".join(written)


def _safetensors(data: bytes, random: Random, change: Change) -> bytes:
    length = int.from_bytes(data[:8], "little")
    json.loads(data[8 : 8 + length])  # else it is another file
    header = change(data[8 : 8 + length], random)
    return len(header).to_bytes(8, "little") + header + data[8 + length :]


def _tar(data: bytes, random: Random, change: Change) -> bytes:
    with tarfile.open(fileobj=io.BytesIO(data)) as packed:
        members = [(each, _content(packed, each)) for each in packed.getmembers()]
    place, kind = random.randrange(len(members)), random.random()
    member, content = members[place]
    if kind < 0.1:
        members.insert(random.randrange(len(members)), members.pop(place))
    elif kind < 0.2:
        members.insert(random.randrange(len(members)), members[place])
    elif kind < 0.3:
        member.type = random.choice((*tarfile.SUPPORTED_TYPES, b"9"))
        member.linkname = random.choice((*TEXTS, members[0][0].name)).replace("\0", "")[:90]
    elif kind < 0.5:
        member.name = _name(member.name, random, change)
    else:
        members[place] = member, change(content, random)
    written = io.BytesIO()
    form = random.choice((tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT))
    with tarfile.open(fileobj=written, mode="w", format=form) as packed:
        for each, inside in members:
            each.size = len(inside)
            packed.addfile(each, io.BytesIO(inside))
    return written.getvalue()


def _content(packed: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = packed.extractfile(member) if member.isfile() else None
    return file.read(_LARGEST) if file else b""


def _name(name: str, random: Random, change: Change) -> str:
    return change(name.encode(errors="replace"), random).decode("latin-1")[:90] or "x"


def _zip(data: bytes, random: Random, change: Change) -> bytes:
    members = []
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        for each in packed.infolist():
            with packed.open(each) as file:
                members.append((each.filename, file.read(_LARGEST)))
    place, kind = random.randrange(len(members)), random.random()
    name, content = members[place]
    if kind < 0.1:
        members.pop(place)
    elif kind < 0.2:
        members.insert(random.randrange(len(members)), members[place])
    elif kind < 0.4:
        members[place] = _name(name, random, change), content
    else:
        members[place] = name, change(content, random)
    written = io.BytesIO()
    how = random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
    with zipfile.ZipFile(written, "w", how) as packed, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # two members of one name are meant
        for each, inside in members:
            packed.writestr(zipfile.ZipInfo(each), inside, how)
    return written.getvalue()


def _pickle(data: bytes, random: Random, change: Change) -> bytes:  # noqa: ARG001 - as the others
    content = pickle.loads(_trusted(data))
    return pickle.dumps(_altered(content, random), protocol=random.randrange(6))


def _altered(content: Any, random: Random) -> Any:
    """Change a key or a value somewhere in dictionaries and lists; repeat or drop an item."""
    if isinstance(content, dict) and content and random.random() < 0.9:
        key = random.choice(list(content))
        if random.random() < 0.8:
            return content | {key: _altered(content[key], random)}
        rest = {name: value for name, value in content.items() if name != key}
        return rest | {unexpected(key, random): content[key]}
    if isinstance(content, list) and content and random.random() < 0.9:
        at = random.randrange(len(content))
        return [*content[:at], _altered(content[at], random), *content[at + random.randrange(2) :]]
    return random.choice((*(unexpected(like, random) for like in ("x", 1, 1.0)), None, [], {}, b"x"))


def _parquet(data: bytes, random: Random, change: Change) -> bytes:
    table = pq.read_table(io.BytesIO(_trusted(data)), use_threads=False)
    for _ in range(random.choice((1, 1, 2, 4))):
        table = changed_table(table, random, change)
    written = io.BytesIO()
    how = random.choice(("NONE", "SNAPPY", "ZSTD", "GZIP"))
    pq.write_table(table, written, compression=how, row_group_size=random.choice((1, 3, 10_000)))
    return written.getvalue()


def _arrow(data: bytes, random: Random, change: Change) -> bytes:
    table = changed_table(pa.ipc.open_stream(_trusted(data)).read_all(), random, change)
    written = io.BytesIO()
    with pa.ipc.new_stream(written, table.schema) as stream:
        stream.write_table(table)
    return written.getvalue()


def _onnx(data: bytes, random: Random, change: Change) -> bytes:
    import onnx

    model = onnx.load_model_from_string(data)
    for _ in range(random.choice((1, 1, 2, 4))):
        _alter(model, random, change)
    return bytes(model.SerializeToString())


def _alter(message: Any, random: Random, change: Change) -> None:
    """Change, repeat or drop a field somewhere in a message of Protocol Buffers."""
    field, value = random.choice(message.ListFields())
    if random.random() < 0.05:
        message.ClearField(field.name)
    elif field.message_type and not hasattr(value, "append"):
        _alter(value, random, change)
    elif not hasattr(value, "append"):
        setattr(
            message, field.name, change(value, random) if type(value) is bytes else unexpected(value, random)
        )
    else:
        at, kind = random.randrange(len(value)), random.random()
        if kind < 0.15:
            del value[at]
        elif kind < 0.3:
            value.append(value[at])
        elif field.message_type:
            _alter(value[at], random, change)
        else:
            value[at] = (
                change(value[at], random) if type(value[at]) is bytes else unexpected(value[at], random)
            )


FORMATS: tuple[tuple[int, bytes, Callable[[bytes, Random, Change], bytes]], ...] = (
    (0, b"\x1f\x8b", _gzip),
    (0, b"\x89PNG\r\n\x1a\n", _png),
    (0, b"PK\x03\x04", _zip),
    (0, b"PAR1", _parquet),
    (0, b"\xff\xff\xff\xff", _arrow),
    (0, b"\x80", _pickle),
    (0, b"\x08", _onnx),
    (257, b"ustar", _tar),
    (8, b"{", _safetensors),
)
"""Where which bytes tell a kind of file, and what changes it."""
