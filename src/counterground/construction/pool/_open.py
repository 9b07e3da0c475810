"""Opening a pool: the one step that says what to install if SQLAlchemy is missing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from counterground.benchmarks import FolderReader
from counterground.construction.pool._folder import FILES, is_pool
from counterground.errors import CounterGroundError, UsageError, needs_extra
from counterground.files import check_writable

if TYPE_CHECKING:
    from counterground.construction.pool._store import Pool
    from counterground.photos import Benchmark


def open_pool(path: str | Path, *, create: bool = False) -> Pool:
    """Open the pool in a folder; ``create`` makes one if there is none. Close it, or use ``with``.

    Raises:
        UsageError: there is no pool, or a package that pools need is not installed.
        CounterGroundError: the folder holds something else, cannot be written, or the database is damaged.
    """
    with needs_extra("data"):
        from counterground.construction.pool._store import Pool
    root = Path(path)
    if not is_pool(root):
        if not create:
            raise UsageError(
                f"There is no pool in {root}: make one with `counterground data collect` or `import`."
            )
        check_writable(root)
        others = [entry.name for entry in root.iterdir() if not entry.name.startswith(".")]
        if others and not is_pool(root):  # another process may have made it meanwhile
            raise CounterGroundError(
                f"{root} is not a pool, and not empty (it holds {others[0]!r}): name a new folder for one."
            )
    return Pool(root.resolve(), create=create)


def _find(path: Path) -> Path | None:
    """Return the pool that a path names: its folder, or the table of photos in it.

    Raises:
        UsageError: the folder of all its photos.
    """
    if path.name == "photos.parquet" and is_pool(path.parent):
        return path.parent  # this copy for other programs has the discarded photos, too
    if path.name == FILES and is_pool(path.parent):
        raise UsageError(
            f"{path} holds all photos of a pool, also discarded ones: name the pool, {path.parent}."
        )
    return path if is_pool(path) else None


def _freeze(root: Path) -> Benchmark:
    with open_pool(root) as pool:
        return pool.freeze()


POOL_FOLDERS = FolderReader("pool", _find, _freeze)
