from __future__ import annotations

import bz2
import gzip
import io
import lzma
import re
from collections import defaultdict
from pathlib import Path

import pytest
from loopback import Handler, serving
from PIL import Image
from rcc import write_rcc
from tars import tar

# How often a download is tried is not for users to set.
from counterground.benchmarks import _fetch

# Its map of packages tells which small ones to stand in for.
from counterground.benchmarks.stamps import _photographs

_COMPRESS = {".xz": lzma.compress, ".gz": gzip.compress, ".bz2": bz2.compress, "": bytes, ".zst": bytes}


def ar(members: dict[str, bytes]) -> bytes:
    out = b"!<arch>\n"
    for name, data in members.items():
        header = f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(data):<10}`\n"
        out += header.encode() + data + b"\n" * (len(data) % 2)
    return out


@pytest.fixture(scope="session")
def make_deb():
    def make(path: Path, entries, compression: str = ".xz") -> Path:
        data = _COMPRESS[compression](tar(entries))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(
            ar({"debian-binary": b"2.0\n", "control.tar.xz": b"odd", f"data.tar{compression}": data})
        )
        return path

    return make


def _encoded(image: Image.Image, suffix: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, {"png": "PNG", "jpg": "JPEG"}[suffix])
    return buffer.getvalue()


@pytest.fixture(scope="session")
def tiny_debs(tmp_path_factory, make_deb) -> Path:
    """Every package of ``stamps`` by its real name and paths, with plain pictures inside."""
    folder = tmp_path_factory.mktemp("debs")
    files: dict[str, dict[str, bytes]] = defaultdict(dict)
    stamp = _encoded(Image.new("RGBA", (12, 8), (200, 40, 40, 255)), "png")
    for row in _photographs.cutout_rows():
        files["tuxpaint-stamps-default"][row["path"]] = stamp
    sizes: dict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for row in _photographs.read_map("backgrounds"):
        right, bottom = (int(edge) for edge in row["box"].split()[2:])
        sizes[row["source"]] = (max(sizes[row["source"]][0], right), max(sizes[row["source"]][1], bottom))
    inside: dict[tuple[str, str], dict[str, bytes]] = defaultdict(dict)
    for index, row in enumerate(_photographs.read_map("backgrounds")):
        if row["package"] in _photographs.PACKAGES:
            colour = (index * 7 % 256, index * 31 % 256, 90)
            picture = _encoded(Image.new("RGB", sizes[row["source"]], colour), "jpg")
            path, _, entry = row["source"].partition("!")
            if entry:
                inside[row["package"], path][entry] = picture
            else:
                files[row["package"]][path] = picture
    for (package, path), entries in inside.items():
        files[package][path] = write_rcc(entries)
    for package, contents in files.items():
        contents[f"/usr/share/doc/{package}/copyright"] = b"none"
        make_deb(
            folder / f"{package}_1%3a1.0-1_all.deb", [(f".{path}", data) for path, data in contents.items()]
        )
    return folder


class _Files(Handler):
    """Honours ranges and can die after ``cut`` bytes of an answer; ``bodies``: by path, of several files."""

    def do_GET(self):
        asked, server = self.headers.get("Range"), self.server
        server.ranges.append(asked)
        body = server.bodies.get(self.path, server.body)
        asked = asked if server.resumes else None
        start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
        self.send_response(206 if asked else 200)
        self.send_header("Content-Type", server.kind)
        self.send_header("Content-Length", str(len(body) - start))
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
        self.end_headers()
        end = len(body) if server.cut is None else start + server.cut
        self.wfile.write(body[start:end])


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(_fetch, "_RETRIES", 0)
    state = {"body": b"", "kind": "application/zip", "bodies": {}, "cut": None, "resumes": True, "ranges": []}
    with serving(_Files, **state) as served:
        yield served
