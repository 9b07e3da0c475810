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
from counterground.models.open_clip import base_name, resolve_activation

PLACE = Path(__file__).parents[1] / "src" / "counterground" / "models" / "data" / "models.csv"
# First match wins; sources: OpenCLIP's docs/PRETRAINED.md and the model cards it links.
OPEN_CLIP_DATA = (
    ("openai", "WIT-400M (OpenAI)"),
    ("laion400m", "LAION-400M"),
    ("laion2b", "LAION-2B"),
    ("laion5b", "LAION-5B"),
    ("laiona", "LAION-Aesthetic"),
    ("laion_aesthetic", "LAION-Aesthetic"),
    ("frozen_laion5b", "LAION-5B"),
    ("yfcc15m", "YFCC-15M"),
    ("cc12m", "CC-12M"),
    ("redcaps", "RedCaps"),
    ("datacomp_xl", "DataComp-1B"),
    ("datacomp1b", "DataComp-1B"),
    ("datacomp_s34b", "DataComp-1B"),
    ("datacomp_l", "DataComp-large"),
    ("datacomp_m", "DataComp-medium"),
    ("datacomp_s", "DataComp-small"),
    ("commonpool_xl", "CommonPool-XL"),
    ("commonpool_l", "CommonPool-large"),
    ("commonpool_m", "CommonPool-medium"),
    ("commonpool_s", "CommonPool-small"),
    ("dfn2b", "DFN-2B"),
    ("dfn5b", "DFN-5B"),
    ("dfndr2b", "DFNDR-2B"),
    ("metaclip2", "MetaCLIP 2 worldwide"),
    ("metaclip_400m", "MetaCLIP-400M"),
    ("metaclip_fullcc", "MetaCLIP-2.5B"),
    ("webli", "WebLI"),
    ("merged2b", "Merged-2B (LAION-2B + COYO)"),
    ("mscoco_finetuned", "LAION-2B, then MS-COCO"),
    ("datacompdr", "DataCompDR-1B"),
    ("mrl", "NLLB-CLIP (LAION-COCO captions, translated)"),
    ("v1", "NLLB-CLIP (LAION-COCO captions, translated)"),
    ("meta", "Perception Encoder (Meta)"),
)
# Parts of timm's tags, and the data they name.
TIMM_DATA = (
    ("in1k", "ImageNet-1K"),
    ("in12k", "ImageNet-12K"),
    ("in21k", "ImageNet-21K"),
    ("in22k", "ImageNet-22K"),
    ("laion2b", "LAION-2B"),
    ("laion400m", "LAION-400M"),
    ("openai", "WIT-400M (OpenAI)"),
    ("datacompxl", "DataComp-1B"),
    ("dfn2b", "DFN-2B"),
    ("dfn5b", "DFN-5B"),
    ("metaclip", "MetaCLIP"),
    ("webli", "WebLI"),
    ("merged2b", "Merged-2B"),
    ("m38m", "Merged-38M"),
    ("lvd1689m", "LVD-1689M"),
    ("lvd142m", "LVD-142M"),
    ("ig1b", "Instagram-1B"),
    ("ig3b", "Instagram-3.6B"),
    ("swag", "Instagram-3.6B"),
    ("jft300m", "JFT-300M"),
    ("yfcc100m", "YFCC-100M"),
    ("inat21", "iNaturalist 2021"),
)
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
            data = "Instagram-3.6B, then ImageNet-1K" if "SWAG" in weights.name else "ImageNet-1K"
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
            data = open_clip_data(tag)
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
        data = timm_data(name.partition(".")[2])
        parameters = count(partial(timm.create_model, name, pretrained=False))
        yield [f"timm:{name}", kind, parameters, data, "yes", note]


def open_clip_data(tag: str) -> str | None:
    """Return the training data behind an OpenCLIP tag, None if the tag does not say."""
    spelled = tag.lower().replace("-", "_")
    return next((data for prefix, data in OPEN_CLIP_DATA if spelled.startswith(prefix)), None)


def timm_data(tag: str) -> str | None:
    """Return the data named in a timm tag, in the order in which the tag names them."""
    found = sorted((tag.find(mark), data) for mark, data in TIMM_DATA if mark in tag)
    return ", then ".join(dict.fromkeys(data for _, data in found)) or None


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
