"""The scores of runs, one table for all: by class, by a column, of a contrast, of composites."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from counterground.errors import UsageError
from counterground.metrics import Contrast, correct_contrast
from counterground.results._run import Run, class_names
from counterground.results._scores_table import ScoresTable
from counterground.text import counted


def scores_of(
    runs: Sequence[Run],
    *,
    by: str | None = None,
    contrast: str | Contrast | None = None,
    effects: bool = False,
    named: bool = False,
) -> ScoresTable:
    """Return scores of runs.

    Args:
        runs: one run or several.
        by: as in `Run.scores`.
        contrast: a contrast, the name of one of the runs' designs, or an expression.
        effects: what backgrounds cause, of runs of composites.
        named: prepend a column ``run`` with the folder of each.

    Raises:
        UsageError: there is no such column or contrast, it does not fit these photos, the runs have different
            ones, or a run is not of composites.
    """
    asked, by = by, by and runs[0].column(by)
    if effects and contrast is not None:
        raise UsageError("Effects are contrasts of their own: leave out the contrast.")
    if (contrast is not None or effects) and by not in (None, "class"):
        raise UsageError(f"Contrasts are shown over all classes or by class: leave out by {by}.")
    chosen = None if contrast is None else one_contrast(runs, contrast)
    names = class_names(runs) if by == "class" else None
    if effects:
        frames = [
            frame.filter(pl.col("class_index").is_null() == (by is None))
            for frame in (run.effects(by_class=by == "class") for run in runs)
        ]
        rows = join_frames(runs, frames, named=named)
        return ScoresTable(rows, "effect", names, about=_about_effects(rows))
    if by == "cell" and len({run.design.cells for run in runs}) > 1:
        raise UsageError("These runs have different cells: show them one at a time by cell.")
    if by not in (None, "class"):
        rows = join_frames(runs, [run.scores(by) for run in runs], named=named)
        if rows.is_empty():
            raise UsageError(f"No photo of these runs has a {by}: leave out --by {by}.")
        over = "the photos of the cell" if by == "cell" else "the classes that have photos there"
        about = "95 % intervals"
        if by in runs[0].design.clusters:
            about += f" for other photos of the same {asked}"
        rows = rows.with_columns(column=pl.lit(asked)) if asked != by else rows
        return ScoresTable(rows, by, about=("percent", about, f"means over {over}"))
    rows = join_frames(runs, [run.estimates(chosen) for run in runs], named=named)
    if chosen is None:
        return ScoresTable(rows, by, names)
    notes = dict.fromkeys(note for run in runs for note in strata_notes(run, chosen))
    models = [answers for run in runs for answers in run.answers.values()]
    rows = correct_contrast(chosen.rows_of(rows), chosen, models, picked_from(runs, chosen))
    return ScoresTable(rows, by, names, chosen, tuple(notes))


def picked_from(runs: Sequence[Run], contrast: Contrast) -> int | None:
    """Return of how many contrasts one may be picked (`Design.picked_from`); None if a run does not tell."""
    of_runs = [run.design.picked_from(contrast, run.photos) for run in runs]
    known = [number for number in of_runs if number is not None]
    return max(known) if len(known) == len(of_runs) else None


def join_frames(runs: Sequence[Run], frames: Sequence[pl.DataFrame], *, named: bool) -> pl.DataFrame:
    """Join a frame of each run; ``named`` prepends a column ``run`` with the folder of each."""
    if not named:
        return pl.concat(frames)
    return pl.concat(
        frame.select(pl.lit(str(run.path)).alias("run"), pl.all())
        for run, frame in zip(runs, frames, strict=True)
    )


def one_contrast(runs: Sequence[Run], contrast: str | Contrast) -> Contrast:
    """Return the contrast that a name or an expression defines for all of some runs.

    Raises:
        UsageError: there is no such contrast, it does not fit these photos, or the runs have different ones.
    """
    text = contrast if isinstance(contrast, str) else str(contrast)
    defined = list(dict.fromkeys(run.contrast(text) for run in runs))
    if len(defined) > 1:
        listed = "; ".join(map(str, defined))
        raise UsageError(f"The runs have several contrasts called {text!r} ({listed}): write one out.")
    return defined[0]


def strata_notes(run: Run, contrast: Contrast) -> list[str]:
    """Say how many strata count, and how many are left out because they have photos on only one side."""
    photos = {id(answers.photos): answers.photos for answers in run.answers.values()}
    notes = []
    for sides in (each.sides(contrast) for each in photos.values()):
        if not contrast.within or any(side.average is not None for side in contrast.sides):
            continue
        over = " and ".join(contrast.within)
        note = f"mean over {sides.strata:,} {'stratum' if sides.strata == 1 else 'strata'} of {over}"
        left_out = f"; {sides.left_out:,} with photos on one side only left out" if sides.left_out else ""
        notes.append(f"{note}{left_out}")
    return notes


def has_unpaired_backgrounds(run: Run) -> bool:
    """Return whether there is no drop because no photo is in a group, but ``discover`` could choose pairs."""
    photos = run.photos.select("class_index", "background", "group").unique().drop_nulls("background")
    if photos["group"].is_not_null().any():
        return False
    return bool(photos["class_index"].is_duplicated().any())


def _about_effects(rows: pl.DataFrame) -> tuple[str, ...]:
    about = ["percent, effects in points", "95 % intervals for other foregrounds and background photographs"]
    overall = rows.filter(pl.col("class_index").is_null())
    about.append(f"{'means over classes, ' if overall.height else ''}p of no effect, uncorrected")
    photos = overall.filter(pl.col("metric") == "rest")["n"].unique()
    if len(photos) == 1:
        about.append(
            f"parts of the drop over the classes that show all, on {counted(photos[0], 'composite')}"
        )
    return tuple(about)
