"""Discover the backgrounds a referee relies on, and write them as a benchmark (paper section 2)."""

from __future__ import annotations

import json
import shutil
from dataclasses import asdict, dataclass, replace
from html import escape
from pathlib import Path

import polars as pl

from counterground.construction.discover._pairs import background_accuracy, choose_pairs, split_halves
from counterground.errors import CounterGroundError, UsageError
from counterground.files import check_only, write_parquet, write_text
from counterground.inference import Settings, evaluate_models
from counterground.metrics import score_predictions
from counterground.models import AnyModels, named_models
from counterground.photos import Benchmark, Discovered, read_benchmark, write_benchmark
from counterground.results import (
    Cell,
    Column,
    Estimate,
    Run,
    Table,
    block,
    html_paragraphs,
    plain_text,
    rich_table,
    unfolding,
)
from counterground.text import counted, one_line

_FILES = ("benchmark.json", "cells.parquet", "label_space.json", "pairs.parquet", "photos.parquet", "referee")


@dataclass(frozen=True)
class Discovery:
    """What a referee chose.

    ``pairs``: ``class_index, class_name, common, counter`` and the drop on the photos that chose.
    ``cells``: accuracy per half, class and background. ``chosen_drop`` is measured on the photos that chose
    (biased upwards), ``reported_drop`` on held-out ones (null without a split). Fractions, but ``min_drop``,
    which is in points.
    """

    benchmark: Benchmark
    referee: str
    pairs: pl.DataFrame
    cells: pl.DataFrame
    classes_seen: int
    min_drop: float
    chosen_drop: Estimate
    reported_drop: Estimate | None
    sentence: str

    @property
    def table(self) -> Table:
        """The pairs, a row per class."""
        drop = "drop" if self.reported_drop is None else "drop on the selection half"
        rows = [
            [Cell(one_line(row[name])) for name in ("class_name", "common", "counter")]
            + [Cell(f"{100 * row['drop']:.1f}")]
            for row in self.pairs.iter_rows(named=True)
        ]
        columns = [Column("class"), Column("common"), Column("counter"), Column(drop, True)]
        return Table(columns, rows, title=f"Pairs chosen by {self.referee}", heads=3)

    @property
    def summary(self) -> str:
        """How many classes have a pair, and how many photos are left."""
        return (
            f"{len(self.pairs)} of {counted(self.classes_seen, 'class')} differ by more than "
            f"{self.min_drop:g} points between backgrounds; the benchmark holds "
            f"{counted(len(self.benchmark), 'photo')}."
        )

    def __repr__(self) -> str:
        """The pairs, and what to know of them, as on a terminal."""
        width = shutil.get_terminal_size((100, 24)).columns
        return "\n".join(
            [plain_text(rich_table(self.table, width), width=width), self.summary, self.sentence]
        )

    def _repr_html_(self) -> str:
        sentences = [self.summary, self.sentence]
        return block(
            f"<p><b>{escape(self.table.title)}</b></p>",
            unfolding(self.table, "class"),
            html_paragraphs(sentences, 2),
        )


