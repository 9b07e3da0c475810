"""A table with a row for each photo and model: attribution outside the object, and scores by background."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from counterground.composites._recipe import OBJECT, MaskedPhoto, read_pixels
from counterground.composites.saliency._attribution import attribute, check_installed, share_outside
from counterground.composites.saliency._picture import draw_saliency
from counterground.errors import UsageError
from counterground.files import write_bytes, write_text
from counterground.inference import EncodedBenchmark, Settings, encoded_benchmark
from counterground.metrics import SALIENCY_SCHEMA
from counterground.models import (
    AnyModels,
    Encoder,
    Generative,
    HeadSpec,
    ImageEncoder,
    NamedModel,
    expected_kind,
    named_models,
    own_arithmetic,
)
from counterground.photos import Benchmark, photo_id
from counterground.progress import progress_bar
from counterground.results import SALIENCY_FILE

if TYPE_CHECKING:
    from PIL import Image

    from counterground.composites._recipe import Floats

_PICTURES = 6
_QUALITY = 85
_ROWS = 1024


def check_saliency(models: AnyModels, kinds: Sequence[str]) -> None:
    """Refuse what attribution cannot be computed for, before any photo is read.

    Raises:
        UsageError: a generative model, a head that must be fitted, or no photos as they are.
        MissingExtraError: Captum is not installed.
    """
    check_installed()
    if "original" not in kinds:
        raise UsageError("Attribution is of the photos as they are: add original to --kinds.")
    for each in named_models(models):
        kind = expected_kind(each.spec) if each.made is None else None
        if kind in ("generative", "image_encoder") or _has_no_head(each.made):
            raise UsageError(
                "Attribution needs a dual encoder (CLIP) or a classifier with a head of its own, and "
                f"{each.name} is neither: leave out --saliency, or this model."
            )


def _has_no_head(made: Any) -> bool:
    """Whether an object in memory has no head of its own, or gets one that is fitted."""
    last = made[-1] if isinstance(made, tuple) else made
    fitted = isinstance(last, Encoder) and last.head is not None
    return fitted or isinstance(last, Generative | ImageEncoder | HeadSpec)


def write_saliency(composites: Benchmark, models: AnyModels, settings: Settings, out: Path) -> str:
    """Write ``saliency.csv``, and pictures of the photos whose scores depend most on the background.

    Args:
        composites: a benchmark of composites, with the photos as they are.
        models: see `check_saliency`.
        settings: how they are run.
        out: the folder of the run.

    Returns:
        The SHA-256 of the table.

    Raises:
        UsageError: see `encoded_benchmark`.
        CounterGroundError: see `encoded_benchmark`.
    """
    tables = [
        _of_model(composites, given, f"saliency/{number}", settings, out)
        for number, given in enumerate(named_models(models), 1)
    ]
    return write_text(out / SALIENCY_FILE, pl.concat(tables).write_csv())


def _of_model(
    composites: Benchmark, given: NamedModel, pictures: str, settings: Settings, out: Path
) -> pl.DataFrame:
    """Return the rows of a model; its pictures are ``pictures``-1.jpg and so on."""
    rows: list[dict[str, Any]] = []
    maps: dict[str, Floats] = {}
    with encoded_benchmark(composites, given, settings) as encoded:
        originals = (composites.photos["swap"] == "original").to_numpy() & encoded.features.readable
        with progress_bar("Attribution", total=int(originals.sum()), shown=settings.show_progress) as bar:
            for place in np.flatnonzero(originals).tolist():
                photo = composites.photos.row(place, named=True)
                maps[photo["path"]], found = _explained(encoded, place, photo, settings.batch_size)
                rows.append({**photo, "model": given.name, "group": photo["own_group"], **found})
                bar.advance()
        scores = _by_background(composites.photos, _true_scores(encoded))
    table = pl.DataFrame(rows, infer_schema_length=None)
    table = table.join(scores, left_on="path", right_on="foreground", how="left", maintain_order="left")
    files = {path: f"{pictures}-{rank}.jpg" for rank, path in enumerate(_most_driven(table), 1)}
    for path, file in files.items():
        pixels, mask = read_pixels(
            _masked(composites, table.row(by_predicate=pl.col("path") == path, named=True))
        )
        write_bytes(out / file, _jpeg(draw_saliency(pixels, mask, maps[path])))
    table = table.with_columns(
        picture=pl.col("path").replace_strict(files, default=None, return_dtype=pl.String)
    )
    return table.select(pl.col(name).cast(kind) for name, kind in SALIENCY_SCHEMA.items())


def _explained(
    encoded: EncodedBenchmark, place: int, photo: dict[str, Any], batch_size: int
) -> tuple[Floats, dict[str, Any]]:
    """Return the map of a photo, and what the table says about it."""
    pixels, mask = read_pixels(_masked(encoded.benchmark, photo))
    logits = _logits(encoded, encoded.features.rows(np.array([place])), place)
    answer = int(logits[0].argmax())
    found = attribute(pixels, mask, partial(_log_odds_of, encoded, place, answer), batch_size)
    return found, {
        "predicted_name": encoded.candidates.space.names[answer],
        "share_outside": share_outside(found, mask),
        "area_outside": float((mask < OBJECT).mean()),
    }


def _log_odds_of(
    encoded: EncodedBenchmark, place: int, name: int, images: Sequence[Image.Image]
) -> npt.NDArray[np.float32]:
    """Return the log-odds ``[n]`` of a name, among those competing for a photo, for variants of the photo.

    They grow with the score of the name and fall with those of all others, and do not saturate as
    probabilities do.
    """
    import torch
    from scipy.special import logsumexp

    model = encoded.model
    with own_arithmetic(model.device):
        features = model.encode(torch.stack([model.preprocess(image) for image in images]))
    logits = _logits(encoded, features.detach().cpu().float().numpy(), place)
    others = np.delete(logits, name, axis=1)
    return np.asarray(logits[:, name] - logsumexp(others, axis=1), np.float32)


def _logits(encoded: EncodedBenchmark, features: npt.NDArray[Any], place: int) -> npt.NDArray[np.float32]:
    """Return logits ``[n, k]`` of features of a photo or its variants."""
    scores = encoded.head.scale * encoded.head.scores(features)
    return np.asarray(encoded.competing(scores, np.full(len(features), place)))


def _true_scores(encoded: EncodedBenchmark) -> npt.NDArray[np.float64]:
    """Return the probability of the true name of each composite ``[n]``; NaN if there is none."""
    from scipy.special import softmax

    found = np.full(len(encoded.true), np.nan)
    rows = np.flatnonzero(encoded.features.readable & (encoded.true >= 0))
    for part in np.array_split(rows, range(_ROWS, len(rows), _ROWS)):
        scores = encoded.head.scale * encoded.head.scores(encoded.features.rows(part))
        shares = softmax(encoded.competing(scores, part).astype(np.float64), axis=1)
        found[part] = shares[np.arange(len(part)), encoded.true[part]]
    return found


def _by_background(photos: pl.DataFrame, scores: npt.NDArray[np.float64]) -> pl.DataFrame:
    """Return mean scores by background of each photo that gave an object."""
    scored = photos.with_columns(score=pl.Series(scores).fill_nan(None))
    put = scored.filter(pl.col("swap").is_in(["same", "other"]))
    by_group = put.group_by("foreground").agg(
        pl.col("score").filter(pl.col("group") == group).mean().alias(f"score_{group}")
        for group in ("common", "counter")
    )
    labels = put.group_by("foreground", "background").agg(pl.mean("score"))
    labels = labels.drop_nulls().sort("score", "background", descending=[True, False])
    ends = labels.group_by("foreground", maintain_order=True).agg(
        pl.first("background").alias("best_background"),
        pl.first("score").alias("best_score"),
        pl.last("background").alias("worst_background"),
        pl.last("score").alias("worst_score"),
    )
    own = scored.filter(pl.col("swap") == "original").select("foreground", "score")
    table = own.join(by_group, on="foreground", how="left").join(ends, on="foreground", how="left")
    return table.with_columns(score_difference=pl.col("score_common") - pl.col("score_counter"))


def _most_driven(table: pl.DataFrame) -> list[str]:
    """Return the paths of the photos whose scores differ most by background.

    By common and counter backgrounds or, if no photo has both, by best - worst.
    """
    difference = pl.col("score_difference").abs()
    if table["score_difference"].null_count() == len(table):
        difference = pl.col("best_score") - pl.col("worst_score")
    ordered = table.with_columns(by=difference).drop_nulls(["by", "share_outside"])
    return ordered.sort("by", descending=True, maintain_order=True).head(_PICTURES)["path"].to_list()


def _masked(benchmark: Benchmark, photo: dict[str, Any]) -> MaskedPhoto:
    mask = benchmark.mask_path(photo["mask"])
    return MaskedPhoto(benchmark.photo_path(photo["path"]), photo["photo_id"], mask, photo_id(mask))


def _jpeg(image: Image.Image) -> bytes:
    data = BytesIO()
    image.save(data, "JPEG", quality=_QUALITY)
    return data.getvalue()
