"""File names that every system keeps: Windows, tar, and readers that skip hidden files."""

from __future__ import annotations

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import PurePosixPath

_FORBIDDEN = re.compile(r'[<>:"/\\|?*]')
_RESERVED = re.compile(
    r"(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³]|conin\$|conout\$)\s*(?=\.|$)", re.IGNORECASE
)
_JUNK = frozenset({"thumbs.db", "desktop.ini", "__macosx", "@eadir"})  # readers take these for litter
_INVISIBLE = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_LONGEST = 150  # bytes: file systems end at 255, Windows paths at 260 in all


def safe_name(text: str) -> str:
    """Return ``text`` as one part of a path that Windows, macOS, Linux and tar all keep as it is.

    Composed Unicode; ``_`` for separators, wildcards and invisible characters; no leading dot (hidden), no
    trailing dot or space, no device name of Windows; at most 150 bytes. A safe name comes back unchanged.
    """
    name = unicodedata.normalize("NFC", text)
    name = "".join("_" if unicodedata.category(char) in _INVISIBLE else char for char in name)
    name = _FORBIDDEN.sub("_", name).strip()
    name = re.sub(r"[.\s]+$", "", name)
    if name.startswith(".") or _RESERVED.match(name) or name.lower() in _JUNK:
        name = f"_{name}"
    return _shorten(name, text) or "_"


def _shorten(name: str, text: str) -> str:
    if len(name.encode()) <= _LONGEST:
        return name
    stem, suffix = _split(name)
    room = _LONGEST - len(suffix.encode()) - 9
    kept = stem.encode()[:room].decode(errors="ignore").rstrip(". ")
    return f"{kept}-{_digest(text)}{suffix}"


def _split(name: str) -> tuple[str, str]:
    suffix = PurePosixPath(name).suffix
    return (name.removesuffix(suffix), suffix) if len(suffix) <= 8 else (name, "")


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def safe_path(path: str) -> str:
    """Return a relative path of which every part is safe; a safe path comes back unchanged."""
    return "/".join(safe_name(part) for part in path.split("/") if part not in ("", ".")) or "_"


def place(wanted: Sequence[str], taken: Iterable[str] = ()) -> list[str]:
    """Return one path for each of ``wanted``, no two of which any file system takes for the same.

    Names that differ only in case or composition collide on some systems, a file with a folder of its name on
    all. The first of those that collide, in the order given, keeps its path; the others get the start of a
    hash of what they are called. ``taken`` are names at the top that are in use.
    """
    files = {_fold(name) for name in taken}
    folders: set[str] = set()
    placed = []
    for path in wanted:
        free = _first_free(path, lambda folded: _is_free(folded, files, folders))
        folded = _fold(free)
        files.add(folded)
        folders.update(_parents(folded))
        placed.append(free)
    return placed


def _first_free(path: str, is_free: Callable[[str], bool]) -> str:
    if is_free(_fold(path)):
        return path
    stem, suffix = _split(path)
    top, _, rest = path.partition("/")
    for attempt in itertools.count():
        mark = _digest(f"{path} {attempt}")
        # Where a folder is called as a file is, another name for what is in it does not help.
        for candidate in (f"{stem}-{mark}{suffix}", f"{top}-{mark}/{rest}"):
            if is_free(_fold(candidate)):
                return candidate
    raise AssertionError(path)


def _is_free(folded: str, files: set[str], folders: set[str]) -> bool:
    return folded not in files and folded not in folders and not files.intersection(_parents(folded))


def _parents(folded: str) -> list[str]:
    parts = folded.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _fold(path: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def slug(text: str) -> str:
    """Return a short ASCII name for files of a whole collection: letters, digits and hyphens."""
    plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:60].strip("-") or "photos"
