"""The paper's figures and tables for print: its own numbers, and those of the user's runs and studies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from counterground.benchmarks import open_benchmark
from counterground.comparison import run_names
from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.files import check_writable, write_parquet, write_text
from counterground.findings import Words
from counterground.metrics import DROP, Contrast
from counterground.paper.figures._bars import draw_bar_figure, draw_class_drops, draw_group_sizes
from counterground.paper.figures._material import Absent, Drawing, Material, Outcome, own, read_study
from counterground.paper.figures._photos import draw_panel
from counterground.paper.figures._scatter import draw_scatter
from counterground.paper.study.mnist import draw_colored
from counterground.paper.study.theory import draw_theory
from counterground.paper.style import COLUMN, FORMATS, PAGE, print_style, save_figure
from counterground.photos import Benchmark
from counterground.published import load_table
from counterground.results import AnyRuns, Run, one_contrast, open_runs
from counterground.text import markdown

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["FIGURES", "TABLES_PRINTED", "WrittenFigures", "chosen_names", "paper_table", "write_figures"]

_SOURCES = {1: "table1_examples", 2: "classes", 6: "checkpoints", 7: "coloredcoco_results"}
_SOURCES |= {8: "multicoloredmnist_results", **dict.fromkeys((15, 16), "classwise_results")}
_SOURCES |= dict.fromkeys((4, 12, 14), "imagenet_results")
TABLES_PRINTED = {
    1: "Examples of classes, CLIP-LAION400M-ViT/B/32",
    2: "Classes and their backgrounds",
    3: "CLIPs, 1 vs. 1000",
    4: "ImageNet models, 1 vs. 1000",
    5: "CLIPs and vision-language models, 1 vs. 20",
    6: "Checkpoints; OpenCLIP model, tag, certainty (of the tag only) and remark are ours",
    7: "ColoredCOCO",
    8: "MultiColoredMNIST, accuracy on labels 0 and 1 (Rand, Rev) and on the rest",
    9: "CLIPs by checkpoint, 1 vs. 1000",
    10: "CLIPs with 80 prompts, 1 vs. 1000",
    11: "CLIPs without balancing, 1 vs. 1000",
    12: "ImageNet models without balancing, 1 vs. 1000",
    13: "CLIPs, 1 vs. 20",
    14: "ImageNet models, 1 vs. 20",
    15: "Class by class, three backbones trained on LAION400M",
    16: "Class by class, ViT/B/32 trained on three data sets",
}
"""What the paper's tables show, by number."""


def paper_table(number: int) -> pl.DataFrame:
    """Return a table as printed: percent and points; the column ``note`` says what contradicts a row."""
    rows = load_table(_SOURCES.get(number, "clip_results"))
    if number == 5:
        rows = pl.concat([rows, load_table("lvlm_results")], how="diagonal")
    if number == 6:
        rows = rows.filter(pl.col("checkpoint_printed").is_not_null(), table="Table 3").drop("table")
    elif "table" in rows.columns:
        rows = rows.filter(table=f"Table {number}").drop("table")
    filled = [name for name in rows.columns if name != "note" and rows[name].count()]
    return rows.select(*filled, "note")


CAPTIONS, TABLES = "captions.md", "tables"


def _of_studies(
    material: Material, name: str, draw: Callable[[pl.DataFrame], Figure], caption: str
) -> list[Outcome]:
    """Draw a figure from the table of each study with this name."""
    return [
        Drawing(own(name, place), draw(study.table), f"{caption} From {study.folder.name}.")
        for place, study in enumerate(material.of_study(name))
    ]


def draw_digits(material: Material) -> list[Outcome]:
    """Draw Table 8: accuracy with random and with reversed colours, as printed and from studies."""
    caption = "MultiColoredMNIST: accuracy on labels 0 and 1, mean and s.d. over seeds"
    outcomes = _of_studies(material, "multicoloredmnist", draw_colored, f"{caption}; hollow: Table 8.")
    if material.published:
        tests = [f"{test}_{how}" for test in ("rand", "rev") for how in ("mean", "std")]
        printed = load_table("multicoloredmnist_results").select(
            "p_inv", "p_spu", pl.col("method").str.to_lowercase(), pl.col(tests) / 100, k="n_classes"
        )
        figure = draw_colored(printed)
        outcomes.append(Drawing("multicoloredmnist", figure, f"{caption}, as printed (Table 8)."))
    return outcomes


