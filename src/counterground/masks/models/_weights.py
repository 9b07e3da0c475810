"""Weight files of segmentation models: their licences, where they come from, and accepting them by name."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from counterground.errors import UsageError
from counterground.masks._found import Weights

UNVERIFIED = "unverified"
"""What the licence of weights is called if none could be read."""


@cache
def known_weights() -> dict[str, Weights]:
    """Return what is known about weight files, by source, as in ``rembg:u2net``."""
    data = files("counterground.masks.models").joinpath("weights.json").read_bytes()
    return {name: Weights(name, **facts) for name, facts in json.loads(data).items()}


def check_accepted(weights: Weights, accepted: Sequence[str]) -> None:
    """Refuse weights whose licence is not accepted.

    Raises:
        UsageError: it is not among ``accepted``.
    """
    if weights.licence.casefold() in {name.casefold() for name in accepted}:
        return
    about = f" ({weights.terms})" if weights.terms else ""
    origin = f" {weights.origin}" if weights.origin else ""
    read = f" Read in: {weights.verified}." if weights.verified else " This was not verified."
    raise UsageError(
        f"The weights of {weights.name} have the licence {weights.licence!r}{about}.{origin}{read} "
        f"If you accept it, add --accept-licence {weights.licence}."
    )
