"""Masks by a rembg model, which separates what stands out from its background; it knows no classes."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from counterground.errors import CounterGroundError, UsageError, did_you_mean, error_message, needs_extra
from counterground.files import file_sha256
from counterground.http import check_online
from counterground.masks._found import Found, MaskRequest, MaskSource, Weights
from counterground.photos import load_photo

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


_OWN = ("u2net_custom", "dis_custom", "ben_custom")


def rembg_source(spec: str, accepted: Sequence[str]) -> MaskSource:
    """Return the source of masks of ``rembg:NAME``, or of your own weights, ``rembg:u2net_custom@FILE``.

    Raises:
        UsageError: an unknown name, a missing file, or a licence that is not accepted.
        CounterGroundError: the weights cannot be fetched or read.
        MissingExtraError: rembg is not installed.
    """
    name, at, file = spec.removeprefix("rembg:").partition("@")
    known = [key.removeprefix("rembg:") for key in known_weights()]
    if name not in (*known, *_OWN):
        raise UsageError(
            f"{spec} is not one of the rembg models that run here: {', '.join((*known, *_OWN))}."
            f"{did_you_mean(name, (*known, *_OWN))}"
        )
    if (name in _OWN) != bool(at) or (at and not Path(file).is_file()):
        raise UsageError(
            f"{spec}: weights of your own are written rembg:{_OWN[0]}@FILE.onnx, with a file that is there."
        )
    weights = known_weights().get(f"rembg:{name}") or Weights(spec, UNVERIFIED, "a file of your own")
    check_accepted(weights, accepted)
    with needs_extra("rembg"):
        import rembg
    options: dict[str, Any] = {"model_path": file} if at else {}
    home = os.environ.get("REMBG_HOME") or os.environ.get("U2NET_HOME") or "~/.u2net"
    if not at and not Path(home, f"{name}.onnx").expanduser().is_file():
        check_online(f"Fetching the weights of {spec}")
    try:
        session = rembg.new_session(name, **options)
    except Exception as error:  # whatever its downloader and ONNX Runtime raise
        place = "put the file where rembg looks for it (REMBG_HOME)"
        remedy = place[0].upper() + place[1:] if at else f"Connect to the network, or {place}"
        raise CounterGroundError(
            f"The weights of {spec} cannot be loaded ({error_message(error)}). {remedy}."
        ) from error

    def find(photo: MaskRequest) -> Found:
        image = load_photo(photo.file).image  # in RGB, without the orientation tag that rembg would follow
        mask = rembg.remove(image, session=session, only_mask=True)
        assert isinstance(mask, Image.Image)
        return Found(np.asarray(mask.convert("L")))

    record = {"rembg": version("rembg"), "onnxruntime": version("onnxruntime")}
    if at:
        record["sha256"] = file_sha256(file)
    return MaskSource(spec, find, slow=True, rough=True, record=record, weights=weights)