def draw_the_theorem(material: Material) -> list[Outcome]:
    """Draw the theorem from each theory study; the paper prints formulas, which the study evaluates."""
    caption = (
        "Definition 6.1: marks are simulated, lines exact, the dashed one the bound of theorem 6.2, printed. "
        "The bound is claimed for a background at least 1.5 times as strong as the object; its proof is for "
        "the object-only prompt."
    )
    return _of_studies(material, "theory", draw_theory, caption)


FIGURES: dict[str, Callable[[Material], list[Outcome]]] = {
    "1": draw_panel,
    "2a": partial(draw_scatter, name="2a", setting="one-prompt", width=COLUMN),
    "2b": partial(draw_scatter, name="2b", setting="1-vs-20", width=COLUMN),
    "3": draw_group_sizes,
    "4": partial(draw_class_drops, figure="4"),
    **{name: partial(draw_bar_figure, name=name) for name in ("5", "6", "7", "8", "9", "10")},
    "13": partial(draw_scatter, name="13", setting="one-prompt", width=PAGE),
    "14": partial(draw_scatter, name="14", setting="1-vs-20", width=PAGE),
    "15": partial(draw_class_drops, figure="15", models=8),
    "multicoloredmnist": draw_digits,
    "theory": draw_the_theorem,
}
"""The paper's figures by number, but for photos that are not in this package; of two other results."""
_STUDY = "add --published, or --study DIR of `counterground paper study`."
_NEEDS = {
    "10": _STUDY,
    "multicoloredmnist": _STUDY,
    "theory": "add --study DIR of `counterground paper study theory`.",
}


@dataclass(frozen=True)
class WrittenFigures:
    """What was written: the folder, its files, and a line for each figure that could not be drawn."""

    folder: Path
    files: tuple[Path, ...]
    absent: tuple[str, ...]


def chosen_names(only: Sequence[str]) -> list[str]:
    """Return the requested names in the paper's order, all if there are none; ``2`` means 2a and 2b.

    Raises:
        UsageError: a name is unknown.
    """
    known = [*FIGURES, TABLES]
    wanted: set[str] = set()
    for name in only:
        plain = name.lower().removeprefix("figure").strip(" -_")
        parts = [each for each in known if each == plain or each.rstrip("ab") == plain]
        if not parts:
            hint = did_you_mean(plain, known)
            raise UsageError(f"There is no figure {name!r}; choose from {', '.join(known)}.{hint}")
        wanted |= set(parts)
    return [name for name in known if name in wanted or not only]


