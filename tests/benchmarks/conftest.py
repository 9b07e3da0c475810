from __future__ import annotations

import bz2
import gzip
import http.server
import io
import lzma
import re
import tarfile
import threading
from collections import defaultdict
from pathlib import Path

import pytest
from PIL import Image
from rcc import write_rcc

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


def tar(entries: list[tarfile.TarInfo | tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for entry in entries:
            if isinstance(entry, tarfile.TarInfo):
                archive.addfile(entry)
            else:
                info = tarfile.TarInfo(entry[0])
                info.size = len(entry[1])
                archive.addfile(info, io.BytesIO(entry[1]))
    return buffer.getvalue()


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


@pytest.fixture
def own_cache(tmp_path, monkeypatch) -> Path:
    """A cache of the test's own: nothing fetched before can help it."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("COUNTERGROUND_CACHE", str(cache))
    return cache


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


class _Server:
    """A file server on loopback that honours ranges and can die after ``cut`` bytes of an answer."""

    def __init__(self) -> None:
        self.body, self.kind, self.status = b"", "application/zip", 200
        self.bodies: dict[str, bytes] = {}  # by path, where there are several files
        self.cut: int | None = None
        self.resumes = True
        self.ranges: list[str | None] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked = self.headers.get("Range")
                outer.ranges.append(asked)
                body = outer.bodies.get(self.path, outer.body)
                asked = asked if outer.resumes else None
                start = int(re.fullmatch(r"bytes=(\d+)-", asked)[1]) if asked else 0
                self.send_response(206 if asked else outer.status)
                self.send_header("Content-Type", outer.kind)
                self.send_header("Content-Length", str(len(body) - start))
                if asked:
                    self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
                self.end_headers()
                end = len(body) if outer.cut is None else start + outer.cut
                self.wfile.write(body[start:end])

            def log_message(self, *arguments):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}/file"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setattr(_fetch, "_RETRIES", 0)
    served = _Server()
    yield served
    served.close()