def discover_pairs(
    benchmark: Benchmark,
    model: AnyModels,
    settings: Settings,
    out: Path,
    *,
    min_drop: float,
    min_photos: int,
    split: str,
    seed: int,
    overwrite: bool = False,
) -> Discovery:
    """Choose common and counter backgrounds with a referee and write the benchmark of the pairs to ``out``.

    The referee is ``model``; records call it by its specification.

    ``min_drop`` is in percentage points. With ``split="half"`` the pairs are chosen on one half of the photos
    (whole clusters together) and the benchmark holds the other half; with ``"none"`` it holds all photos.

    Raises:
        UsageError: an unknown split, a drop outside 0 to 100, or a folder that holds other files.
        CounterGroundError: photos without backgrounds, or no class whose accuracy differs enough.
    """
    _check(benchmark, min_drop, split)
    given = named_models(model)
    if len(given) != 1:
        raise UsageError(f"The referee must be one model, not {len(given)}.")
    referee = given[0].spec
    asked = {"referee": referee, "min_drop": min_drop, "min_photos": min_photos, "split": split, "seed": seed}
    _check_free(out, asked, overwrite=overwrite)
    run = evaluate_models(benchmark, model, settings, out / "referee", overwrite=overwrite)
    seen = run.predictions.filter(pl.col("background").is_not_null())
    halves = split_halves(seen, seed) if split == "half" else pl.Series("chooses", [True] * len(seen))
    choosing, kept = seen.filter(halves), seen.filter(~halves if split == "half" else halves)
    cells = pl.concat(
        background_accuracy(part).with_columns(half=pl.lit(half))
        for half, part in (("chooses", choosing), ("reports", kept))[: 2 if split == "half" else 1]
    )
    pairs = _pairs(cells, benchmark.name, min_drop=min_drop, min_photos=min_photos)
    chosen_drop = _drop(_grouped(choosing, pairs))
    reported_drop = _drop(_grouped(kept, pairs)) if split == "half" else None
    how = f"{referee} (loaded as published)" if settings.as_published else referee
    sentence = _sentence(how, chosen_drop, reported_drop)
    photos = benchmark.photos.join(kept.select("path"), on="path", how="semi")
    found = replace(
        benchmark,
        name=f"{benchmark.name}, pairs of {referee}",
        photos=_grouped(photos, pairs).select(benchmark.photos.columns).sort("path"),
        notes=(*benchmark.notes, sentence, *_left_out(run, seen)),
        discovery=_provenance(benchmark, referee, settings, min_drop=min_drop, split=split),
    )
    discovery = Discovery(
        found,
        referee,
        pairs,
        cells,
        seen["class_index"].n_unique(),
        min_drop,
        chosen_drop,
        reported_drop,
        sentence,
    )
    _write(discovery, out, asked)
    return discovery


def _provenance(
    benchmark: Benchmark, referee: str, settings: Settings, *, min_drop: float, split: str
) -> Discovered:
    earlier = benchmark.discovery
    return Discovered(
        referee,
        split,
        min_drop,
        discovered_from=f"{benchmark.name}@{benchmark.version[:8]}",
        origin=earlier.origin if earlier else benchmark.name,
        referee_as_published=settings.as_published,
        earlier_referees=(*earlier.earlier_referees, earlier.referee) if earlier else (),
    )


def _pairs(cells: pl.DataFrame, name: str, *, min_drop: float, min_photos: int) -> pl.DataFrame:
    """Choose on the choosing half, among backgrounds with enough photos in every half."""
    halves = cells["half"].n_unique()
    enough = cells.filter(pl.col("n") >= min_photos).group_by("class_index", "background").len()
    eligible = cells.filter(pl.col("half") == "chooses").join(
        enough.filter(pl.col("len") == halves), on=["class_index", "background"], how="semi"
    )
    pairs = choose_pairs(eligible, min_drop=min_drop / 100, min_photos=min_photos)
    if pairs.is_empty():
        several = eligible.group_by("class_index").len().filter(pl.col("len") > 1).height
        raise CounterGroundError(
            f"No class of {name} differs by more than {min_drop:g} points between backgrounds with at least "
            f"{min_photos} photos{' in each half' if halves > 1 else ''}; {several} of "
            f"{counted(cells['class_index'].n_unique(), 'class')} have two such backgrounds. "
            "Lower --min-drop or --min-photos, add photos, or use --split none."
        )
    return pairs.join(cells.select("class_index", "class_name").unique(), on="class_index").sort(
        "class_index"
    )


def _check(benchmark: Benchmark, min_drop: float, split: str) -> None:
    if split not in {"half", "none"}:
        raise UsageError(f"Unknown split {split!r}: use half or none.")
    if not 0 <= min_drop < 100:
        raise UsageError(f"The minimum drop is {min_drop:g} points: it must be at least 0 and below 100.")
    backgrounds = benchmark.photos.group_by("class_index").agg(pl.col("background").drop_nulls().n_unique())
    if backgrounds["background"].max() in {None, 0, 1}:
        raise CounterGroundError(
            f"No class of {benchmark.name} has photos on two labelled backgrounds: nothing to compare. "
            "Arrange folders as <class>/<background>/, fill the background column of the manifest, or label "
            "backgrounds in a pool with `counterground label POOL --task background`."
        )


