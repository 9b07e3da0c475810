"""What decides how masks are read, made and judged."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field

from counterground.arguments import Positive, Share, checked_fields
from counterground.errors import UsageError


@checked_fields
@dataclass(frozen=True)
class MaskLimits:
    """When a mask is not usable: beyond any of these limits it gets a reason (see ``REASONS``).

    Attributes:
        min_area: smallest area of the object, as a fraction of the photo.
        max_area: largest area of the object, as a fraction of the photo.
        max_edges: the most sides of the photo that the object may touch, 0 to 4.
        max_parts: the most separate parts it may have; parts below 2 % of its area do not count.
        max_holes: the largest area of its holes, as a fraction of the object with its holes filled.
        min_box_iou: the least agreement of its bounding box with the known box of the object (intersection
            over union); photos without a box are not judged by it.

    Raises:
        UsageError: a limit is outside its range.
    """

    min_area: Share = 0.01
    max_area: Share = 0.9
    max_edges: Annotated[int, Field(ge=0, le=4)] = 2
    max_parts: Positive = 5
    max_holes: Share = 0.1
    min_box_iou: Share = 0.5

    def __post_init__(self) -> None:
        if self.min_area >= self.max_area:
            raise UsageError(
                f"The limits of a mask's area are {self.min_area} and {self.max_area}: give fractions of the "
                "photo between 0 and 1, the smaller one first."
            )


@checked_fields
@dataclass(frozen=True)
class MaskSettings:
    """How masks are read and made.

    Attributes:
        several: if a photo has several instances of its class, take the ``union``, so that none of them stays
            in the background, or the ``largest``.
        categories: for a class name, the category that annotations or a model call it.
        boxes: COCO annotations with the objects' boxes; None for the manifest's own columns.
        segments: folder of the PNGs of panoptic annotations; None for the usual places beside the JSON.
        inset: what GrabCut takes for the object if a photo has no box: the photo without a margin of this
            fraction (from 0 to below 0.5) on each side. None: such a photo gets no mask.
        refine: how the edge of GrabCut's mask becomes soft: closed-form or KNN matting, or not at all.
        limits: when a mask is not usable.
        device: where models run.

    Raises:
        UsageError: an unknown value, categories that are not texts, or an inset outside its range.
    """

    several: Literal["union", "largest"] = "union"
    categories: Mapping[str, str] = field(default_factory=dict)
    boxes: Path | None = None
    segments: Path | None = None
    inset: Annotated[float, Field(ge=0, lt=0.5)] | None = None
    refine: Literal["closed-form", "knn", "none"] = "closed-form"
    limits: MaskLimits = field(default_factory=MaskLimits)
    device: str = "auto"

    def record(self) -> dict[str, Any]:
        """Return what decides the masks, as JSON types."""
        content = asdict(self) | {"categories": dict(self.categories)}
        del content["device"]
        return content | {name: content[name] and str(content[name]) for name in ("boxes", "segments")}
