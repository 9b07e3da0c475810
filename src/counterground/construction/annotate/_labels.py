"""The labels to choose from, the guide to them, and what a label server holds."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from string import ascii_lowercase
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlencode

from counterground.construction.annotate._web import Sessions
from counterground.construction.pool import KEEP, LATER, REVIEW_LABELS, Pool, Queue, QueuedPhoto
from counterground.errors import CounterGroundError, UsageError
from counterground.files import read_text
from counterground.photos import UnreadablePhoto, load_photo, name_key

if TYPE_CHECKING:
    import numpy as np

    from counterground.models import DualEncoder


COMMAND_KEYS = frozenset("luz")
"""Later, undo, zoom."""

ANSWER_KEYS = "1234"
"""Keys for the answers of annotators who disagree; no label has one of these."""

_SPARE = "567890"


def label_keys(labels: Sequence[str]) -> dict[str, str | None]:
    """Return each label's key: its first free letter, else any free letter, else a digit, else None.

    Keys are assigned in the order of the labels, so adding one at the end leaves the others unchanged: what
    annotators have learnt still holds, though a label may not get the letter that suits it best.
    """
    free = dict.fromkeys([letter for letter in ascii_lowercase if letter not in COMMAND_KEYS])
    own: dict[str, str | None] = {}
    for label in labels:
        own[label] = next((letter for letter in label.lower() if letter in free), None)
        free.pop(own[label] or "", None)
    spare = iter([*free, *_SPARE])
    return {label: key or next(spare, None) for label, key in own.items()}


MOST_LETTERS = 40
MOST_GUIDANCE = 2000

_MEANINGS = {
    "ground": "bare, or mixed",
    "water": "sea, river, shore",
    "earth": "soil, mud",
    "sand": "beach, desert",
    "snow": "snow or ice",
    "grass": "meadow, straw",
    "human": "hand, arm, person",
    "sky": "open sky",
    "road": "paved way",
    "rock": "stone, cliff, gravel",
    "shrub": "bush, leaves, reeds",
    "indoor": "inside a building",
    "tree": "trunk, branches",
    "outdoor": "none of these",
}
_REVIEW_KEYS = {
    KEEP: "k",
    "label noise": "n",  # "l" is later
    "feature noise": "f",
    "ambiguity": "a",
    "clarity": "c",
    "duplicate": "d",
}
_REASONS = {
    KEEP: "the class is the main subject, and clear",
    "label noise": "not the class at all",
    "feature noise": "too corrupt, blurred or dark to tell",
    "ambiguity": "several classes are in the photo",
    "clarity": "the class is there, but not a main subject",
    "duplicate": "the same shot as another photo",
}


@dataclass(frozen=True)
class Choice:
    """A label as its button shows it."""

    label: str
    key: str | None
    meaning: str


def choices(pool: Pool, task: str) -> list[Choice]:
    """Return the labels of a task in order, with keys that differ from each other and from all other keys."""
    if task == "review":
        return [Choice(label, _REVIEW_KEYS[label], _REASONS[label]) for label in REVIEW_LABELS]
    labels, meanings = pool.background_labels(), label_meanings(pool)
    keys_of = label_keys(labels)
    return [Choice(label, keys_of[label], meanings.get(label, "")) for label in labels]


def label_meanings(pool: Pool) -> dict[str, str]:
    """Return what background labels mean; our text if the pool has none of its own."""
    return _MEANINGS | dict(pool.setting("label_meanings", {}))


def guidance(pool: Pool) -> dict[str, str]:
    """Return the guidance text of each class that has one."""
    return {name: text for name, text in pool.setting("guidance", {}).items() if text}


def check_labels(labels: Sequence[str], uses: Mapping[str, int]) -> list[str]:
    """Return the labels, without spaces around them, as a label space that can replace the old one.

    A used label keeps its name, so those that an import brought are never refused, whatever their length and
    spelling.

    Args:
        labels: labels in order.
        uses: how often each label was used so far.

    Raises:
        UsageError: no label, an empty, too long or repeated one, "later", or a used one is missing.
    """
    wanted = [label if label in uses else " ".join(label.split()) for label in labels]
    keys = [name_key(label) for label in wanted]
    for label, key in zip(wanted, keys, strict=True):
        fits = 1 <= len(label) <= MOST_LETTERS and label.isprintable() and keys.count(key) == 1
        if label == LATER or wanted.count(label) > 1 or not (fits or label in uses):
            raise UsageError(
                f"{label!r} cannot be a label: use different names of 1 to {MOST_LETTERS} characters, "
                f"other than {LATER!r}."
            )
    gone = [label for label in uses if label not in (*wanted, LATER)]
    if gone or not wanted:
        raise UsageError(f"Keep at least one label; used ones can be neither renamed nor removed: {gone}.")
    return wanted


def read_labels(path: Path) -> list[str]:
    """Read a file of labels, one per line; empty lines and those that begin with # are left out.

    Raises:
        UsageError: there is no such file, or it is not text.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read the labels in {path} as UTF-8 text: {error}.") from error
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


# Reference pictures of a class, which the owner of a pool puts into ``guide/<class>/``. People choose them:
# photos of the pool would show what others decided, or what a model is sure of.
GUIDE = "guide"
MOST_PICTURES = 6
_SIDE = 1024


