"""What people decided about masks: a log that is only appended to; sending twice counts once.

It is ``decisions.jsonl`` in the folder of masks, a line for each event; redrawn masks are below ``redrawn/``.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from counterground.errors import CounterGroundError, UsageError, error_message
from counterground.files import file_lock, read_text, write_bytes, write_text
from counterground.masks._sources import OBJECT

Verdict = Literal["accepted", "rejected", "redrawn"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
DECISIONS_FILE = "decisions.jsonl"
REDRAWN = "redrawn"
MOST_MASK_BYTES = 12 << 20
"""Largest size of a redrawn mask, in bytes."""

_Event = dict[str, Any]
_SAME = ("path", "verdict", "annotator")


@dataclass(frozen=True)
class MaskDecision:
    """What somebody decided about the mask of a photo.

    Attributes:
        path: the photo, as in the benchmark.
        verdict: the mask is right ("accepted"), the photo has no usable mask ("rejected"), or ``mask`` takes
            its place ("redrawn").
        annotator: who decided.
        token: what identifies the decision.
        at: when, in UTC as ISO text.
        judged: SHA-256 of the file of the mask that was on screen; None if there was none.
        photo: SHA-256 of the photo that was on screen; None if it is not known.
        mask: path of the redrawn mask, relative to the folder of masks; None for other verdicts.
        undoes: None; the token of another decision in the event that undoes it.
    """

    path: str
    verdict: Verdict
    annotator: str
    token: str
    at: str
    judged: str | None = None
    photo: str | None = None
    mask: str | None = None
    undoes: str | None = None

    def is_about(self, mask_id: str | None, photo_id: str) -> bool:
        """Return whether the decision counts for a mask and a photo with these SHA-256.

        A redrawn mask takes the place of any other, but was drawn on one photo.
        """
        same_photo = self.photo is None or self.photo == photo_id
        return same_photo and (self.verdict == "redrawn" or self.judged == mask_id)


def standing(folder: Path | str) -> dict[str, MaskDecision]:
    """Return the decision that stands on each photo of a folder of masks: the last one not undone.

    Raises:
        CounterGroundError: ``decisions.jsonl`` is damaged or cannot be read.
    """
    return MaskDecisions(Path(folder)).standing()


class MaskDecisions:
    """The decisions on the masks of one folder; safe across threads and processes.

    Every method raises ``CounterGroundError`` if the log is damaged or cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / DECISIONS_FILE

    def standing(self) -> dict[str, MaskDecision]:
        """Return the decision that stands on each photo: the last one, by anybody, that was not undone."""
        return {each.path: each for each in _standing(self._events()).values()}

    def decide(
        self,
        path: str,
        verdict: Verdict,
        *,
        annotator: str,
        token: str,
        judged: str | None = None,
        photo: str | None = None,
        drawn: tuple[bytes, tuple[int, int]] | None = None,
    ) -> int:
        """Record a verdict on a mask and return the decision's id; on disk when this returns.

        Args:
            path: the photo.
            verdict: "redrawn" with ``drawn``, else "accepted" or "rejected".
            annotator: who decides.
            token: makes sending twice harmless: the second call writes nothing and returns the first id. Of a
                redrawn mask it is a UUID, which names the file.
            judged: SHA-256 of the file of the mask on screen, None if there was none.
            photo: SHA-256 of the photo on screen; None if it is not known.
            drawn: a mask as a PNG, 0 to 255, white is object (colours count by their brightness), and width
                and height of the photo.

        Raises:
            UsageError: another decision's token; or a mask that is not a PNG, not of the photo's size,
                damaged, empty or full.
        """
        event: _Event = {"path": path, "verdict": verdict, "annotator": annotator, "token": token}
        event |= {"judged": judged, "photo": photo}
        with self._locked():
            events = self._events()
            for number, known in enumerate(events, 1):
                if known["token"] == token:
                    if any(known[name] != event[name] for name in _SAME):
                        raise UsageError(f"The token {token!r} belongs to another decision.")
                    return number
            if drawn is not None:
                event["mask"] = f"{REDRAWN}/{token}.png"
                self._draw(event["mask"], *drawn)
            self._append(event)
            return len(events) + 1

    def _draw(self, mask: str, png: bytes, size: tuple[int, int]) -> None:
        if not (self.folder / REDRAWN).resolve().is_relative_to(self.folder.resolve()):
            raise CounterGroundError(f"{self.folder / REDRAWN} is a link that leaves the folder: remove it.")
        write_bytes(self.folder / mask, _checked_mask(png, size))

    def undo(self, annotator: str, *, token: str, of: str | None = None) -> MaskDecision | None:
        """Undo a decision with a new event; return it, or None if there is none.

        The decision before it, on the same photo, stands again.

        Args:
            annotator: who undoes it: only the one who made it can.
            token: makes sending twice harmless.
            of: token of the decision; None is the annotator's last one that stands.

        Raises:
            UsageError: there is no such decision by the annotator, or it was undone before.
        """
        with self._locked():
            events = self._events()
            undone = next((each.get("undoes") for each in events if each["token"] == token), None)
            if undone is not None:
                return next(MaskDecision(**each) for each in events if each["token"] == undone)
            own = [each for each in _standing(events).values() if each.annotator == annotator]
            found = next((each for each in reversed(own) if of in (None, each.token)), None)
            if found is not None:
                event = {"path": found.path, "verdict": None, "annotator": annotator, "token": token}
                self._append(event | {"undoes": found.token})
            elif of is not None:
                raise UsageError(f"No decision {of!r} of {annotator} stands.")
            return found

    def last(self) -> int:
        """Return the id of the last event, 0 if there is none."""
        return len(self._events())

    def made_since(self, last: int) -> dict[str, int]:
        """Return how many decisions that stand each annotator made after the event with the id ``last``."""
        made = _standing(self._events()).items()
        return dict(Counter(each.annotator for number, each in made if number > last))

    def _locked(self) -> AbstractContextManager[None]:
        return file_lock(self.folder / f".{DECISIONS_FILE}.lock", lambda: None)

    def _append(self, event: _Event) -> None:
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        written = [*self._events(), event | {"at": now}]
        write_text(self._file, "".join(f"{json.dumps(each)}\n" for each in written))

    def _events(self) -> list[_Event]:
        try:
            return [json.loads(line) for line in read_text(self._file).splitlines()]
        except FileNotFoundError:
            return []
        except (OSError, ValueError) as error:
            raise CounterGroundError(
                f"{self._file} is damaged ({error_message(error)}): restore it from a backup."
            ) from error


def _standing(events: Sequence[_Event]) -> dict[int, MaskDecision]:
    """Return the decisions that were not undone, by number."""
    undone = {event.get("undoes") for event in events}
    return {
        number: MaskDecision(**event)
        for number, event in enumerate(events, 1)
        if event["verdict"] is not None and event["token"] not in undone
    }


def _checked_mask(png: bytes, size: tuple[int, int]) -> bytes:
    """Return a mask that a page sent, encoded again: one channel, no metadata."""
    try:
        image = Image.open(BytesIO(png), formats=["PNG"])
        # The size comes first: a small file may expand to gigabytes.
        grey = image.convert("L") if image.size == size else None
    except Exception as error:  # decoders raise all kinds of errors on untrusted bytes
        raise UsageError("The mask is not a PNG, or it is damaged.") from error
    if grey is None:
        width, height = image.size
        raise UsageError(f"The mask has {width} x {height} pixels, and the photo {size[0]} x {size[1]}.")
    if (np.asarray(grey) >= OBJECT).mean() in (0, 1):
        raise UsageError("The mask is empty, or marks the whole photo.")
    written = BytesIO()
    grey.save(written, "PNG", optimize=True)
    return written.getvalue()
