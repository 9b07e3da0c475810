"""Write ``parameters.json``: the parameters of every listed architecture of OpenCLIP and timm.

Run by hand after upgrading either: ``python scripts/make_parameters.py``. Parameters are counted on the meta
device, which allocates nothing.
"""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import open_clip
import timm
import torch

from counterground.files import write_text
from counterground.models.open_clip import base_name

PLACE = Path(__file__).parents[1] / "src" / "counterground" / "models" / "data" / "parameters.json"


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


def main() -> None:
    """Write ``data/parameters.json``."""
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    options: dict[str, Any] = {"load_weights": False, "pretrained_text": False, "pretrained_image": False}
    builders = {
        "open_clip": {
            name: partial(open_clip.create_model, name, device="meta", **options)
            for name in {base_name(model) for model, _ in open_clip.list_pretrained()}
        },
        "timm": {name: partial(timm.create_model, name, pretrained=False) for name in timm.list_pretrained()},
    }
    counted = {
        library: {name: number for name, build in each.items() if (number := count(build))}
        for library, each in builders.items()
    }
    write_text(PLACE, json.dumps(counted, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
