"""Bundles of made-up runs, and forgeries of bundles: as their author could write them, scores recomputed."""

import json
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from made_runs import ANIMALS, fresh_run

from counterground.photos import LABEL_SPACE_FILE, LabelSpace
from counterground.results import Run, open_run
from counterground.results import write_run as write_files
from counterground.sharing import Audit, share_run
from counterground.sharing._bundle import bundle_hash

NOTHING = pl.DataFrame(schema={"path": pl.String})  # that could not be read


def made_run(folder, levels, *, weights="a" * 64, **options):
    """Write a run of made-up answers, each with the name of its index; return its folder."""
    run = fresh_run(levels, **options)
    for model in run.info.models:
        model.description["weights_sha256"] = weights
    names = pl.col("predicted_index").replace_strict(dict(enumerate(ANIMALS)))
    rows = run.predictions.with_columns(predicted_name=names)
    space = LabelSpace("imagenet", tuple(ANIMALS), (None,) * len(ANIMALS))
    return write_files(replace(run, path=folder, predictions=rows), space, NOTHING).path


def made_bundle(folder, model="first", level=(0.8, 0.5), **options):
    """Share such a run of one model; return the folder of the bundle."""
    with TemporaryDirectory() as work:
        run = made_run(Path(work, "run"), {model: level}, **options)
        return share_run(open_run(run), folder).path


def forge(folder, edit=lambda rows: rows, names=None, **changes):
    """Write a bundle again with other rows, names or entries of ``run.json``, and the scores that follow."""
    bundle = open_run(folder)
    rows, info = edit(bundle.predictions), bundle.info.model_dump(mode="json")
    for place, value in {"benchmark__n_photos": len(rows), "counts__photos": len(rows), **changes}.items():
        *outer, last = place.split("__")
        record = info
        for name in outer:
            record = record[int(name) if name.isdecimal() else name]
        record[last] = value
    space = LabelSpace.load(folder / LABEL_SPACE_FILE)
    space = space if names is None else replace(space, names=tuple(names))
    write_files(Run(folder, type(bundle.info).model_validate(info), rows), space, NOTHING)
    return folder


def answer(numbers, index=2):
    """Function: rows -> the same with another answer on the photos of some numbers, in all columns alike."""
    chosen = pl.col("path").is_in(numbers)

    def edit(rows):
        names = rows.select("predicted_index", "predicted_name").unique()
        names = dict(names.iter_rows()) | dict(zip(rows["true_index"], rows["class_name"], strict=True))
        return rows.with_columns(
            predicted_index=pl.when(chosen).then(pl.lit(index, pl.Int32)).otherwise("predicted_index"),
            predicted_name=pl.when(chosen).then(pl.lit(names[index])).otherwise("predicted_name"),
            correct=pl.when(chosen).then(pl.col("true_index") == index).otherwise("correct"),
        )

    return edit


def audited(folder, **changes):
    """Write an audit as whoever keeps a board would have it; return the folder of the bundle."""
    photos = len(open_run(folder).photos)
    found = Audit(
        bundle=bundle_hash(folder),
        salt="",
        photos=min(60, photos),
        of=photos,
        mismatches=[],
        near_ties=0,
        bound=0.05,
        device="cpu",
        libraries={},
        created="2025-11-26T10:00:00+00:00",
    )
    (folder / "audit.json").write_text(json.dumps(found.model_dump() | changes))
    return folder
