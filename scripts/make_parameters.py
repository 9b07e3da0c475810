"""Count the parameters of every listed architecture on the meta device, which allocates nothing.

Run after an upgrade of OpenCLIP or timm: ``python -m counterground.models._count_parameters``.
"""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

from counterground.files import write_text


def count(build: Any) -> int | None:
    """Return the parameters of what ``build()`` makes, None where that takes the network or values."""
    import torch

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
    import open_clip
    import timm

    from counterground.models.open_clip._activation import base_name

    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")
    counted: dict[str, dict[str, int]] = {"open_clip": {}, "timm": {}}
    for name in sorted({base_name(model) for model, _ in open_clip.list_pretrained()}):
        options: dict[str, Any] = {"load_weights": False, "pretrained_text": False, "pretrained_image": False}
        number = count(
            lambda name=name, options=options: open_clip.create_model(name, device="meta", **options)
        )
        if number:
            counted["open_clip"][name] = number
    for name in timm.list_pretrained():
        number = count(lambda name=name: timm.create_model(name, pretrained=False))
        if number:
            counted["timm"][name] = number
    path = Path(__file__).parent / "data" / "parameters.json"
    write_text(path, json.dumps(counted, separators=(",", ":"), sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
