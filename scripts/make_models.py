"""Write ``models.csv``: the models of OpenCLIP, torchvision and timm; the other rows stay as they are.

Run by hand after upgrading one of them: ``python scripts/make_models.py``. Parameters are counted on the meta
device, which allocates nothing.
"""

from __future__ import annotations

import csv
import io
import logging
import warnings
from collections.abc import Callable, Iterator
from functools import cache, partial
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch
from timm.data import infer_imagenet_subset
from timm.models import get_pretrained_cfg
from torchvision import models

from counterground.files import write_text
from counterground.models.classifiers import _timm, _torchvision
from counterground.models.open_clip import base_name, resolve_activation, training_data_of

PLACE = Path(__file__).parents[1] / "src" / "counterground" / "models" / "data" / "models.csv"
HEAD = "add ?head=knn, logistic, linear or prototypes"


def main() -> None:
    """Write ``data/models.csv``."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    with PLACE.open(newline="") as file:
        columns, *rows = csv.reader(file)
    made = {"torchvision": torchvision_rows, "open_clip": open_clip_rows, "timm": timm_rows}
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow(columns)
    for prefix in dict.fromkeys(row[0].partition(":")[0] for row in rows):
        kept = [row for row in rows if row[0].partition(":")[0] == prefix]
        writer.writerows(made[prefix]() if prefix in made else kept)
    write_text(PLACE, written.getvalue())


def torchvision_rows() -> Iterator[list[Any]]:
    """Yield a row for each set of weights of torchvision's classifiers."""
    for name in models.list_models(module=models):
        available = models.get_model_weights(name)
        for weights in available:
            data = _torchvision._training_data(weights.name)  # noqa: SLF001
            note = "default" if weights is available.DEFAULT else ""
            spec = f"torchvision:{name}/{weights.name}"
            yield [spec, "classifier", weights.meta["num_params"], data, "yes", note]


def open_clip_rows() -> Iterator[list[Any]]:
    """Yield a row for each pair of an architecture and a tag of OpenCLIP."""
    options: dict[str, Any] = {"load_weights": False, "pretrained_text": False, "pretrained_image": False}
    counted = cache(lambda name: count(partial(open_clip.create_model, name, device="meta", **options)))
    for name, tag in open_clip.list_pretrained():
        if name == base_name(name):
            note = "QuickGELU" if resolve_activation(name, tag).quick_gelu else ""
            data = training_data_of(tag)
            yield [f"open_clip:{name}/{tag}", "dual_encoder", counted(name), data, "yes", note]


def timm_rows() -> Iterator[list[Any]]:
    """Yield a row for each set of weights of timm."""
    for name in timm.list_pretrained():
        configuration = get_pretrained_cfg(name)
        if configuration is None:
            continue
        classes = configuration.num_classes
        named = classes and infer_imagenet_subset({"num_classes": classes}) is not None
        kind, note = ("classifier", "") if named else ("image_encoder", HEAD)
        data = _timm._training_data(name.partition(".")[2])  # noqa: SLF001
        parameters = count(partial(timm.create_model, name, pretrained=False))
        yield [f"timm:{name}", kind, parameters, data, "yes", note]


def count(build: Callable[[], Any]) -> int | None:
    """Return the parameters of what ``build()`` makes, None if building needs the network or values."""
    try:
        with torch.device("meta"):
            model = build()
    except Exception as error:
        logging.getLogger(__name__).info("not counted: %s", error)
        return None
    total: int = sum(parameter.numel() for parameter in model.parameters())
    return total


if __name__ == "__main__":
    main()