def guide_addresses(pool: Pool, class_name: str) -> list[str]:
    """Return the addresses of a class's pictures on this server."""
    count = len(_pictures(pool, class_name))
    return [f"/guide/{place}?{urlencode({'class': class_name})}" for place in range(count)]


def guide_picture(pool: Pool, class_name: str, place: int) -> bytes:
    """Return a picture as JPEG, at most ``_SIDE`` pixels wide and high.

    Raises:
        UnreadablePhoto: the picture is damaged, or there is none at this place.
    """
    found = _pictures(pool, class_name)
    if place >= len(found):
        raise UnreadablePhoto(pool.root / GUIDE, "there is no such picture")
    image = load_photo(found[place]).image
    image.thumbnail((_SIDE, _SIDE))
    written = BytesIO()
    image.save(written, "JPEG", quality=88)
    return written.getvalue()


def _pictures(pool: Pool, class_name: str) -> list[Path]:
    """Return the files in a class's folder, by name; it is called as the class, or as in files/."""
    names = {class_name, pool.class_folder(class_name)}
    folders = [entry for entry in (pool.root / GUIDE).glob("*") if entry.name in names]
    files = [file for folder in folders for file in folder.glob("[!.]*")]
    return sorted(file for file in files if file.is_file())[:MOST_PICTURES]


PROMPT = "a photo of an animal on {}"


class Suggester:
    """The label whose text is nearest to a photo, in the embedding space of one dual encoder.

    Raises:
        UsageError: the specification is unknown, or the model is not a dual encoder.
        CounterGroundError: its weights cannot be loaded.
    """

    def __init__(self, spec: str) -> None:
        from counterground.models import load_model

        model = load_model(spec)
        if model.kind != "dual_encoder":
            raise UsageError(
                f"{spec} cannot encode text, so it cannot suggest labels: "
                "name a CLIP, such as open_clip:ARCH/TAG."
            )
        self.spec = spec
        self._model = cast("DualEncoder", model)
        self._features: dict[Path, np.ndarray | None] = {}
        self._texts: dict[tuple[str, ...], np.ndarray] = {}
        self._lock = threading.Lock()  # one forward pass at a time: the page must stay responsive

    def suggest(self, paths: Sequence[Path], labels: Sequence[str]) -> list[str | None]:
        """Return a label for each photo, or None if the photo cannot be read."""
        with self._lock:
            key = tuple(labels)
            if key not in self._texts:
                self._texts[key] = self._model.encode_texts([PROMPT.replace("{}", label) for label in key])
            self._encode([path for path in paths if path not in self._features])
            found = [self._features[path] for path in paths]
            return [None if v is None else key[int((self._texts[key] @ v).argmax())] for v in found]

    def _encode(self, paths: Sequence[Path]) -> None:
        import torch

        inputs = []
        for path in paths:
            self._features[path] = None
            try:
                image = load_photo(path, rgb=self._model.convert_rgb_first).image
            except UnreadablePhoto:
                continue
            inputs.append((path, self._model.preprocess(image)))
        if inputs:
            encoded = self._model.encode(torch.stack([pixels for _, pixels in inputs]))
            found = encoded.detach().cpu().float().numpy()  # of a user's own model, too
            self._features.update(zip([path for path, _ in inputs], found, strict=True))


@dataclass(frozen=True)
class AppState:
    """The state of one server.

    Attributes:
        pool: the pool.
        queue: its queue.
        sessions: the annotators' sessions.
        key: name of the pool in the browser's storage.
        named: the pool as the user wrote it.
        task: task of the first page.
        ranked: whether reviews begin with what curation flagged; their pages say so.
        suggester: source of suggestions; None suggests nothing.
    """

    pool: Pool
    queue: Queue
    sessions: Sessions
    key: str
    named: str
    task: str
    ranked: bool
    suggester: Suggester | None

    def shown(
        self, photos: Sequence[QueuedPhoto], task: str, *, adjudicating: bool = False
    ) -> list[dict[str, Any]]:
        """Return what the page gets about photos: nothing that others decided, and no source.

        What curation flagged is included if reviews are ranked or somebody adjudicates; adjudicators get no
        suggestions.
        """
        flags = task == "review" and (self.ranked or adjudicating)
        suggests = task == "background" and not adjudicating
        texts = guidance(self.pool)
        found = self.queue.flags([photo.path for photo in photos]) if flags else {}
        suggested = self._suggested(photos) if suggests else [None] * len(photos)
        return [
            {
                "path": photo.path,
                "row": photo.row,
                "class_name": photo.class_name,
                "guidance": texts.get(photo.class_name, ""),
                "guide": guide_addresses(self.pool, photo.class_name),
                "width": photo.width,
                "height": photo.height,
                "postponed": photo.postponed,
                "suggestion": suggestion,
                "flags": [
                    {"reason": flag.reason, "explanation": flag.explanation, "row": flag.row}
                    for flag in found.get(photo.path, [])
                ],
            }
            for photo, suggestion in zip(photos, suggested, strict=True)
        ]

    def _suggested(self, photos: Sequence[QueuedPhoto]) -> list[dict[str, str] | None]:
        if self.suggester is None:
            return [None] * len(photos)
        files = []
        for photo in photos:
            try:
                files.append(self.pool.photo_file(photo.path))
            except CounterGroundError:
                files.append(self.pool.files)  # a folder is not a photo: nothing is suggested
        labels = self.suggester.suggest(files, self.pool.background_labels())
        return [None if label is None else {"model": self.suggester.spec, "label": label} for label in labels]
