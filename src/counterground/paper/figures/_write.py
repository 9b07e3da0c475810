"""Draw figures, write them in formats for print, and report which could not be drawn."""

from __future__ import annotations

import io
import re
import warnings
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from counterground.benchmarks import open_benchmark
from counterground.comparison import run_names, runs_left_out
from counterground.errors import CounterGroundError, UsageError
from counterground.files import check_writable, write_bytes, write_text
from counterground.metrics import DROP, Contrast
from counterground.paper.figures._catalogue import FIGURES, OF_MODELS, TABLES, chosen_names
from counterground.paper.figures._material import Absent, Drawing, Material, Outcome, read_study
from counterground.paper.figures._paper_tables import paper_tables, write_paper_tables
from counterground.paper.figures._style import characters_without_font, pdf_font_type, print_style
from counterground.photos import Benchmark
from counterground.reporting.words import Words
from counterground.results import AnyRuns, Run, one_contrast, open_runs, regroup
from counterground.text import and_more, counted, markdown

CAPTIONS = "captions.md"
Format = Literal["pdf", "svg", "png"]
FORMATS: tuple[Format, ...] = get_args(Format)

_DPI = 300
_SHOWN = 20  # characters that a note shows
_LISTED = 6  # files that a note names
_FIGURE = re.compile(
    rf"(figure-\w+|mitigation|multicoloredmnist|theory)(-own)?(-\d+)?\.({'|'.join(FORMATS)})"
)
_FALLBACKS = re.compile(rb"(font(?:-family)?: [^;\"<>]*sans-serif)(?:, '[^']*')+")
_NO_TABLES = "Tables: add --published for the paper's; `counterground scores RUN --format latex` has a run's."
_METADATA: dict[Format, dict[str, Any]] = {
    "pdf": {"Creator": "CounterGround", "Producer": None, "CreationDate": None},
    "svg": {"Creator": "CounterGround", "Date": None},
    "png": {"Software": "CounterGround"},
}