def _check_free(out: Path, asked: dict[str, object], *, overwrite: bool) -> None:
    """Refuse a folder that holds something else, or the discovery of another request."""
    if not (out / "discovery.json").exists():
        began = (out / "referee" / "run.json").exists()  # and was stopped while it wrote
        check_only(out, _FILES if began else ("referee",), "a discovery")
        return
    if overwrite:
        return
    try:
        record = json.loads((out / "discovery.json").read_text(encoding="utf-8"))
        same = all(record[name] == value for name, value in asked.items())
    except (OSError, ValueError, KeyError, TypeError):
        same = False
    if not same:
        raise UsageError(
            f"{out} holds another discovery. Choose another --out, or replace it with --overwrite."
        )


def _left_out(run: Run, seen: pl.DataFrame) -> list[str]:
    """Return notes on photos that discovery ignored, and the warnings of its run."""
    notes = [
        f"When the pairs were chosen: {warning.replace('unreadable.csv', 'referee/unreadable.csv')}"
        for warning in run.info.all_warnings
    ]
    bare = len(run.predictions) - len(seen)
    if bare:
        notes.append(
            f"Not used to choose pairs, because they have no background label: {counted(bare, 'photo')}."
        )
    return notes


def _grouped(rows: pl.DataFrame, pairs: pl.DataFrame) -> pl.DataFrame:
    """Keep the rows of chosen pairs and set their group."""
    joined = rows.drop("group").join(
        pairs.select("class_index", "common", "counter"), on="class_index", maintain_order="left"
    )
    group = (
        pl.when(pl.col("background") == pl.col("common"))
        .then(pl.lit("common"))
        .when(pl.col("background") == pl.col("counter"))
        .then(pl.lit("counter"))
    )
    kept = joined.with_columns(group=group).filter(pl.col("group").is_not_null())
    return kept.select(rows.columns)


def _drop(predictions: pl.DataFrame) -> Estimate:
    scores = score_predictions(predictions, by_class=False).filter(pl.col("metric") == "drop")
    return Estimate.of(scores.row(0, named=True))


def _sentence(referee: str, chosen: Estimate, reported: Estimate | None) -> str:
    """Say which figure to report, and how choosing and measuring on the same photos biases it."""
    if reported is None:
        return (
            f"{referee} chose the pairs on these same photos, where it drops {_points(chosen)}: that figure "
            "is optimistically biased by the selection. Evaluate other models, or use --split half."
        )
    return (
        f"On the selection half {referee} drops {_points(chosen)}, on held-out photos {_points(reported)}: "
        "report the held-out figure; the first is inflated by selection."
    )


def _points(drop: Estimate) -> str:
    if drop.value is None:
        return "by an unknown amount"
    return f"{drop.text} points {drop.interval}".rstrip()


def read_discovery(folder: Path) -> Discovery | None:
    """Read what ``discover`` wrote beside its benchmark; None for any other folder.

    Raises:
        CounterGroundError: the record is damaged.
    """
    if not (folder / "discovery.json").is_file():
        return None
    try:
        record = json.loads((folder / "discovery.json").read_text())
        reported = record["reported_drop"]
        return Discovery(
            read_benchmark(folder),
            record["referee"],
            pl.read_parquet(folder / "pairs.parquet"),
            pl.read_parquet(folder / "cells.parquet"),
            record["classes_seen"],
            record["min_drop"],
            Estimate(**record["chosen_drop"]),
            None if reported is None else Estimate(**reported),
            record["sentence"],
        )
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise CounterGroundError(
            f"The discovery in {folder} is damaged ({str(error).splitlines()[0]}). Run discover again."
        ) from error


def _write(discovery: Discovery, out: Path, asked: dict[str, object]) -> None:
    (out / "discovery.json").unlink(missing_ok=True)  # it is written last: a folder with it is whole
    write_benchmark(discovery.benchmark, out)
    write_parquet(out / "cells.parquet", discovery.cells)
    write_parquet(out / "pairs.parquet", discovery.pairs)
    record = {
        **asked,
        "classes_seen": discovery.classes_seen,
        "classes_kept": len(discovery.pairs),
        "chosen_drop": asdict(discovery.chosen_drop),
        "reported_drop": asdict(discovery.reported_drop) if discovery.reported_drop else None,
        "sentence": discovery.sentence,
    }
    write_text(out / "discovery.json", json.dumps(record, indent=2) + "\n")
