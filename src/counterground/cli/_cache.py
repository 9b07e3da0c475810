"""``counterground cache``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from counterground.cli.help import Group
from counterground.cli.options import format_option

if TYPE_CHECKING:
    from counterground.inference import CacheEntry

_SECONDS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_BYTES = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}


class _Measure(click.ParamType[Any]):
    """A number with a unit, such as 30d or 5GB."""

    def __init__(self, name: str, units: dict[str, int], example: str) -> None:
        self.name, self._units, self._example = name, units, example

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return seconds, or bytes."""
        found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-z]+)", str(value), re.IGNORECASE)
        units = {unit.lower(): size for unit, size in self._units.items()}
        if found is None or found[2].lower() not in units:
            known = ", ".join(self._units)
            self.fail(f"{value!r} is not a number with one of {known}, as {self._example}", param, ctx)
        return float(found[1]) * units[found[2].lower()]


@click.group(
    cls=Group,
    examples="""
        counterground cache info
        counterground cache prune --older-than 30d --dry-run
    """,
)
def cache() -> None:
    """Show what the cache holds, or remove what has not been used for a long time."""


@cache.command(
    examples="""
        counterground cache info
        counterground cache info --json
    """,
)
@format_option(["table", "json"])
def info(style: str) -> None:
    """List what the cache holds, with sizes, numbers of photos and times of last use."""
    from counterground.cli.show import show_cache
    from counterground.files import cache_dir
    from counterground.inference import cache_entries

    show_cache(cache_dir(), cache_entries(), as_json=style == "json")


@cache.command(
    examples="""
        counterground cache prune --older-than 30d
        counterground cache prune --max-size 5GB --dry-run
        counterground cache prune --what features --what losses
    """,
)
@click.option(
    "--older-than",
    type=_Measure("AGE", _SECONDS, "30d"),
    help="Remove only what has not been used for this long, such as 12h, 30d or 8w.",
)
@click.option(
    "--max-size",
    type=_Measure("SIZE", _BYTES, "5GB"),
    help="Remove only as much as is needed to get these parts below this size, least recently used first.",
)
@click.option(
    "--what",
    multiple=True,
    metavar="PART",
    help="Part of the cache, as `cache info` lists it; repeatable.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be removed; remove nothing.")
def prune(older_than: float | None, max_size: float | None, what: tuple[str, ...], dry_run: bool) -> None:
    """Remove what can be recomputed, such as features, losses and text heads.

    The other parts (generated answers, which may have cost money, and photos) are removed only if --what
    names them. Commands that are running continue: they recompute what they lose.
    """
    from counterground.inference import prune_cache

    if older_than is None and max_size is None and not what:
        raise click.UsageError("Say what to remove: --older-than, --max-size or --what.")
    size = None if max_size is None else int(max_size)
    removed = prune_cache(what, older_than=older_than, max_size=size, dry_run=dry_run)
    _show_removed(removed, dry_run=dry_run)


def _show_removed(removed: list[CacheEntry], *, dry_run: bool) -> None:
    from counterground.cli.show import show_cache_rows, size_text
    from counterground.text import counted

    if removed:
        show_cache_rows(removed)
    files, size = sum(entry.files for entry in removed), sum(entry.size for entry in removed)
    done = "Would remove" if dry_run else "Removed"
    click.echo(f"{done} {counted(files, 'file')}, {size_text(size)}.")