@dataclass(frozen=True)
class WrittenFigures:
    """What was written: the folder, its files, and a line for each figure that could not be drawn.

    ``notes`` are sentences about those that were.
    """

    folder: Path
    files: tuple[Path, ...]
    absent: tuple[str, ...]
    notes: tuple[str, ...] = ()


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
        UsageError: a run given twice, something else in the place of a run, study or benchmark, an unknown
            figure, format, class or contrast, a contrast without runs, or no Matplotlib (extra ``paper``).
        CounterGroundError: a run or study is damaged, the folder cannot be written, or nothing can be drawn.
    """
    names = chosen_names([only] if isinstance(only, str) else only)
    kinds = check_formats([formats] if isinstance(formats, str) else formats)
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
    return _write(material, folder, names, kinds)


def _contrast(runs: Sequence[Run], contrast: str | Contrast | None) -> Contrast:
    if contrast is not None:
        if not runs:
            raise UsageError(
                "A contrast is computed from photos, which the paper's numbers do not have: name a RUN."
            )
        return one_contrast(runs, contrast)
    own = runs[0].design.contrasts if runs else ()
    return next((each for each in own if all(each in run.design.contrasts for run in runs)), DROP)


def _write(material: Material, folder: Path, names: Sequence[str], kinds: Sequence[Format]) -> WrittenFigures:
    drawn: list[Drawing] = []
    files: list[Path] = []
    lacking: dict[str, list[str]] = {}
    boxes: set[str] = set()
    if chosen := [name for name in names if name != TABLES]:
        with print_style(), warnings.catch_warnings():
            # One note covers all figures.
            warnings.filterwarnings("ignore", r"Glyph \d+ .* missing from font", UserWarning)
            for outcome in draw_figures(material, chosen):
                if isinstance(outcome, Absent):
                    lacking.setdefault(outcome.need, []).append(outcome.figure)
                else:
                    files += save(outcome, folder, kinds)
                    drawn.append(outcome)
                    boxes.update(characters_without_font(outcome.figure))
    absent = [f"Figure{'s' * (len(them) > 1)} {', '.join(them)}: {need}" for need, them in lacking.items()]
    tables = material.published and TABLES in names
    if tables:
        files += write_paper_tables(folder / TABLES)
    elif TABLES in names:
        absent.append(_NO_TABLES)
    if not files:
        raise CounterGroundError(f"Nothing could be drawn. {' '.join(absent)}".strip())
    notes = _note_boxes(boxes) if set(kinds) != {"svg"} else ()  # an SVG is drawn with its viewer's fonts
    notes += (*_note_left_out(material, chosen), *_note_earlier(folder, files))
    write_text(folder / CAPTIONS, _captions(drawn, absent, notes, kinds, material.runs, tables=tables))
    return WrittenFigures(folder, (*files, folder / CAPTIONS), tuple(absent), notes)


def _note_boxes(boxes: Iterable[str]) -> tuple[str, ...]:
    """Note the characters that are drawn as boxes."""
    lacking = "".join(sorted(boxes))
    if not lacking:
        return ()
    shown = f"{lacking[:_SHOWN]}{' …' if len(lacking) > _SHOWN else ''}"
    note = (
        f"Names have {counted(len(lacking), 'character')} that no available font has, drawn as boxes: "
        f"{shown} Install Noto Sans CJK (Debian: fonts-noto-cjk) for Chinese, Japanese and Korean, Noto "
        "Emoji for emoji, and draw again; or choose --format svg, which its viewer draws with its own fonts."
    )
    return (note,)


def _note_left_out(material: Material, names: Sequence[str]) -> tuple[str, ...]:
    """Name the runs whose models are left out of figures that show those of others."""
    runs, contrast = material.runs, material.words.contrast
    if not set(names) & set(OF_MODELS):
        return ()
    lacking = [
        name
        for run, name in zip(runs, run_names(runs), strict=True)
        if not any(map(material.words.knows, regroup(run.with_contrast(contrast).scores)))
    ]
    return tuple(runs_left_out(lacking, len(runs), contrast))


def _note_earlier(folder: Path, files: Sequence[Path]) -> tuple[str, ...]:
    """Name the figures in the folder that an earlier call drew, and that the captions no longer describe."""
    names = {path.name for path in files}
    earlier = sorted(
        path.name for path in folder.iterdir() if _FIGURE.fullmatch(path.name) and path.name not in names
    )
    if not earlier:
        return ()
    what = f"{counted(len(earlier), 'figure')} of earlier calls ({and_more(earlier, _LISTED)})"
    return (f"{CAPTIONS} describes this call only; {folder.resolve().name} also holds {what}.",)


def draw_figures(material: Material, names: Sequence[str]) -> Iterator[Outcome]:
    """Draw figures one by one, inside ``print_style``; one without its numbers is `Absent`."""
    for name in names:
        outcomes = FIGURES[name].draw(material)
        yield from outcomes or [Absent(name, FIGURES[name].need)]


def _captions(
    drawn: Sequence[Drawing],
    absent: Sequence[str],
    notes: Sequence[str],
    formats: Sequence[Format],
    runs: Sequence[Run],
    *,
    tables: bool,
) -> str:
    lines = ["# Figures", "", f"Each as {', '.join(formats)}.", ""]
    for drawing in drawn:
        lines += [f"- **{drawing.stem}**: {markdown(drawing.caption)}"]
        lines += [f"  - Note: {markdown(note)}" for note in drawing.notes]
    lines += [f"- Note: {markdown(note)}" for note in notes]
    if absent:
        lines += ["", "Not drawn:", "", *(f"- {markdown(line)}" for line in absent)]
    if runs:
        lines += ["", "# Runs", ""]
    for run, name in zip(runs, run_names(runs), strict=True):
        about = run.info.benchmark
        lines += [f"- **{markdown(name)}**: {markdown(about.name)}, {about.n_photos:,} photos."]
        lines += [f"  - Note: {markdown(note)}" for note in about.notes]
        lines += [f"  - Warning: {markdown(warning)}" for warning in run.info.all_warnings]
    if tables:
        lines += ["", "# Tables", "", "As printed, in `tables/` as csv, parquet and tex.", ""]
        lines += [f"- **table-{table.number:02d}**: {markdown(table.title)}" for table in paper_tables()]
    return "\n".join(lines) + "\n"


def check_formats(formats: Sequence[str]) -> list[Format]:
    """Return the formats, each once.

    Raises:
        UsageError: one is unknown.
    """
    for wanted in formats:
        if wanted not in FORMATS:
            raise UsageError(f"There is no format {wanted!r} for figures; choose from {', '.join(FORMATS)}.")
    return [kind for kind in FORMATS if kind in formats]


def save(drawing: Drawing, folder: Path, formats: Sequence[Format]) -> list[Path]:
    """Write ``<stem>.<format>`` into ``folder``; call it inside ``print_style``."""
    return [write_one(drawing, folder / f"{drawing.stem}.{kind}", kind) for kind in formats]


def write_one(drawing: Drawing, path: Path, kind: Format) -> Path:
    """Write one file, without dates and with ids that depend on the drawing alone."""
    from matplotlib import rc_context

    buffer = io.BytesIO()
    fonts = pdf_font_type(drawing.figure)
    with rc_context({"svg.hashsalt": drawing.stem, "svg.id": drawing.stem, "pdf.fonttype": fonts}):
        drawing.figure.savefig(buffer, format=kind, dpi=_DPI, metadata=_METADATA[kind])
    # An SVG is drawn with its viewer's fonts, so the fonts installed here are removed from it.
    write_bytes(path, _FALLBACKS.sub(rb"\1", buffer.getvalue()) if kind == "svg" else buffer.getvalue())
    return path
