"""Draw figures, write them in formats for print, and report which could not be drawn."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from counterground.benchmarks import open_benchmark
from counterground.comparison import run_names
from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.files import check_writable, write_bytes, write_text
from counterground.findings import Words
from counterground.metrics import DROP, Contrast
from counterground.paper.figures._backbones import draw_bar_figure
from counterground.paper.figures._classes import draw_class_drops, draw_group_sizes
from counterground.paper.figures._material import Absent, Drawing, Material, Outcome, read_study
from counterground.paper.figures._mitigation import draw_mitigation
from counterground.paper.figures._paper_tables import paper_tables, write_paper_tables
from counterground.paper.figures._photos import draw_panel
from counterground.paper.figures._scatter import draw_scatter
from counterground.paper.figures._studies import draw_coloredcoco, draw_digits, draw_the_theorem
from counterground.paper.figures._style import COLUMN, PAGE, print_style
from counterground.photos import Benchmark
from counterground.results import AnyRuns, Run, one_contrast, open_runs
from counterground.text import markdown

CAPTIONS, TABLES = "captions.md", "tables"
Format = Literal["pdf", "svg", "png"]
FORMATS: tuple[Format, ...] = get_args(Format)
_DPI = 300
_METADATA: dict[Format, dict[str, Any]] = {
    "pdf": {"Creator": "CounterGround", "Producer": None, "CreationDate": None},
    "svg": {"Creator": "CounterGround", "Date": None},
    "png": {"Software": "CounterGround"},
}


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
    "10": FigureKind(draw_coloredcoco, _STUDY),
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
    made = list(studies) if isinstance(studies, Iterable) and not isinstance(studies, str) else [studies]
    folder = Path(out)
    opened = open_runs(runs)
    material = Material(
        (not opened and not made) if published is None else published,
        opened,
        [read_study(study) for study in made],
        None if photos is None else open_benchmark(photos),
        class_name,
        Words(_contrast(opened, contrast)),
    )
    check_writable(folder)
    return _write(material, folder, names, [kind for kind in FORMATS if kind in wanted])


def _contrast(runs: Sequence[Run], contrast: str | Contrast | None) -> Contrast:
    if contrast is not None:
        return one_contrast(runs, contrast)
    own = runs[0].design.contrasts if runs else ()
    return next((each for each in own if all(each in run.design.contrasts for run in runs)), DROP)


def _write(material: Material, folder: Path, names: Sequence[str], kinds: Sequence[Format]) -> WrittenFigures:
    drawn: list[Drawing] = []
    files: list[Path] = []
    lacking: dict[str, list[str]] = {}
    with print_style():
        for outcome in draw_figures(material, [name for name in names if name != TABLES]):
            if isinstance(outcome, Absent):
                lacking.setdefault(outcome.need, []).append(outcome.figure)
            else:
                files += save(outcome, folder, kinds)
                drawn.append(outcome)
    if TABLES in names and material.published:
        files += write_paper_tables(folder / TABLES)
    elif TABLES in names:
        lacking["add --published for the paper's tables."] = [TABLES]
    absent = [f"Figure{'s' * (len(them) > 1)} {', '.join(them)}: {need}" for need, them in lacking.items()]
    if not files:
        raise CounterGroundError(f"Nothing could be drawn. {' '.join(absent)}")
    captions = folder / CAPTIONS
    tables = TABLES in names and material.published
    write_text(captions, _captions(drawn, absent, material.runs, tables=tables))
    return WrittenFigures(folder, (*files, captions), tuple(absent))


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


def save(drawing: Drawing, folder: Path, formats: Sequence[Format]) -> list[Path]:
    """Write ``<stem>.<format>`` into ``folder``, without dates; call it inside ``print_style``."""
    from matplotlib import rc_context

    written = []
    for kind in formats:
        buffer = io.BytesIO()
        with rc_context({"svg.hashsalt": drawing.stem, "svg.id": drawing.stem}):  # ids of the drawing alone
            drawing.figure.savefig(buffer, format=kind, dpi=_DPI, metadata=_METADATA[kind])
        written.append(folder / f"{drawing.stem}.{kind}")
        write_bytes(written[-1], buffer.getvalue())
    return written
