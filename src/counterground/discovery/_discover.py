"""Discover the backgrounds a referee relies on, and write them as a benchmark (paper section 2)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import get_type_hints

import polars as pl
from pydantic import TypeAdapter

from counterground.catalogue import Finding
from counterground.comparison import selection_of
from counterground.discovery._backgrounds import FoundBackgrounds, find_backgrounds, hypotheses
from counterground.discovery._finding import Pairs, Split, find_pairs
from counterground.discovery._groups_page import GROUPS_FILES, write_groups
from counterground.errors import CounterGroundError, UsageError
from counterground.files import check_only, read_json, read_parquet, write_parquet, write_text
from counterground.inference import evaluate_models
from counterground.metrics import DROP, Design, Estimate, check_columns, cluster_columns
from counterground.models import AnyModels, named_models
from counterground.photos import LABEL_SPACE_FILE, Benchmark, Discovered, read_benchmark, write_benchmark
from counterground.results import (
    Cell,
    Column,
    Run,
    Table,
    TableView,
)
from counterground.settings import DiscoverSettings
from counterground.text import bounds, counted, one_line, p_equals, p_value, percent

BENCHMARK_FILES = ("benchmark.json", LABEL_SPACE_FILE, "photos.parquet")
_RECORD = "discovery.json"
FILES = (*BENCHMARK_FILES, "cells.parquet", "pairs.parquet", "referee", *GROUPS_FILES)


@dataclass(frozen=True, eq=False, repr=False)
class Discovery(TableView, Pairs):
    """What a referee chose, and what chance alone would have given.

    ``benchmark`` is None if none was written: nothing exceeded chance, or no class varied enough. ``referee``
    is the name of the model, or the names of a committee. ``min_drop`` and all drops are fractions.
    ``chosen_drop`` is measured on the photos that chose (biased upwards), ``reported_drop`` on held-out ones
    (None without a split; for a swap the mean of both halves, with the mean of their intervals).
    """

    benchmark: Benchmark | None
    referee: str
    min_drop: float
    split: str
    choose: str
    sentence: str

    @property
    def table(self) -> Table:
        """The pairs, a row per class; for a swap, a row per class and half."""
        half = ["half"] if self.split == "cross" else []
        rows = [
            [
                *(Cell(one_line(row[name])) for name in ("class_name", "common", "counter", *half)),
                Cell(percent(row["drop"])),
            ]
            for row in self.pairs.iter_rows(named=True)
        ]
        names = ["class", "common", "counter", *(["chosen by half"] if half else [])]
        columns = [*map(Column, names), Column("drop where chosen", True)]
        return Table(columns, rows, title=f"Pairs chosen by {self.referee}", heads=len(names))

    @property
    def evidence(self) -> Table:
        """What was found, next to what chance alone gives."""
        kept = self.classes_by_chance
        found = Cell(f"{kept.observed:g} of {self.classes_seen}")
        title = Cell(f"Classes that differ by more than {100 * self.min_drop:g} points")
        expected = Cell(f"{kept.expected:.1f}", f"[{kept.low:.0f}, {kept.high:.0f}]")
        rows = [[title, found, expected, Cell(p_value(kept.p))]]
        drops = {
            "Drop where chosen": self.chosen_by_chance,
            "Drop on the other half, mean of both": self.held_out_by_chance,
        }
        for name, drop in drops.items():
            expected = Cell(percent(drop.expected), bounds(drop.low, drop.high))
            rows.append([Cell(name), Cell(percent(drop.observed)), expected, Cell(p_value(drop.p))])
        columns = [Column("Evidence"), *(Column(title, True) for title in ("found", "by chance", "p"))]
        caption = (
            "Drops in points. By chance: mean and 95 % range with the backgrounds permuted (in the last row "
            "for errors as large as those found); p: how often permutations reach what was found. The last "
            "row decides; the p of the others holds only if all backgrounds have clusters of similar size."
        )
        return Table(columns, rows, caption, title="Is it more than chance?")

    @property
    def summary(self) -> str:
        """How many classes have a pair, and how many photos are left."""
        where = {"half": " on the selection half", "cross": " in one half or both"}.get(self.split, "")
        holds = (
            "no benchmark was written"
            if self.benchmark is None
            else f"the benchmark holds {counted(len(self.benchmark), 'photo')}"
        )
        return (
            f"{self.pairs['class_index'].n_unique()} of {counted(self.classes_seen, 'class')} differ by more "
            f"than {100 * self.min_drop:g} points between backgrounds{where}; {holds}."
        )

    @property
    def rows(self) -> pl.DataFrame:
        """The pairs."""
        return self.pairs

    @property
    def tables(self) -> list[Table]:
        """The pairs, and the evidence for them."""
        return [self.table, self.evidence]

    @property
    def remarks(self) -> list[str]:
        """The summary, and what to report."""
        return [self.summary, self.sentence]


_FIGURES = tuple(
    field.name for field in fields(Discovery) if field.name not in ("benchmark", "pairs", "cells")
)


def write_discovery(discovery: Discovery, out: Path, asked: dict[str, object]) -> None:
    """Write the evidence into ``out``, and the benchmark if there is one; ``asked`` is the request."""
    (out / _RECORD).unlink(missing_ok=True)  # it is written last: a folder with it is complete
    if discovery.benchmark is not None:
        write_benchmark(discovery.benchmark, out)
    else:
        for name in BENCHMARK_FILES:
            (out / name).unlink(missing_ok=True)
    write_parquet(out / "cells.parquet", discovery.cells)
    write_parquet(out / "pairs.parquet", discovery.pairs)
    record = {
        **asked,
        "classes_kept": discovery.pairs["class_index"].n_unique(),
        "exceeds_chance": discovery.exceeds_chance,
        **{name: getattr(discovery, name) for name in _FIGURES if name not in asked},
    }
    write_text(out / _RECORD, json.dumps(record, indent=2, default=asdict))


def read_discovery(folder: Path) -> Discovery | None:
    """Read what ``discover`` wrote; None for any other folder.

    Raises:
        CounterGroundError: the record is damaged.
    """
    if not (folder / _RECORD).is_file():
        return None
    try:
        record = read_json(folder / _RECORD)
        kinds = get_type_hints(Discovery)
        figures = {name: TypeAdapter(kinds[name]).validate_python(record[name]) for name in _FIGURES}
        return Discovery(
            benchmark=read_benchmark(folder) if (folder / BENCHMARK_FILES[0]).exists() else None,
            pairs=read_parquet(folder / "pairs.parquet"),
            cells=read_parquet(folder / "cells.parquet"),
            **figures,
        )
    except (OSError, ValueError, KeyError, TypeError, pl.exceptions.PolarsError) as error:
        raise CounterGroundError(
            f"The discovery in {folder} is damaged ({str(error).splitlines()[0]}). Run discover again."
        ) from error


def discover_pairs(
    benchmark: Benchmark,
    model: AnyModels,
    settings: DiscoverSettings,
    out: Path,
) -> Discovery:
    """Choose common and counter backgrounds with a referee and write the benchmark of the pairs to ``out``.

    The referee is ``model``; with several models, their mean accuracy counts. If the pairs drop by no more
    than chance explains, or no class varies enough, only the evidence and the referee's run are written;
    ``write_anyway`` also writes pairs that drop by no more than chance.

    With ``split="half"`` the pairs are chosen on one half of the photos
    (whole clusters together) and the benchmark holds the other half; with ``"cross"`` it holds all photos,
    each in the pairs that the other half chose; with ``"none"`` all photos choose and are kept.

    Raises:
        UsageError: an impossible number of photos or seed, pairs that were chosen on
            these same photos, composites, too many backgrounds, a folder that holds other files, or see
            `evaluate_models`.
        CounterGroundError: photos without backgrounds, no class with enough photos on two backgrounds, or see
            `evaluate_models`.
    """
    benchmark.check_files("search")
    if settings.background_column:
        benchmark = _with_backgrounds(benchmark, settings.background_column)
    if not settings.find_backgrounds:
        _check(benchmark)
        benchmark.check_backgrounds()
    referees = named_models(model)
    asked = {
        "referee": _listed([each.name for each in referees]),
        "referees": {each.name: each.spec for each in referees},
        **{name: getattr(settings, name) for name in _ASKED},
    }
    specs = [each.spec for each in referees if each.made is None]
    running = settings.running(referee=specs[0] if specs else None)
    overwrite = _check_free(out, asked, overwrite=settings.overwrite)
    backgrounds = None
    if settings.find_backgrounds:
        backgrounds = find_backgrounds(benchmark, referees, settings)
        write_groups(backgrounds, settings, out)
    elif settings.exploratory:
        backgrounds = hypotheses(benchmark)
    if backgrounds is not None:
        benchmark = backgrounds.benchmark
    run = evaluate_models(benchmark, model, running, out / "referee", overwrite=overwrite)
    photos, design = benchmark.photos, benchmark.design
    first, *crossed = design.clusters
    clusters = cluster_columns(run.predictions, Design(clusters=(first,)))["cluster"]
    answers = run.predictions.with_columns(cluster=pl.Series(clusters, dtype=pl.String, strict=False))
    split, min_drop = settings.split, settings.min_drop
    finding, groups = find_pairs(
        answers,
        min_drop=min_drop,
        min_photos=settings.min_photos,
        split=split,
        choose=settings.choose,
        seed=settings.seed,
        halves=None if backgrounds is None else backgrounds.halves,
    )
    if finding.comparable == 0 and backgrounds is None:
        raise CounterGroundError(
            f"No class of {benchmark.name} has at least {counted(finding.photos_needed, 'photo')} on two "
            f"backgrounds, in each half: lower -X min-photos, add photos, or use --split none. "
            f"{' '.join(_left_out(run))}".rstrip()
        )
    # Where one half keeps no pair, nothing was swapped: its photos are held out of the other's choice.
    used = "half" if split == "cross" and finding.pairs["half"].n_unique() == 1 else split
    who = str(asked["referee"])
    nothing = "" if finding.exceeds_chance else _nothing(finding, who, benchmark.name, min_drop, split)
    if backgrounds is not None:
        nothing = backgrounds.refusal or _too_few(finding) or nothing
    is_written = not nothing or (settings.write_anyway and len(finding.pairs) > 0)
    remarks = _sentences(finding, who, used) if is_written else [*_left_out(run), "No benchmark was written."]
    sentences = [
        nothing or f"More than chance ({p_equals(finding.decisive.p)}).",
        *remarks,
        *_about(backgrounds, nothing),
        *(
            f"Clusters are those of the column {first} alone, not of {other}: what was found is less certain "
            "than p and any interval say."
            for other in crossed
        ),
    ]
    if is_written and selection_of(run).on_these_photos:  # the halves share that choice
        sentences.append(Finding("chosen_here", "", {"noun": "drop"}).text)
    found = (
        replace(
            benchmark,
            name=f"{benchmark.name}, pairs of {asked['referee']}",
            photos=photos.drop("group").join(groups, on="path").select(photos.columns).sort("path"),
            # Runs on the pairs repeat the notes, where the verdict alone would not say what it is about.
            notes=(
                *(f"Of the benchmark that was searched: {note}" for note in benchmark.notes),
                " ".join(sentences[:2]),
                *sentences[2:],
                *_left_out(run),
            ),
            discovery=_provenance(benchmark, run, min_drop=min_drop, split=used),
            # Models are compared in the first contrast: that of the pairs.
            design=replace(design, contrasts=tuple(dict.fromkeys([DROP, *design.contrasts]))),
        )
        if is_written
        else None
    )
    discovery = Discovery(
        **vars(finding),
        benchmark=found,
        referee=str(asked["referee"]),
        min_drop=min_drop,
        split=split,
        choose=settings.choose,
        sentence=" ".join(sentences),
    )
    write_discovery(discovery, out, asked)
    return discovery


_ASKED = (
    *("min_drop", "min_photos", "split", "choose", "seed", "find_backgrounds", "encoder", "masks", "groups"),
    *("words", "background_column", "exploratory"),
)


def _with_backgrounds(benchmark: Benchmark, column: str) -> Benchmark:
    """Return the photos with a further column, such as numbered slices, as their background.

    Raises:
        UsageError: there is no such column, or its numbers are not whole.
    """
    photos, column = benchmark.photos, benchmark.columns.get(column, column)
    background = pl.col(column)
    if photos.schema.get(column) == pl.Float64 and not (photos[column] % 1 > 0).any():
        background = pl.format("{} {}", pl.lit(column), background.cast(pl.Int64))
    else:
        check_columns([column], photos, "--background-column")
    return replace(benchmark, photos=photos.with_columns(background=background))


def _too_few(finding: Pairs) -> str:
    """Return a sentence if most classes have photos in one group only."""
    if 2 * finding.comparable >= finding.classes_seen:
        return ""
    return (
        f"Only {finding.comparable} of {counted(finding.classes_seen, 'class')} have enough photos in two "
        "groups: the groups are classes rather than backgrounds, or there are too few photos."
    )


def _about(backgrounds: FoundBackgrounds | None, said: str) -> list[str]:
    if backgrounds is None:
        return []
    return [*backgrounds.notes, *(each.text for each in backgrounds.findings if each.text != said)]


def _provenance(benchmark: Benchmark, run: Run, *, min_drop: float, split: str) -> Discovered:
    earlier, models = benchmark.discovery, run.info.models
    specs = [each.spec for each in models]
    before = earlier.in_order if earlier else []
    return Discovered(
        _listed(specs),
        split,
        min_drop,
        discovered_from=f"{benchmark.name}@{benchmark.version[:8]}",
        origin=earlier.origin if earlier else benchmark.name,
        earlier_referees=tuple(spec for spec, _ in before),
        committee=tuple(specs) if len(specs) > 1 else (),
        fingerprints=(*(known for _, known in before), *(each.fingerprint for each in models)),
        referee_candidates=run.info.candidates.name,
    )


def _check(benchmark: Benchmark) -> None:
    earlier = benchmark.discovery
    if earlier is not None and earlier.split == "none":  # no half of the photos is free of that choice
        raise UsageError(
            f"The pairs of {benchmark.name} were chosen on these same photos (--split none), which inflates "
            f"any drop found among them: search {earlier.origin} instead."
        )
    backgrounds = benchmark.photos.group_by("class_index").agg(pl.col("background").drop_nulls().n_unique())
    if backgrounds["background"].max() in {None, 0, 1}:
        raise CounterGroundError(
            f"No class of {benchmark.name} has photos on two labelled backgrounds: nothing to compare. "
            "Arrange folders as <class>/<background>/, fill the background column of the manifest, or label "
            "backgrounds in a pool with `counterground data label POOL --task background`."
        )


def _check_free(out: Path, asked: dict[str, object], *, overwrite: bool) -> bool:
    """Refuse a folder that holds something else, or the benchmark of another request.

    Returns:
        Whether what is there may be replaced: as ``overwrite`` says, or because it wrote no benchmark. More
        photos, other names or another request are the ways to get one.
    """
    try:
        before = dict(read_json(out / _RECORD))
    except FileNotFoundError:
        began = (out / "referee").is_dir()  # and was stopped while writing, perhaps more than once
        check_only(out, FILES if began else ("referee", *GROUPS_FILES), "a discovery")
        return overwrite
    except (OSError, ValueError, TypeError):
        before = {}
    if not any((out / name).exists() for name in BENCHMARK_FILES):
        return True
    if not overwrite and any(before.get(name, ()) != value for name, value in asked.items()):
        raise UsageError(
            f"{out} holds another discovery. Choose another --out, or replace it with --overwrite."
        )
    return overwrite


def _left_out(run: Run) -> list[str]:
    """Return notes on photos that discovery ignored, and the warnings of its run."""
    notes = [
        f"When the pairs were chosen: {warning.replace('unreadable.csv', 'referee/unreadable.csv')}"
        for warning in run.info.all_warnings
    ]
    if bare := run.predictions.filter(pl.col("background").is_null())["path"].n_unique():
        bare_photos = counted(bare, "photo")
        notes.append(f"Not used to choose pairs, because they have no background label: {bare_photos}.")
    return notes


def _nothing(finding: Pairs, referee: str, name: str, min_drop: float, split: Split) -> str:
    """Say in one sentence that the pairs do not exceed chance, or that the photos cannot tell."""
    if finding.pairs.is_empty():
        return (
            f"No class of {name} differs by more than {100 * min_drop:g} points between backgrounds with "
            f"at least {counted(finding.photos_needed, 'photo')} in each half. More photos help, a lower "
            "-X min-photos or --min-drop, which also finds more by chance, or a referee that is neither "
            "always right nor always wrong."
        )
    found = finding.decisive
    if split == "none" and found.observed == found.low == found.high == 0:  # no half chose a pair, ever
        return (
            "Whether the pairs exceed chance is not known: to tell, one half of the photos chooses pairs and "
            "the other measures them, but the halves have too few photos for any pair. Add photos of other "
            "clusters, or lower -X min-photos."
        )
    chance = f"{percent(found.expected)} {bounds(found.low, found.high)}; {p_equals(found.p)}"
    return (
        f"No more than chance: the pairs that {referee} chose on one half of the photos drop "
        f"{percent(found.observed)} points on the other half (mean of both halves; by chance {chance})."
    )


def _sentences(finding: Pairs, referee: str, split: Split) -> list[str]:
    """Say which figure to report, and how choosing and measuring on the same photos biases it."""
    chosen = _points(finding.chosen_drop)
    if finding.reported_drop is None:
        figures = (
            f"{referee}: a drop of {chosen} on the photos that chose the pairs; only photos that did not "
            "choose give a figure without a bias: --split half or cross."
        )
        return [figures, Finding("chose_here", referee, {"noun": "drop"}).text]
    figures = (
        f"{referee}: a drop of {chosen} where chosen, {_points(finding.reported_drop)} on held-out photos: "
        "report the held-out figure; the first is inflated by selection."
    )
    if finding.may_be_inflated:  # though its photos did not choose
        figures += (
            " The held-out figure is shown because the pairs exceeded chance "
            f"({p_equals(finding.decisive.p)}), so it may be inflated, too."
        )
    return [figures, *([Finding("chose_other_half", referee).text] if split == "cross" else [])]


def _points(drop: Estimate) -> str:
    if drop.value is None:
        return "an unknown amount"
    return f"{drop.text} points {drop.interval}".rstrip()


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
