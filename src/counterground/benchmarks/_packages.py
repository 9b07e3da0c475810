"""Debian packages as a source of photographs: fetched by name through apt, checked, opened, cached.

The cache keeps one folder per package version and set of files under ``cache_dir()/packages``, with a
``package.json`` that states version and SHA-256, so that later runs need neither apt nor the package.
"""

from __future__ import annotations

import hashlib
import importlib
import io
import json
import os
import shutil
import struct
import subprocess
import sys
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING
from urllib.parse import unquote

from counterground.errors import CounterGroundError, error_message
from counterground.files import cache_dir, draft_folder, file_sha256, open_regular, place_once
from counterground.hostile import BoundedTarInfo
from counterground.http import check_online

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


_AR_MAGIC = b"!<arch>\n"
_AR_HEADER = 60
_FOLDER = 2  # flag of a node of a Qt resource file
MAX_MEMBER_BYTES = 64 * 2**20  # the largest photograph we read is 6 MB; more is a broken or hostile package
_APT_SECONDS = 1800  # 81 MB is the largest package; connections below 50 kB/s are given up


def read_deb(deb: Path, wanted: Iterable[str]) -> dict[str, bytes]:
    """Return the contents of the ``wanted`` absolute paths that ``deb`` holds as regular files.

    ``PATH.rcc!INNER`` is the entry ``INNER`` of the Qt resource file ``PATH.rcc``.

    Only requested names are ever read, so a package cannot choose where anything is written; links, devices,
    and absolute or ``..`` names are never followed.

    Raises:
        CounterGroundError: the file is not a Debian package, is cut short, corrupt, or uses a compression
            that this Python cannot read.
    """
    try:
        with open_regular(deb) as file, _data(file) as archive:
            inner = {path: path.partition("!") for path in wanted}
            files = _wanted(archive, {name for name, _, _ in inner.values()})
            return {
                path: read_resource(files[name], entry) if entry else files[name]
                for path, (name, _, entry) in inner.items()
                if name in files
            }
    except Exception as error:  # decompressors have errors of their own
        raise CounterGroundError(
            f"{deb} is not a complete Debian package ({error_message(error)}); delete it and get it again."
        ) from error


