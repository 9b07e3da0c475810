"""A board: a folder of bundles, checked, as one page beside the paper's rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import polars as pl
from pydantic import ValidationError

from counterground.comparison import POINTS_SCHEMA, identity_of, model_points, rank_models
from counterground.errors import CounterGroundError, UsageError
from counterground.files import is_file, read_text, relative_way, write_text
from counterground.metrics import COMPETING, KEYS
from counterground.models import WEIGHTS_HASH
from counterground.reporting.shell import (
    FAMILY_NAMES,
    as_script,
    page_path,
    page_policy,
    page_script,
    render_page,
)
from counterground.results import Run, near_chance, regroup
from counterground.sharing._audit import ENOUGH, Audit
from counterground.sharing._bundle import (
    AUDIT_FILE,
    bundle_hash,
    check_bundle,
    check_photos,
    check_record,
    photos_of,
)
from counterground.text import counted

Origin = Literal["audited", "recomputed", "claimed", "printed"]
ORIGINS: dict[Origin, str] = {
    "audited": "the model was run again on photos that nobody chose, and no prediction was altered",
    "recomputed": "its scores follow from its predictions, on exactly the photos of an audited bundle",
    "claimed": "its scores follow from its predictions; nobody has compared its photos with the benchmark",
    "printed": "from the paper, without predictions: not to be audited; its ranks come from binomial errors",
}
"""Where a row of a board comes from, the best known first."""


@dataclass(frozen=True)
class Entry:
    """A bundle of a board."""

    bundle: Run
    origin: Origin


def read_board(folder: Path) -> tuple[list[Entry], list[str]]:
    """Open all bundles below a folder; return them, and what is wrong with others, in one line each.

    An audited bundle is what others of the same version of a benchmark are compared with.

    Raises:
        UsageError: it is not a folder.
    """
    if not folder.is_dir():
        raise UsageError(f"{folder} is not a folder of bundles; `counterground share` makes one of a run.")
    problems, bundles = list[str](), list[tuple[Run, bool]]()
    for file in sorted(folder.rglob("run.json")):
        try:
            bundle = check_bundle(file.parent)
            bundles.append((bundle, _is_audited(bundle)))
        except CounterGroundError as error:
            problems.append(str(error))
    audited = {each.info.benchmark.version: each for each, audited in reversed(bundles) if audited}
    entries = list[Entry]()
    for bundle, is_audited in bundles:
        reference = audited.get(bundle.info.benchmark.version)
        try:
            _check_name(bundle, entries)
            if reference is not None:
                _check_like(bundle, reference)
        except CounterGroundError as error:
            problems.append(str(error))
            continue
        origin: Origin = "audited" if is_audited else "claimed" if reference is None else "recomputed"
        entries.append(Entry(bundle, origin))
    return entries, problems


def _is_audited(bundle: Run) -> bool:
    """Whether a bundle has an audit of its own files that found no altered prediction.

    Raises:
        CounterGroundError: the audit is of other files, too small, damaged, or found some.
    """
    file = bundle.path / AUDIT_FILE
    if not is_file(file):
        return False
    try:
        audit = Audit.model_validate_json(read_text(file))
    except ValidationError as error:
        raise CounterGroundError(f"{file} is not an audit: {error.errors()[0]['msg']}.") from None
    size = len(bundle.photos)
    for wrong, reason in (
        (audit.bundle != bundle_hash(bundle.path), "is of other files than those beside it: audit again"),
        ((audit.of, audit.photos >= min(ENOUGH, size)) != (size, True), f"is of fewer than {ENOUGH} photos"),
        (audit.altered, f"found altered predictions of {counted(len(audit.mismatches), 'photo')}"),
    ):
        if wrong:
            raise CounterGroundError(f"{file} {reason}.")
    return True


def _check_like(bundle: Run, reference: Run) -> None:
    check_record(bundle, reference.info.benchmark, str(reference.path))
    expected = photos_of(reference)
    if bundle.info.candidates.version != reference.info.candidates.version:
        expected = expected.drop("true_index")  # an index among other names
    check_photos(bundle, expected, str(reference.path))


def _check_name(bundle: Run, entries: Sequence[Entry]) -> None:
    """Refuse other weights under the name of another bundle's model."""
    for other in (entry.bundle for entry in entries):
        (ours,), (theirs,) = bundle.info.models, other.info.models
        weights = (each.description.get(WEIGHTS_HASH) for each in (ours, theirs))
        if ours.name == theirs.name and len(set(weights)) > 1:
            raise CounterGroundError(
                f"{bundle.path} and {other.path} have different weights under one name, {ours.name}: name "
                "the revision, as in `evaluate -m NAME=MODEL`."
            )


