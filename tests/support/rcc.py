"""Read and write Qt's binary resource files (.rcc): gcompris-qt-data keeps photographs of animals in some."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

from counterground.benchmarks import open_packages

_ZLIB, _FOLDER, _ZSTD = 1, 2, 4
_PACKAGE = "gcompris-qt-data"
_FILES = {"explore_farm_animals": "/animals/", "explore_world_animals": "/animals/", "erase": "/resource/"}


def read_rcc(path: Path) -> dict[str, bytes]:
    """Return the contents of all files of a resource file, by their path inside it."""
    data = path.read_bytes()
    magic, version, tree, contents, names = struct.unpack_from(">4s4I", data)
    if magic != b"qres" or version not in (1, 2, 3):
        raise ValueError(f"{path} is no Qt resource file of version 1 to 3")
    node = 14 if version == 1 else 22

    def name_at(offset: int) -> str:
        length, _ = struct.unpack_from(">HI", data, names + offset)
        return data[names + offset + 6 :][: 2 * length].decode("utf-16-be")

    def walk(number: int, prefix: str) -> Iterator[tuple[str, bytes]]:
        name, flags, first, second = struct.unpack_from(">IHII", data, tree + node * number)
        # The root has no name.
        inside = f"{prefix}/{name_at(name)}" if number else ""
        if flags & _FOLDER:
            for child in range(second, second + first):
                yield from walk(child, inside)
        else:
            yield inside.lstrip("/"), _unpacked(data, contents + second, flags)

    return dict(walk(0, ""))


def write_rcc(entries: dict[str, bytes]) -> bytes:
    """Return a resource file of version 1 with these contents, by their path inside it."""
    tree: dict[str, Any] = {}
    for path, content in entries.items():
        *folders, name = path.strip("/").split("/")
        reduce(lambda node, folder: node.setdefault(folder, {}), folders, tree)[name] = content
    nodes, names, contents = [b""], bytearray(bytes(6)), bytearray()

    def add(place: int, name: str, node: dict[str, Any] | bytes) -> None:
        at = len(names) if name else 0
        names.extend(struct.pack(">HI", len(name), 0) + name.encode("utf-16-be") if name else b"")
        if isinstance(node, bytes):
            nodes[place] = struct.pack(">IHII", at, 0, 0, len(contents))
            contents.extend(struct.pack(">I", len(node)) + node)
            return
        first = len(nodes)
        nodes[place] = struct.pack(">IHII", at, _FOLDER, len(node), first)
        nodes.extend(b"" for _ in node)
        for number, (child, inner) in enumerate(node.items(), first):
            add(number, child, inner)

    add(0, "", tree)
    parts = (b"".join(nodes), bytes(contents), bytes(names))
    starts = [20, 20 + len(parts[0]), 20 + len(parts[0]) + len(parts[1])]
    return struct.pack(">4s4I", b"qres", 1, *starts) + b"".join(parts)


def _unpacked(data: bytes, start: int, flags: int) -> bytes:
    (size,) = struct.unpack_from(">I", data, start)
    packed = data[start + 4 : start + 4 + size]
    if flags & _ZLIB:  # qCompress: the length of the content comes first
        return zlib.decompress(packed[4:])
    if flags & _ZSTD:
        import zstandard

        return zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    return packed


def animal_photos(cache: Path) -> dict[str, bytes]:
    """Return the package's 57 photographs of animals (WebP, 1 to 2 megapixels) by activity and name.

    The package is fetched into ``cache`` by its name, once.
    """
    paths = {activity: f"/usr/share/gcompris-qt/rcc/{activity}.rcc" for activity in _FILES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(cache))
        package = open_packages({_PACKAGE: paths.values()})[_PACKAGE]
    return {
        f"{activity}/{Path(inside).stem}": content
        for activity, path in paths.items()
        for inside, content in read_rcc(package.file(path)).items()
        if _FILES[activity] in inside and inside.endswith(".webp")
    }
