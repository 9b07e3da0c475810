"""Reviewing masks: the server from the first link to the summary."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from counterground.construction.annotate.masks._api import MOST_BYTES
from counterground.construction.annotate.masks._app import build_app
from counterground.construction.annotate.masks._queue import MaskQueue
from counterground.construction.annotate.masks._state import ReviewState
from counterground.construction.annotate.web import AnnotatorServer, ServerSettings
from counterground.errors import CounterGroundError
from counterground.files import is_folder
from counterground.masks import MaskDecisions, Masks, read_masks
from counterground.text import counted

_KEY = "key"


@dataclass(frozen=True)
class ReviewSummary:
    """The result of a review: how many decisions each annotator made, and the masks as they stand now."""

    decisions: dict[str, int]
    masks: Masks


def review_masks(
    folder: str | Path, settings: ServerSettings, *, say: Callable[[str], None] = print
) -> ReviewSummary:
    """Serve the page until Ctrl-C; return what was decided.

    Args:
        folder: the folder that ``make_masks`` wrote.
        settings: who takes part, and where.
        say: function that prints a line.

    Raises:
        UsageError: there are no masks, or a name or host cannot be used.
        CounterGroundError: a file is damaged, the photos are gone, or the port is taken.
    """
    settings.check()
    masks = read_masks(folder, reviewed=False)
    queue = MaskQueue(masks, _photos_root(masks))
    decisions = MaskDecisions(masks.folder, create=True)
    with AnnotatorServer(settings, decisions, say) as server:
        state = ReviewState(masks, queue, decisions, server.sessions, _key(decisions), str(folder))
        failing = sum(bool(photo.reason) for photo in queue.photos)
        photos = counted(len(queue.photos), "photo")
        say(f"{masks.folder.resolve().name}: {photos}, {failing:,} of them without a usable mask.")
        before = decisions.last()
        server.serve(build_app(state, port=server.port), most_bytes=MOST_BYTES)
    made = decisions.made_since(before)
    return ReviewSummary({name: made.get(name, 0) for name in settings.annotators}, read_masks(folder))


def _photos_root(masks: Masks) -> Path:
    way = masks.description.get("photos")
    if not isinstance(way, str):
        raise CounterGroundError(f"{masks.folder} does not say where its photos are: make the masks again.")
    root = masks.folder / way
    if not is_folder(root):
        raise CounterGroundError(
            f"The photos of the masks in {masks.folder} are not at {root} any more: move them back there."
        )
    return root.resolve()


def _key(decisions: MaskDecisions) -> str:
    """Return a name that no other folder of masks has, made on first use."""
    found = decisions.setting(_KEY)
    if not isinstance(found, str):
        decisions.set_setting(_KEY, found := secrets.token_hex(8))
    return found