def write_figures(
    runs: AnyRuns = (),
    *,
    out: Path | str,
    published: bool | None = None,
    studies: Sequence[Path | str] = (),
    only: Sequence[str] = (),
    formats: Sequence[str] = ("pdf", "png"),
    photos: Benchmark | Path | str | None = None,
    class_name: str | None = None,
    contrast: str | Contrast | None = None,
) -> WrittenFigures:
    """Draw the paper's figures for print, from its own numbers and from those of runs and studies.

    Figures of the paper are ``figure-<number>.<format>``, those of runs and studies
    ``figure-<number>-own.<format>``; Table 8 and the theorem, of which the paper has no figure, are
    ``multicoloredmnist`` and ``theory``; ``captions.md`` says what each shows, with the notes on its numbers.
    The paper's tables 1 to 16 go to ``tables/``. The same numbers and versions give the same bytes.

    Args:
        runs: runs or their folders.
        out: folder to write.
        published: whether to draw the paper's own; by default if neither runs nor studies are given.
        studies: folders of ``counterground paper study``.
        only: numbers of figures, ``multicoloredmnist``, ``theory``, ``tables``; everything by default.
        formats: ``pdf``, ``svg``, ``png``.
        photos: the benchmark whose photos figure 1 shows; a built-in one of the runs by default.
        class_name: the class of figure 1; that of the largest drop by default.
        contrast: what figures of the runs show: a contrast, its name or an expression; by default the first
            contrast of the first run's design that all runs have. The paper's own figures show the drop.

    Raises:
        UsageError: a run given twice, something else in the place of a run or benchmark, an unknown figure,
            format, class or contrast, or no Matplotlib (extra ``paper``).
        CounterGroundError: a run or study is damaged, the folder cannot be written, or nothing can be drawn.
    """
    names = chosen_names(only)
    if unknown := [kind for kind in formats if kind not in FORMATS]:
        raise UsageError(f"There is no format {unknown[0]!r} for figures; choose from {', '.join(FORMATS)}.")
    folder, opened = Path(out), open_runs(runs)
    material = Material(
        (not opened and not studies) if published is None else published,
        opened,
        [read_study(study) for study in studies],
        None if photos is None else open_benchmark(photos),
        class_name,
        Words(_contrast(opened, contrast)),
    )
    check_writable(folder)
    drawn: list[Drawing] = []
    files: list[Path] = []
    lacking: dict[str, list[str]] = {}
    with print_style():
        for outcome in draw_figures(material, [name for name in names if name != TABLES]):
            if isinstance(outcome, Absent):
                lacking.setdefault(outcome.need, []).append(outcome.figure)
            else:
                kinds = [kind for kind in FORMATS if kind in formats]
                files += save_figure(outcome.figure, folder / outcome.stem, kinds)
                drawn.append(outcome)
    if tables := TABLES in names and material.published:
        for number in TABLES_PRINTED:
            stem, table = folder / TABLES / f"table-{number:02d}", paper_table(number)
            write_text(stem.with_suffix(".csv"), table.write_csv())
            write_parquet(stem.with_suffix(".parquet"), table)
            files += [stem.with_suffix(suffix) for suffix in (".csv", ".parquet")]
    elif TABLES in names:
        lacking["add --published for the paper's tables."] = [TABLES]
    absent = [f"Figure{'s' * (len(them) > 1)} {', '.join(them)}: {need}" for need, them in lacking.items()]
    if not files:
        raise CounterGroundError(f"Nothing could be drawn. {' '.join(absent)}")
    captions = folder / CAPTIONS
    write_text(captions, _captions(drawn, absent, opened, tables=tables))
    return WrittenFigures(folder, (*files, captions), tuple(absent))


def _contrast(runs: Sequence[Run], contrast: str | Contrast | None) -> Contrast:
    if contrast is not None:
        return one_contrast(runs, contrast)
    shared = runs[0].design.contrasts if runs else ()
    return next((each for each in shared if all(each in run.design.contrasts for run in runs)), DROP)


def draw_figures(material: Material, names: Sequence[str]) -> Iterator[Outcome]:
    """Draw figures one by one, inside ``print_style``; one without its numbers is `Absent`."""
    for name in names:
        need = _NEEDS.get(name, "add --published, or name a RUN.")
        yield from FIGURES[name](material) or [Absent(name, need)]


def _captions(drawn: Sequence[Drawing], absent: Sequence[str], runs: Sequence[Run], *, tables: bool) -> str:
    lines = ["# Figures", ""]
    for drawing in drawn:
        lines += [f"- **{drawing.stem}**: {markdown(drawing.caption)}"]
        lines += [f"  - Note: {markdown(note)}" for note in drawing.notes]
    lines += ["", *(f"- Not drawn. {markdown(line)}" for line in absent)]
    for run, name in zip(runs, run_names(runs), strict=True):
        about = run.info.benchmark
        lines += [f"- Run **{markdown(name)}**: {markdown(about.name)}, {about.n_photos:,} photos."]
        lines += [f"  - Note: {markdown(note)}" for note in (*about.notes, *run.info.all_warnings)]
    if tables:
        lines += ["", "# Tables", "", "As printed, in `tables/` as csv and parquet.", ""]
        lines += [f"- **table-{number:02d}**: {title}" for number, title in TABLES_PRINTED.items()]
    return "\n".join(lines) + "\n"
