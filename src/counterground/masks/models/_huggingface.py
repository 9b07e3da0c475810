"""Masks by a segmentation model of transformers: objects of the photo's class, or what is in its box."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from counterground.errors import UsageError, needs_extra
from counterground.files import file_sha256
from counterground.http import is_offline
from counterground.masks._found import Found, MaskRequest, MaskSource, Weights, of_classes
from counterground.masks.models._rembg import UNVERIFIED, check_accepted, known_weights
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
from counterground.text import counted


def hf_source(
    spec: str, classes: Sequence[str], settings: MaskSettings, accepted: Sequence[str], *, any_box: bool
) -> MaskSource:
    """Return the source of masks of ``hf:NAME`` or ``hf:DIR``.

    A model that names what it segments gives the objects of the photo's class; one that is prompted with a
    box (SAM and similar models) gives what is in the box. Code beside the weights is not run.

    Args:
        spec: the model.
        classes: names of the photos' classes, sorted.
        settings: see `MaskSettings`.
        accepted: licences of weights that the user accepts.
        any_box: whether the box of any object is known.

    Raises:
        UsageError: no such model, a licence that is not accepted, no label that is a class, or no box for a
            model that needs one.
        CounterGroundError: the weights cannot be obtained.
        MissingExtraError: transformers is not installed.
    """
    with needs_extra("hf"):
        source = parse_hf(spec)
    with reading(source, offline=is_offline()):
        source = pinned(source)
        weights = _weights(source)
        check_accepted(weights, accepted)
        find = _finder(source, read_config(source), classes, settings, any_box=any_box)
    record = {"transformers": version("transformers"), **_identity(source)}
    return MaskSource(spec, find, slow=True, rough=True, record=record, weights=weights)


def _finder(
    source: HfSource,
    config: Mapping[str, Any],
    classes: Sequence[str],
    settings: MaskSettings,
    *,
    any_box: bool,
) -> Callable[[MaskRequest], Found]:
    from transformers.models.auto import modeling_auto as auto

    kind, architecture = config.get("model_type"), str((config.get("architectures") or [""])[0])
    device = resolve_device(settings.device)
    if kind in auto.MODEL_FOR_MASK_GENERATION_MAPPING_NAMES:
        if not any_box:
            raise UsageError(
                f"{source.spec} segments what is in a box, and the photos have none: give --boxes FILE.json "
                "or columns box_x, box_y, box_width and box_height."
            )
        return _prompted(source, device)
    for loader, names in (
        (auto.AutoModelForUniversalSegmentation, auto.MODEL_FOR_UNIVERSAL_SEGMENTATION_MAPPING_NAMES),
        (auto.AutoModelForImageSegmentation, auto.MODEL_FOR_IMAGE_SEGMENTATION_MAPPING_NAMES),
        (auto.AutoModelForSemanticSegmentation, auto.MODEL_FOR_SEMANTIC_SEGMENTATION_MAPPING_NAMES),
    ):
        if names.get(str(kind)) == architecture or (not architecture and kind in names):
            return _labelled(source, loader, classes, settings, device)
    raise UsageError(
        f"{source.spec}: {architecture or kind or 'this model'} does not segment photos as transformers "
        "knows it (image-segmentation, mask-generation)."
    )


def _labelled(
    source: HfSource, loader: Any, classes: Sequence[str], settings: MaskSettings, device: str
) -> Callable[[MaskRequest], Found]:
    """Return a function that finds the objects of the photo's class among those that a model names."""
    from transformers import AutoImageProcessor, pipeline

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
        if settings.several == "largest":
            inside = max(chosen, key=lambda each: int(each.sum()))
        else:
            inside = np.logical_or.reduce(chosen)
        detail = f"{settings.several} of {counted(len(chosen), 'object')}" if len(chosen) > 1 else ""
        return Found(inside.astype(np.uint8) * 255, "", detail)

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

    if source.spec in known_weights():
        return known_weights()[source.spec]
    try:
        place = source.name if source.folder is None else source.folder / "README.md"
        card = ModelCard.load(place).data.to_dict()
    except (OSError, ValueError, HfHubHTTPError, LocalEntryNotFoundError):
        return Weights(source.spec, UNVERIFIED, "its model card is missing or cannot be read")
    stated = str(card.get("license_name") or card.get("license") or "")
    if not stated:
        return Weights(source.spec, UNVERIFIED, "its model card states no licence")
    link = str(card.get("license_link") or "")
    return Weights(source.spec, stated, link, "", "its model card")


def _identity(source: HfSource) -> dict[str, str]:
    """Return what identifies the weights: the commit, or a hash of the files in a folder."""
    if source.folder is None:
        return {"commit": str(source.revision)}
    digest = hashlib.sha256()
    for file in sorted(Path(source.folder).iterdir()):
        if file.suffix in (".safetensors", ".bin", ".json"):
            digest.update(file.name.encode())
            digest.update(bytes.fromhex(file_sha256(file)))
    return {"sha256": digest.hexdigest()}