def write_board(entries: Sequence[Entry], out: Path) -> Path:
    """Write the page of a board: a table for each benchmark and set of candidate names; return its path.

    Raises:
        UsageError: ``out`` is not the name of an HTML file.
    """
    path = page_path(out, "index.html")
    paper = model_points().with_columns(origin=pl.lit("printed"))
    tables = [pl.DataFrame(schema=_ROWS), *(_rows(entry, path.parent) for entry in entries), paper]
    rows = pl.concat(tables, how="diagonal_relaxed")
    scripts = [page_script("report/scripts/tables.js")]
    page = render_page(
        "board.html.j2",
        "counterground.sharing",
        tables=[_ranked(table) for _, table in rows.group_by(_PLACE, maintain_order=True)],
        origins=ORIGINS,
        families=FAMILY_NAMES,
        scripts=[as_script(script) for script in scripts],
        policy=page_policy(scripts),
    )
    write_text(path, page)
    return path


_ROWS: dict[str, Any] = {
    **POINTS_SCHEMA,
    "accuracy": pl.Float64,
    "accuracy_low": pl.Float64,
    "accuracy_high": pl.Float64,
    "n": pl.Int64,
    "link": pl.String,
    "origin": pl.String,
}
"""Columns of a board's rows: those of points, the accuracy on all photos, and where the row comes from."""
_PLACE = pl.when("comparable").then(pl.lit("paper")).otherwise(pl.concat_str("benchmark_version", COMPETING))


def _rows(entry: Entry, page: Path) -> pl.DataFrame:
    """Return the rows of a bundle's model, one for each setting; without groups there is no drop."""
    bundle, info = entry.bundle, entry.bundle.info
    scored = regroup(bundle.estimates().filter(pl.col("class_index").is_null()))
    about = {"source": bundle.path.name, "benchmark": info.benchmark.name, "comparable": False}
    about |= {"benchmark_version": info.benchmark.version, "origin": entry.origin}
    about["link"] = relative_way(page, bundle.path)
    points = model_points([bundle], published=False).iter_rows(named=True)
    by_key = {tuple(point[name] for name in KEYS): point for point in points}
    more = []
    for model in scored:
        every = model.get("accuracy")
        known = {"accuracy": every.value, "accuracy_low": every.low, "accuracy_high": every.high}
        known["near_chance"] = near_chance(every, info.candidates.chance)
        row = identity_of(info.models[0]) | model.setting._asdict() | about | known
        point = by_key.get(tuple(row[name] for name in KEYS), {})
        more.append(row | {name: value for name, value in point.items() if value is not None})
    return pl.DataFrame([{name: row.get(name) for name in _ROWS} for row in more], schema=_ROWS)


def _ranked(rows: pl.DataFrame) -> dict[str, Any]:
    """Return a table of one benchmark: its rows by rank; the smallest drop, or the smallest error, is first.

    Models near chance are last, without a rank.
    """
    has_drop = rows["drop"].null_count() < rows.height
    error = {"drop": 1 - pl.col("accuracy")}
    error |= {"drop_low": 1 - pl.col("accuracy_high"), "drop_high": 1 - pl.col("accuracy_low")}
    has_rank = ~pl.col("near_chance") & pl.col("drop" if has_drop else "accuracy").is_not_null()
    ranked, rest = rows.filter(has_rank), rows.filter(~has_rank)
    ranks = rank_models(ranked if has_drop else ranked.with_columns(**error))
    ranked = ranked.hstack(ranks.select("rank", "rank_low", "rank_high"))
    listed = pl.concat([ranked.sort("rank", maintain_order=True), rest], how="diagonal")
    first = listed.row(0, named=True)
    return {
        "title": "CounterAnimal" if first["comparable"] else first["benchmark"],
        "version": next((version for version in listed["benchmark_version"] if version), None),
        "names": first[COMPETING],
        "has_drop": has_drop,
        "has_accuracy": listed["accuracy"].null_count() < listed.height,
        "rows": listed.to_dicts(),
    }