def _wanted(archive: tarfile.TarFile, wanted: set[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    for member in archive:
        name = "/" + member.name.removeprefix("./").lstrip("/")
        if name not in wanted or name in found or not member.isreg():
            continue
        if member.size > MAX_MEMBER_BYTES:
            raise ValueError(f"{name} claims {member.size} bytes, more than any photograph")
        content = archive.extractfile(member)
        assert content is not None
        found[name] = content.read()
    return found


def read_resource(data: bytes, path: str) -> bytes:
    """Return an uncompressed entry of a Qt resource file (``rcc --binary``), by its path in there.

    Source: Qt's ``src/corelib/io/qresource.cpp``; integers are big-endian. A node of the tree has 14 bytes,
    from version 2 on 22: offset of its name, flags, then for a folder the number of children and the first of
    them, for a file its language and the offset of its content.

    Raises:
        ValueError: no resource file, no such entry, or a compressed one.
    """
    magic, version, tree, contents, names = struct.unpack_from(">4s4I", data)
    if magic != b"qres":
        raise ValueError("no Qt resource file")

    def node(number: int) -> tuple[str, int, int, int]:
        at = tree + number * (14 if version == 1 else 22)
        name, flags, count, first = struct.unpack_from(">IHII", data, at)
        (length,) = struct.unpack_from(">H", data, names + name)
        return data[names + name + 6 :][: 2 * length].decode("utf-16-be"), flags, count, first

    flags, count, first = _FOLDER, *node(0)[2:]  # the root has no name
    for part in path.strip("/").split("/"):
        children = map(node, range(first, first + count * (flags == _FOLDER)))
        flags, count, first = next((rest for name, *rest in children if name == part), (-1, 0, 0))
    if flags != 0:
        raise ValueError(f"no uncompressed entry {path}")
    (size,) = struct.unpack_from(">I", data, contents + first)
    return data[contents + first + 4 :][:size]


def _data(file: IO[bytes]) -> tarfile.TarFile:
    """Open the last member of a package, ``data.tar`` with any compression."""
    if file.read(len(_AR_MAGIC)) != _AR_MAGIC:
        raise ValueError("no ar header")
    while len(header := file.read(_AR_HEADER)) == _AR_HEADER:
        name, size = header[:16].decode("ascii").rstrip(" /"), int(header[48:58])
        if name == "data.tar.zst" and sys.version_info < (3, 14):  # of Ubuntu
            try:
                file = importlib.import_module("zstandard").open(file, "rb")
            except ModuleNotFoundError as error:
                raise ValueError("it is packed with zstd: run `pip install zstandard`") from error
        if name.startswith("data.tar"):
            return tarfile.open(fileobj=file, mode="r|*", tarinfo=BoundedTarInfo)
        file.seek(max(0, size + size % 2), io.SEEK_CUR)
    raise ValueError("no data.tar member")


@dataclass(frozen=True)
class Package:
    """One unpacked Debian package: the files we use lie under ``folder`` at their own paths."""

    name: str
    version: str
    sha256: str
    folder: Path

    def file(self, path: str) -> Path:
        """Return where the package's ``path`` (absolute) is unpacked."""
        return self.folder / path.lstrip("/")

    def record(self) -> dict[str, str]:
        """Return what a benchmark records about this source of its photos."""
        return {k: v for k, v in asdict(self).items() if k != "folder"}


def open_packages(wanted: Mapping[str, Iterable[str]], packages: Path | None = None) -> dict[str, Package]:
    """Return each package of ``wanted`` (name -> absolute paths we use) unpacked in the cache.

    Args:
        wanted: the files used from each package.
        packages: folder with the ``.deb`` files; without it the cache is used, then ``apt-get download``.

    Raises:
        CounterGroundError: a package is missing, cut short or corrupt, or there is no apt; the message names
            the packages and how to provide them.
    """
    files = {name: sorted(set(paths)) for name, paths in wanted.items()}
    found = {} if packages else {n: p for n in files if (p := _cached(n, files[n])) is not None}
    missing = sorted(set(files) - set(found))
    if not missing:
        return found
    store = cache_dir() / "packages"
    try:
        with (
            nullcontext(packages) if packages else draft_folder(store / "downloads") as folder,
            ThreadPoolExecutor(max_workers=2) as pool,
        ):
            if packages is None:
                _download(missing, folder)
            opened = pool.map(lambda name: _unpack(name, folder, files[name]), missing)
            return found | dict(zip(missing, opened, strict=True))
    except OSError as error:
        raise CounterGroundError(
            f"Cannot use {error.filename or store}: {error.strerror or error}. Free some space there or set "
            "COUNTERGROUND_CACHE."
        ) from error


def _cached(name: str, paths: list[str]) -> Package | None:
    records = (cache_dir() / "packages").glob(f"{name}_*/package.json")
    for record in sorted(records, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            package = Package(**json.loads(record.read_text()), folder=record.parent)
        except (OSError, TypeError, ValueError):
            continue
        if package.name == name and all(package.file(path).is_file() for path in paths):
            return package
    return None


def _how_to_bring(names: list[str]) -> str:
    return (
        f"On a Debian 13 machine (a container will do) run `apt-get download {' '.join(names)}`, put the "
        ".deb files in a folder and give it with `--packages FOLDER`."
    )


def _download(names: list[str], folder: Path) -> None:
    """Fetch packages through apt, which checks them."""
    if shutil.which("apt-get") is None:
        raise CounterGroundError(
            f"The stamps benchmark needs the Debian packages {', '.join(names)}, and there is no apt here. "
            + _how_to_bring(names)
        )
    check_online(f"Fetching {' '.join(names)} with apt-get")
    status, text = _apt(["apt-get", "download", *names], folder)
    if status and os.geteuid() == 0:
        # A fresh container has no package lists; only root may fetch them.
        _apt(["apt-get", "update"], folder)
        status, text = _apt(["apt-get", "download", *names], folder)
    if status:
        problem = next((line for line in text.splitlines() if line.startswith("E:")), text.strip()[-200:])
        raise CounterGroundError(
            f"apt-get download {' '.join(names)} failed ({problem}). Run `sudo apt-get update`, or bring "
            f"the packages. {_how_to_bring(names)}"
        )


def _apt(command: list[str], folder: Path) -> tuple[int, str]:
    try:
        done = subprocess.run(  # noqa: S603 - a fixed program and our own package names
            command,
            cwd=folder,
            env=os.environ | {"LC_ALL": "C"},
            capture_output=True,
            text=True,
            timeout=_APT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return 1, f"E: no answer within {_APT_SECONDS} s"
    return done.returncode, done.stdout + done.stderr


def _unpack(name: str, packages: Path, paths: list[str]) -> Package:
    """Write the files we use from a package to the cache; a half-written folder never becomes visible."""
    debs = sorted(packages.glob(f"{name}_*.deb"))
    if len(debs) != 1:
        raise CounterGroundError(
            f"{packages} has {len(debs)} files {name}_*.deb, and must have one. {_how_to_bring([name])}"
        )
    (deb,) = debs
    digest = file_sha256(deb)
    files = hashlib.sha256("\n".join(paths).encode()).hexdigest()
    folder = cache_dir() / "packages" / f"{name}_{digest[:12]}_{files[:8]}"
    package = Package(name, unquote(deb.name.split("_")[1]), digest, folder)
    if package == _cached(name, paths):
        return package
    contents = read_deb(deb, paths)
    absent = sorted(set(paths) - set(contents))
    if absent:
        raise CounterGroundError(
            f"{deb.name} does not hold {absent[0]}; the stamps benchmark needs the packages of Debian 13. "
            + _how_to_bring([name])
        )
    with draft_folder(folder) as draft:
        for path, data in contents.items():
            target = draft / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        (draft / "package.json").write_text(json.dumps(package.record(), indent=1) + "\n")
        place_once(draft, folder)
    return package
