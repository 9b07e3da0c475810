"""Masks by models: rembg separates what stands out, transformers the photo's class or what is in its box.

The licence of weights is accepted by name before anything is loaded.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from counterground.errors import CounterGroundError, UsageError, did_you_mean, error_message, needs_extra
from counterground.files import file_sha256
from counterground.http import check_online, is_offline
from counterground.masks._sources import Found, MaskRequest, MaskSource, Weights, of_classes
from counterground.models import resolve_device
from counterground.models.huggingface import (
    HfSource,
    from_pretrained,
    parse_hf,
    pinned,
    read_config,
    read_network,
    reading,
)
from counterground.photos import load_photo
from counterground.settings import MaskSettings

UNVERIFIED = "unverified"
"""What the licence of weights is called if none could be read."""
_WEIGHTS = (".safetensors", ".bin", ".json")


@cache
def known_weights() -> dict[str, Weights]:
    """Return what is known about weight files, by source, as in ``rembg:u2net``."""
    data = files("counterground.masks").joinpath("weights.json").read_bytes()
    return {name: Weights(name, **facts) for name, facts in json.loads(data).items()}


def check_accepted(weights: Weights, accepted: Sequence[str]) -> None:
    """Refuse weights whose licence is not accepted.

    Raises:
        UsageError: it is not among ``accepted``.
    """
    if weights.licence.casefold() not in {name.casefold() for name in accepted}:
        raise UsageError(
            f"The weights of {weights.name} have the licence {weights.licence!r}. {weights.about} "
            f"If you accept it, add --accept-licence {weights.licence}."
        )


def rembg_source(spec: str, accepted: Sequence[str]) -> MaskSource:
    """Return the source of masks of ``rembg:NAME``.

    Raises:
        UsageError: an unknown name, or a licence that is not accepted.
        CounterGroundError: the weights cannot be fetched or read.
        MissingExtraError: rembg is not installed.
    """
    known = [name for name in known_weights() if name.startswith("rembg:")]
    if spec not in known:
        raise UsageError(f"{spec} is not one of {', '.join(known)}.{did_you_mean(spec, known)}")
    weights = known_weights()[spec]
    check_accepted(weights, accepted)
    with needs_extra("rembg"):
        import rembg
    name = spec.removeprefix("rembg:")
    home = os.environ.get("REMBG_HOME") or os.environ.get("U2NET_HOME") or "~/.u2net"
    if not Path(home, f"{name}.onnx").expanduser().is_file():
        check_online(f"Fetching the weights of {spec}")
    try:
        session = rembg.new_session(name)
    except Exception as error:  # whatever its downloader and ONNX Runtime raise
        raise CounterGroundError(
            f"The weights of {spec} cannot be loaded ({error_message(error)}). Connect to the network, or "
            "put the file where rembg looks for it (REMBG_HOME)."
        ) from error

    def find(photo: MaskRequest) -> Found:
        image = load_photo(photo.file).image  # in RGB, without the orientation tag that rembg would follow
        mask = rembg.remove(image, session=session, only_mask=True)
        assert isinstance(mask, Image.Image)
        return Found(np.asarray(mask.convert("L")))

    record = {"rembg": version("rembg"), "onnxruntime": version("onnxruntime")}
    return MaskSource(spec, find, slow=True, rough=True, record=record, weights=weights)


def hf_source(spec: str, classes: Sequence[str], settings: MaskSettings) -> MaskSource:
    """Return the source of masks of ``hf:NAME`` or ``hf:DIR``.

    A model that names what it segments gives the objects of the photo's class; one that is prompted with a
    box (SAM and similar models) gives what is in the box. Code beside the weights is not run.

    Args:
        spec: the model.
        classes: names of the photos' classes, sorted.
        settings: see `MaskSettings`.

    Raises:
        UsageError: no such model, a licence that is not accepted, or no label that is a class.
        CounterGroundError: the weights cannot be obtained.
        MissingExtraError: transformers is not installed.
    """
    with needs_extra("hf"):
        from transformers.models.auto import modeling_auto
    source = parse_hf(spec)
    with reading(source, offline=is_offline()):
        source = pinned(source)
        weights = _weights(source)
        check_accepted(weights, settings.accept_licences)
        config, device = read_config(source), resolve_device(settings.device)
        prompted = config.get("model_type") in modeling_auto.MODEL_FOR_MASK_GENERATION_MAPPING_NAMES
        find = _prompted(source, device) if prompted else _labelled(source, config, classes, settings, device)
    record = {"transformers": version("transformers"), **_identity(source)}
    return MaskSource(spec, find, slow=True, rough=True, needs_boxes=prompted, record=record, weights=weights)


def _labelled(
    source: HfSource, config: Mapping[str, Any], classes: Sequence[str], settings: MaskSettings, device: str
) -> Callable[[MaskRequest], Found]:
    """Return a function that finds the objects of the photo's class among those that a model names."""
    from transformers import AutoImageProcessor, pipeline
    from transformers.models.auto import modeling_auto as auto

    kind, architecture = config.get("model_type"), str((config.get("architectures") or [""])[0])
    loaders = (
        (auto.AutoModelForUniversalSegmentation, auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES),
        (auto.AutoModelForImageSegmentation, auto.MODEL_FOR_IMAGE_SEGMENTATION_MAPPING_NAMES),
        (auto.AutoModelForSemanticSegmentation, auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES),
    )
    loader: Any = next(
        (each for each, names in loaders if kind in names and architecture in {"", names[str(kind)]}), None
    )
    if loader is None:
        raise UsageError(
            f"{source.spec}: {architecture or kind or 'this model'} does not segment photos as transformers "
            "knows it (image-segmentation, mask-generation)."
        )
    network = read_network(loader, source)
    processor = from_pretrained(AutoImageProcessor, source)
    pipe = pipeline("image-segmentation", model=network, image_processor=processor, device=device)
    labels = {str(label): str(label) for label in network.config.id2label.values()}
    wanted = of_classes(source.spec, "label", labels, classes, settings.categories)

    def find(photo: MaskRequest) -> Found:
        shown = pipe(load_photo(photo.file).image)
        chosen = [np.asarray(each["mask"]) > 0 for each in shown if each["label"] in wanted[photo.class_name]]
        if not chosen:
            found = ", ".join(sorted({str(each["label"]) for each in shown})) or "nothing"
            return Found(None, "other category", f"found: {found}")
        largest = max(chosen, key=lambda each: int(each.sum()))
        inside = largest if settings.several == "largest" else np.logical_or.reduce(chosen)
        return Found(inside.astype(np.uint8) * 255)

    return find


