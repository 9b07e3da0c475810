"""``counterground data collect``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from counterground.cli.help import Command, is_quiet
from counterground.cli.options import class_option, each_once
from counterground.cli.show import print_notes, print_table, print_text
from counterground.text import counted, one_line

if TYPE_CHECKING:
    from counterground.construction.collection import (
        CollectionPlan,
        CollectReport,
        UnclearClasses,
        WantedClass,
    )


def _taxa(_context: click.Context, _parameter: click.Parameter, given: Sequence[str]) -> dict[str, Any]:
    """Read ``CLASS=ID`` and ``CLASS=ID,ID``."""
    taxa: list[tuple[str, tuple[int, ...]]] = []
    for one in given:
        name, equals, ids = one.rpartition("=")
        numbers = [part.strip() for part in ids.split(",")]
        if not equals or not name.strip() or not all(re.fullmatch("[0-9]{1,9}", part) for part in numbers):
            raise click.BadParameter(f"{one[:100]!r} is not CLASS=ID, as in 'zebra=43338'.")
        taxa.append((name.strip(), tuple(int(part) for part in numbers)))
    return each_once(taxa, "--taxon", "write both ids in one, as in zebra=1,2")


def _licences(_context: click.Context, _parameter: click.Parameter, given: Sequence[str]) -> tuple[str, ...]:
    codes = [code.strip().lower() for one in given for code in one.split(",") if code.strip()]
    return tuple(dict.fromkeys(code for code in codes if code != "any"))


@click.command(
    cls=Command,
    examples="""
        counterground data collect my-pool -c zebra -c "polar bear" --per-class 300
        counterground data collect my-pool --classes counteranimal --dry-run
    """,
)
@click.argument("pool", type=click.Path(path_type=Path))
@class_option("names", "Class to collect; repeatable.", multiple=True)
@click.option(
    "--classes",
    "source",
    metavar="FILE|imagenet-animals|counteranimal",
    help="File with one class per line (optional after a tab: its scientific name or taxon id), the animals "
    "of ImageNet-1K, or the paper's 45 classes.",
)
@click.option("--per-class", default=500, show_default=True, help="Photos per class, newest first.")
@click.option(
    "--quality",
    default="research",
    show_default=True,
    metavar="research|needs_id|casual|any",
    help="Quality grade of observations.",
)
@click.option(
    "--licence",
    "--license",
    "licences",
    multiple=True,
    callback=_licences,
    metavar="CODE",
    help="Only photos under this licence (cc0, cc-by, cc-by-nc, ...); repeatable.  [default: any, including "
    "all rights reserved]",
)
@click.option(
    "--place", metavar="NAME|ID", help="Only photos from this place, by its name or id on iNaturalist."
)
@click.option("--since", metavar="DATE", help="First day of observation, such as 2024-05-31.")
@click.option("--until", metavar="DATE", help="Last day of observation.")
@click.option(
    "--taxon",
    "taxa",
    multiple=True,
    callback=_taxa,
    metavar="CLASS=ID",
    help="iNaturalist taxon id of a class, remembered in the pool; repeatable.",
)
@click.option(
    "--size",
    default="medium",
    show_default=True,
    metavar="small|medium|large|original",
    help="Size of the photos.",
)
@click.option("--per-observation", default=1, show_default=True, help="Maximum photos per observation.")
@click.option(
    "--add",
    is_flag=True,
    help="Add photos from a different query or, once a query is exhausted, its new photos, up to --per-class "
    "in all.",
)
@click.option("--jobs", default=4, show_default=True, type=click.IntRange(1, 16), help="Parallel downloads.")
@click.option(
    "--dry-run", is_flag=True, help="Show how many photos and bytes would be fetched; fetch nothing."
)
@click.option(
    "--contact",
    metavar="ADDRESS",
    help="E-mail address or web page, sent so that iNaturalist can contact you.  [default: "
    "$COUNTERGROUND_CONTACT]",
)
@click.option(
    "--api-url",
    metavar="URL",
    help="Another server with the iNaturalist API (the URL ends in /v1).  [default: "
    "$COUNTERGROUND_API_URL, else iNaturalist's]",
)
def collect(
    pool: Path,
    *,
    names: tuple[str, ...],
    source: str | None,
    dry_run: bool,
    **options: Any,
) -> None:
    """Fetch the newest photos of each class from iNaturalist into POOL.

    The same command continues an interrupted collection.
    """
    from counterground.errors import needs_extra

    with needs_extra("data"):
        from counterground.construction.collection import (
            CollectOptions,
            UnclearClasses,
            plan_collection,
            read_classes,
        )
        from counterground.construction.collection import collect as run_collection

    classes: list[str | WantedClass] = [*(read_classes(source) if source else []), *names]
    chosen = CollectOptions(show_progress=not is_quiet(), **options)
    try:
        if dry_run:
            _show_plan(plan_collection(pool, classes, chosen))
        else:
            _show_report(run_collection(pool, classes, chosen), pool)
    except UnclearClasses as unclear:
        _show_choices(unclear)
        raise


def _show_choices(unclear: UnclearClasses) -> None:
    """Print the taxa that an ambiguous name may mean."""
    columns = ("id", "name", "rank", "common name", "observations")
    for name, choices in unclear.choices.items():
        rows = [
            (str(taxon.id), taxon.name, taxon.rank, taxon.common_name, f"{taxon.observations:,}")
            for taxon in choices
        ]
        if rows:
            title = f"Taxa that {one_line(name)!r} may mean"
            print_table(columns, rows, numeric=("id", "observations"), title=title)


def _show_report(report: CollectReport, pool: Path) -> None:
    counts = ("wanted", "added", "present", "failed", "missing")
    rows = [
        (
            one.class_name,
            _short(one.taxa),
            *(f"{getattr(one, count):,}" for count in counts),
            _megabytes(one.bytes),
        )
        for one in report.classes
    ]
    numeric = (*counts, "MB")
    print_table(("class", "taxon", *numeric), rows, numeric=numeric, title="Photos from iNaturalist")
    added, received = (sum(getattr(one, name) for one in report.classes) for name in ("added", "bytes"))
    _print(f"{counted(added, 'photo')} added, {_megabytes(received)} MB.")
    print_notes(report.notes)
    click.echo(f"Pool: {pool}")
    if not report.complete:
        from counterground.errors import CounterGroundError

        raise CounterGroundError(
            "Some photos are still missing, and more are available: run the same command again later."
        )


def _show_plan(plan: CollectionPlan) -> None:
    rows = []
    for one in plan.classes:
        counts = (one.wanted, one.available, one.present, one.to_fetch)
        rows.append(
            (one.class_name, _short(one.taxa), *(f"{count:,}" for count in counts), _megabytes(one.bytes))
        )
    numeric = ("wanted", "available", "present", "to\nfetch", "at most\nMB")
    title = "Dry run: photos that would be fetched"
    print_table(("class", "taxon", *numeric), rows, numeric=numeric, title=title)
    total = sum(one.to_fetch for one in plan.classes)
    size = _megabytes(sum(one.bytes for one in plan.classes))
    _print(f"{counted(total, 'photo')}, at most about {size} MB. Nothing was fetched.")
    print_notes(plan.notes)


def _short(taxa: Sequence[str]) -> str:
    """Return the first taxon, and how many more there are."""
    first, *others = taxa
    return f"{first} + {len(others)} more" if others else first


def _megabytes(size: int) -> str:
    return f"{size / 1e6:,.1f}"


def _print(line: str) -> None:
    from rich.text import Text

    print_text(Text(one_line(line)))
