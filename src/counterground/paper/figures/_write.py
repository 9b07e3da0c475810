"""Figures and tables 1 to 16 as files: PDF, SVG, PNG; CSV and Parquet with notes, LaTeX in booktabs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from counterground.benchmarks import open_benchmark
from counterground.comparison import run_names
from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.files import check_writable, write_parquet, write_text
from counterground.findings import Words
from counterground.metrics import DROP, Contrast
from counterground.paper.figures._bars import draw_bar_figure, draw_class_drops, draw_group_sizes
from counterground.paper.figures._material import Absent, Drawing, Material, Outcome, read_study
from counterground.paper.figures._photos import draw_panel
from counterground.paper.figures._scatter import draw_mitigation, draw_scatter
from counterground.paper.figures._studies import draw_digits, draw_the_theorem
from counterground.paper.style import COLUMN, FORMATS, PAGE, print_style, save_figure
from counterground.photos import Benchmark
from counterground.published import load_table
from counterground.results import AnyRuns, Run, one_contrast, open_runs
from counterground.text import latex, markdown

_MEASURES = ("common", "counter", "drop")
_BELOW = ("note", "remark")  # texts that LaTeX has below the table
_CLIP = ("backbone", "pretrain_dataset")
_CLASSES = ("id", "object_label", "common_background", "counter_background", "note")
_OPEN_CLIP = ("open_clip_model_name", "open_clip_pretrained", "certainty", "remark")
_CHECKPOINT = (*_CLIP, "checkpoint_printed", *_OPEN_CLIP, "note")


@dataclass(frozen=True)
class PaperTable:
    """One table as printed: percent and points; ``frame`` ends with the column ``note``."""

    number: int
    title: str
    frame: pl.DataFrame


def paper_tables() -> list[PaperTable]:
    """Return tables 1 to 16."""
    checkpoints = load_table("checkpoints").filter(
        pl.col("checkpoint_printed").is_not_null(), table="Table 3"
    )
    frames = {
        1: ("Examples of classes, CLIP-LAION400M-ViT/B/32", load_table("table1_examples")),
        2: ("Classes and their backgrounds", load_table("classes").select(_CLASSES)),
        3: ("CLIPs, 1 vs. 1000", _results("clip", 3, *_CLIP, "high_quality")),
        4: ("ImageNet models, 1 vs. 1000", _results("imagenet", 4, "backbone")),
        5: ("CLIPs and vision-language models, 1 vs. 20", _generative()),
        6: (
            "Checkpoints; OpenCLIP model, tag, certainty (of the tag only) and remark are ours",
            checkpoints,
        ),
        7: ("ColoredCOCO", load_table("coloredcoco_results")),
        8: (
            "MultiColoredMNIST, accuracy on labels 0 and 1 (Rand, Rev) and on the rest",
            load_table("multicoloredmnist_results"),
        ),
        9: ("CLIPs by checkpoint, 1 vs. 1000", _results("clip", 9, *_CLIP, "checkpoint")),
        10: ("CLIPs with 80 prompts, 1 vs. 1000", _results("clip", 10, *_CLIP)),
        11: ("CLIPs without balancing, 1 vs. 1000", _results("clip", 11, *_CLIP)),
        12: ("ImageNet models without balancing, 1 vs. 1000", _results("imagenet", 12, "backbone")),
        13: ("CLIPs, 1 vs. 20", _results("clip", 13, *_CLIP)),
        14: ("ImageNet models, 1 vs. 20", _results("imagenet", 14, "backbone")),
        15: ("Class by class, three backbones trained on LAION400M", _classwise(15)),
        16: ("Class by class, ViT/B/32 trained on three data sets", _classwise(16)),
    }
    return [PaperTable(number, *table) for number, table in frames.items()]


def _results(family: str, table: int, *columns: str) -> pl.DataFrame:
    rows = load_table(f"{family}_results").filter(table=f"Table {table}")
    return rows.select(*columns, *_MEASURES, "note")


def _generative() -> pl.DataFrame:
    clips = _results("clip", 5, *_CLIP).with_columns(model=pl.format("CLIP-{}-{}", *reversed(_CLIP)))
    columns = ["model", *_MEASURES, "note"]
    return pl.concat([clips.select(columns), load_table("lvlm_results").select(columns)])


def _classwise(table: int) -> pl.DataFrame:
    labels = load_table("classes").select("object_label", class_id="id")
    rows = _results("classwise", table, "class_id", "model")
    joined = rows.join(labels, on="class_id", maintain_order="left")
    return joined.select("class_id", "object_label", "model", *_MEASURES, "note")


def write_paper_tables(folder: Path) -> list[Path]:
    """Write ``table-01.csv``, ``.parquet`` and ``.tex`` to ``table-16`` into ``folder``."""
    written = []
    for table in paper_tables():
        stem = folder / f"table-{table.number:02d}"
        write_text(stem.with_suffix(".csv"), table.frame.write_csv())
        write_parquet(stem.with_suffix(".parquet"), table.frame)
        write_text(stem.with_suffix(".tex"), table_latex(table))
        written += [stem.with_suffix(suffix) for suffix in (".csv", ".parquet", ".tex")]
    return written


def table_latex(table: PaperTable) -> str:
    """Write one table in booktabs; letters lead from rows to the notes and remarks below it."""
    below = table.frame.select(name for name in _BELOW if name in table.frame.columns)
    frame = table.frame.drop(below.columns)
    distinct = pl.concat(below.get_columns()).drop_nulls().unique(maintain_order=True)
    letters = {note: rf"\textsuperscript{{{chr(ord('a') + place)}}}" for place, note in enumerate(distinct)}
    rows = []
    for cells, texts in zip(frame.to_dicts(), below.rows(), strict=True):
        first, *others = (_cell(name, value) for name, value in cells.items())
        rows.append([first + "".join(letters.get(text, "") for text in texts), *others])
    alignment = "".join("r" if kind.is_numeric() else "l" for kind in frame.dtypes)
    lines = [
        f"% Needs \\usepackage{{booktabs}}. Table {table.number} of arXiv 2403.11497: {table.title}.",
        rf"\begin{{tabular}}{{@{{}}{alignment}@{{}}}}",
        r"\toprule",
        " & ".join(latex(name.replace("_", " ")) for name in frame.columns) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    for note, letter in letters.items():
        lines += ["", rf"{{\footnotesize {letter} {latex(note)}\par}}"]
    return "\n".join(lines) + "\n"


def _cell(name: str, value: Any) -> str:
    if value is None:
        return "--"
    if isinstance(value, bool):
        return "*" if value else ""
    if isinstance(value, float):
        return f"{value:g}" if name in ("p_inv", "p_spu") else f"{value:.2f}".replace("-", "$-$")
    return latex(str(value))


CAPTIONS, TABLES = "captions.md", "tables"


class FigureKind(NamedTuple):
    """The function that draws a figure, and what to add if there is nothing to draw."""

    draw: Callable[[Material], list[Outcome]]
    need: str = "add --published, or name a RUN."


_EXAMPLES = FigureKind(lambda _material: [], "example images of the paper, which are not in this package.")
_STUDY = "add --published, or --study DIR of `counterground paper study`."
FIGURES: dict[str, FigureKind] = {
    "1": FigureKind(draw_panel),
    "2a": FigureKind(partial(draw_scatter, name="2a", setting="one-prompt", width=COLUMN)),
    "2b": FigureKind(partial(draw_scatter, name="2b", setting="1-vs-20", width=COLUMN)),
    "3": FigureKind(draw_group_sizes),
    "4": FigureKind(partial(draw_class_drops, figure="4")),
    **{name: FigureKind(partial(draw_bar_figure, name=name)) for name in "56789"},
    "10": FigureKind(partial(draw_bar_figure, name="10"), _STUDY),
    "11": _EXAMPLES,
    "12": _EXAMPLES,
    "13": FigureKind(partial(draw_scatter, name="13", setting="one-prompt", width=PAGE)),
    "14": FigureKind(partial(draw_scatter, name="14", setting="1-vs-20", width=PAGE)),
    "15": FigureKind(partial(draw_class_drops, figure="15", models=8)),
    "mitigation": FigureKind(draw_mitigation, "name the folder of a `counterground mitigate`."),
    "multicoloredmnist": FigureKind(draw_digits, _STUDY),
    "theory": FigureKind(draw_the_theorem, "add --study DIR of `counterground paper study theory`."),
}
"""Every figure of the paper by its number, figures of two of its other results, and one of our own."""


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
    studies: Path | str | Sequence[Path | str] = (),
    only: str | Sequence[str] = (),
    formats: str | Sequence[str] = ("pdf", "png"),
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
        only: numbers of figures, ``mitigation``, ``multicoloredmnist``, ``theory``, ``tables``; everything by
            default.
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
    names = chosen_names([only] if isinstance(only, str) else only)
    wanted = [formats] if isinstance(formats, str) else formats
    if unknown := [kind for kind in wanted if kind not in FORMATS]:
        raise UsageError(f"There is no format {unknown[0]!r} for figures; choose from {', '.join(FORMATS)}.")
    made = [studies] if isinstance(studies, str | Path) else studies
    folder, opened = Path(out), open_runs(runs)
    material = Material(
        (not opened and not made) if published is None else published,
        opened,
        [read_study(study) for study in made],
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
                kinds = [kind for kind in FORMATS if kind in wanted]
                files += save_figure(outcome.figure, folder / outcome.stem, kinds)
                drawn.append(outcome)
    if tables := TABLES in names and material.published:
        files += write_paper_tables(folder / TABLES)
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
        outcomes = FIGURES[name].draw(material)
        yield from outcomes or [Absent(name, FIGURES[name].need)]


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
        lines += ["", "# Tables", "", "As printed, in `tables/` as csv, parquet and tex.", ""]
        lines += [f"- **table-{table.number:02d}**: {markdown(table.title)}" for table in paper_tables()]
    return "\n".join(lines) + "\n"