def _prompted(source: HfSource, device: str) -> Callable[[MaskRequest], Found]:
    """Return a function that finds the object in each box: the model's own best of its proposed masks."""
    import torch
    from transformers import AutoModelForMaskGeneration, AutoProcessor

    network = read_network(AutoModelForMaskGeneration, source).to(device)
    processor = from_pretrained(AutoProcessor, source)

    def find(photo: MaskRequest) -> Found:
        if not photo.boxes:
            return Found(None, "no box")
        image = load_photo(photo.file).image
        corners = [[left, top, left + width, top + height] for left, top, width, height in photo.boxes]
        inputs = processor(images=image, input_boxes=[corners], return_tensors="pt").to(device)
        with torch.inference_mode():
            outputs = network(**inputs)
        sizes = [inputs["original_sizes"].tolist()]
        if "reshaped_input_sizes" in inputs:
            sizes.append(inputs["reshaped_input_sizes"].tolist())
        masks = processor.post_process_masks(outputs.pred_masks.cpu(), *sizes)[0].numpy()
        best = outputs.iou_scores[0].argmax(dim=-1).tolist()  # [boxes] of [boxes, proposals]
        inside = np.logical_or.reduce([masks[box, choice] for box, choice in enumerate(best)])
        return Found(inside.astype(np.uint8) * 255)

    return find


def _weights(source: HfSource) -> Weights:
    """Return the licence that the model card states."""
    from huggingface_hub import ModelCard
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        place = source.name if source.folder is None else source.folder / "README.md"
        card = ModelCard.load(place).data.to_dict()
    except (OSError, ValueError, HfHubHTTPError, LocalEntryNotFoundError):
        card = {}
    stated = str(card.get("license_name") or card.get("license") or UNVERIFIED)
    return Weights(source.spec, stated, f"Model card: {card.get('license_link') or 'no link'}.")


def _identity(source: HfSource) -> dict[str, str]:
    """Return what identifies the weights: the commit, or the hashes of the files in a folder."""
    if source.folder is None:
        return {"commit": str(source.revision)}
    files = (file for file in sorted(Path(source.folder).iterdir()) if file.suffix in _WEIGHTS)
    return {file.name: file_sha256(file) for file in files}
