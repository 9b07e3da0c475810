"""Labelling a pool, and the review of masks: what comes next, what pages ask and send, labels with keys."""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from pathlib import Path
from string import ascii_lowercase
from typing import Annotated, Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from PIL import Image
from pydantic import Field

from counterground.construction.annotate._server import (
    Body,
    Next,
    Sent,
    SessionSummary,
    Site,
    Token,
    Undo,
    check_names,
    picture,
    record_each,
    render,
    serve,
)
from counterground.construction.pool import (
    KEEP,
    LATER,
    LEASE_SECONDS,
    Pool,
    Queue,
    QueuedPhoto,
    check_annotators,
    leads_out,
    open_pool,
    spelling_of,
)
from counterground.construction.settings import LabelSettings, ServerSettings
from counterground.errors import CounterGroundError, UsageError
from counterground.files import is_folder, read_text
from counterground.masks import (
    MOST_MASK_BYTES,
    NO_OBJECT,
    REASONS,
    MaskDecisions,
    Masks,
    mask_id,
    read_mask,
    read_masks,
)
from counterground.photos import UnreadablePhoto, photo_size
from counterground.text import counted

COMMAND_KEYS = frozenset("luz")
"""Later, undo, zoom."""

ANSWER_KEYS = "1234"
"""Keys for the answers of annotators who disagree; no label has one of these."""

_SPARE = "567890"
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
_REASONS = {
    KEEP: ("k", "the class is the main subject, and clear"),
    "label noise": ("n", "not the class at all"),  # "l" is later
    "feature noise": ("f", "too corrupt, blurred or dark to tell"),
    "ambiguity": ("a", "several classes are in the photo"),
    "clarity": ("c", "the class is there, but not a main subject"),
    "duplicate": ("d", "the same shot as another photo"),
}


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


def read_labels(path: Path, used: Iterable[str]) -> list[str]:
    """Read a file of background labels, one per line; empty lines and those that begin with # are left out.

    Raises:
        UsageError: the file cannot be read, a label is "later" or there twice, or one that was used is gone.
    """
    try:
        lines = read_text(path).splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"Cannot read the labels in {path} as UTF-8 text: {error}.") from error
    labels = [" ".join(line.split()) for line in lines if line.strip() and not line.startswith("#")]
    if not labels or LATER in labels or len(spelling_of(labels)) < len(labels):
        raise UsageError(f"{path} needs different labels, one a line, and none called {LATER!r}.")
    if gone := [label for label in used if label not in (*labels, LATER)]:
        raise UsageError(f"Used labels can be neither renamed nor removed: {gone} must stay in {path}.")
    return labels


class Decide(Sent):
    """A decision."""

    kind: Literal["decide"]
    token: Token
    task: Literal["review", "background"]
    path: str
    labels: Annotated[list[Annotated[str, Field(max_length=200)]], Field(max_length=60)]
    seconds: Annotated[float | None, Field(ge=0, allow_inf_nan=False)]
    adjudicates: bool = False


def label_pool(
    path: str | Path, settings: LabelSettings, *, say: Callable[[str], None] = print
) -> SessionSummary:
    """Serve the pages until Ctrl-C; return what was decided, and write a snapshot of the pool.

    Args:
        path: the pool's folder.
        settings: settings of the session.
        say: function that prints a line.

    Raises:
        UsageError: there is no pool, or a name or label that cannot be used.
        CounterGroundError: the pool has no photo, cannot be written, or the port is taken.
    """
    check_names(settings)
    with open_pool(path) as pool:
        check_annotators(pool, settings.annotators)
        earlier = pool.decisions()
        if settings.labels is not None:
            used = earlier.filter(task="background")["labels"].explode().drop_nulls()
            pool.set_setting("background_labels", read_labels(settings.labels, used.unique()))
        photos = len(pool.photos())
        if not photos:
            raise CounterGroundError(f"The pool {path} has no photos: collect or import some first.")
        say(f"{pool.root.name}: {counted(photos, 'photo')}, {settings.task}.")
        queue = Queue(pool, second=settings.second, order=settings.order, annotators=settings.annotators)
        serve(Labelling(pool, queue, settings, str(path)).site(), settings, say)
        queue.release(settings.annotators)
        made = pool.decisions().slice(len(earlier)).filter(pl.col("undoes").is_null(), ~pl.col("undone"))
        counts = Counter(made.filter(pl.col("labels").list.first() != LATER)["annotator"])
        decisions = {name: counts[name] for name in settings.annotators}
        return SessionSummary(decisions, f"Snapshot: {pool.snapshot()}")


@dataclass(frozen=True)
class Labelling:
    """The pages and answers for a pool, which the user wrote as ``named``."""

    pool: Pool
    queue: Queue
    settings: LabelSettings
    named: str

    def site(self) -> Site:
        """Return what a server shows."""
        home = f"/label/{self.settings.task}"
        pages: dict[str, Callable[..., str]] = {
            "/": lambda _: render("message.html.j2", {"text": "The page is opening.", "refresh": home}),
            "/(label|disagreements)/(review|background)": self._page,
        }
        actions = {"next": self._next, "disagreements": self._disagreements, "events": self._record}
        return Site(self.pool.root, home, pages, {r"/photo/(\d{1,18})": self._photo}, actions)

    def _page(self, annotator: str, page: str, task: str) -> str:
        """Return the page that shows one photo after another, to label or to settle disagreements."""
        pool = shlex.quote(self.named)
        hints = {
            "review": f"counterground data label {pool} --task background",
            "background": f"counterground discover {pool} --referee MODEL --out BENCHMARK",
        }
        keys = label_keys(self.pool.background_labels())
        labels = {label: (key, _MEANINGS.get(label, "")) for label, key in keys.items()}
        choices = _REASONS if task == "review" else labels
        context = {
            "annotator": annotator,
            "key": self.site().key,
            "page": page,
            "task": task,
            "tasks": {"review": "Review", "background": "Backgrounds"},
            "pool_name": self.pool.root.name,
            "refresh": "",
            "choices": [(label, *choice) for label, choice in choices.items()],
            "answer_keys": ANSWER_KEYS,
            "ranked": self.settings.order == "ranked" and task == "review",
            "hint": hints[task],
        }
        return render("label.html.j2", context)

    def _photo(self, row: str) -> tuple[bytes, str]:
        found = self.queue.photo_of(int(row))
        if found is None:
            raise UnreadablePhoto(self.pool.root, "the pool has no such photo")
        try:
            file = self.pool.photo_file(found[0])
        except CounterGroundError as error:
            raise UnreadablePhoto(self.pool.root, "it is missing, or lies outside the pool") from error
        return picture(file, found[1])

    def _next(self, annotator: str, body: Body) -> Body:
        """Return the page's next photos, and which of those it has no longer need a decision."""
        asked = Next.model_validate(body)
        batch = self.queue.lease(annotator, asked.task, count=asked.count, leased=asked.leased)
        return vars(batch) | {"photos": self._shown(batch.photos, asked.task)}

    def _disagreements(self, _annotator: str, body: Body) -> Body:
        """Return all photos on which annotators disagree, with their answers, without names."""
        task = str(body.get("task"))
        found = self.queue.disagreements(task)
        photos = self._shown([photo for photo, _ in found], task, adjudicating=True)
        for shown, (photo, votes) in zip(photos, found, strict=True):
            shown["votes"] = [votes[voter] for voter in sorted(votes, key=partial(_place, photo.path))]
        return {"photos": photos, "left": len(photos)}

    def _record(self, annotator: str, body: Body) -> Body:
        """Write events in order, on disk when this returns."""
        with self.pool.connect() as connection:

            def decide(event: Decide) -> Body:
                decision = event.model_dump(exclude={"kind"})
                return {"id": self.pool.decide(annotator=annotator, within=connection, **decision)}

            def undo(event: Undo) -> Body:
                asked = event.model_dump(exclude={"kind"})
                if (found := self.queue.undo(annotator, within=connection, **asked)) is None:
                    return {"undone": None}
                photo, labels = found
                return {"undone": {"photo": self._shown([photo], event.task)[0], "labels": labels}}

            return record_each(body.get("events", []), Decide, decide, undo)

    def _shown(self, photos: Sequence[QueuedPhoto], task: str, *, adjudicating: bool = False) -> list[Body]:
        """Return what the page gets about photos: nothing that others decided, and no source.

        What curation flagged is included if reviews are ranked or somebody adjudicates.
        """
        flags = task == "review" and (self.settings.order == "ranked" or adjudicating)
        found = self.queue.flags([photo.path for photo in photos]) if flags else {}
        return [vars(photo) | {"flags": found.get(photo.path, [])} for photo in photos]


def _place(path: str, voter: str) -> bytes:
    """Return what sorts the voters of a photo without telling who is who."""
    return hashlib.sha256(json.dumps([path, voter]).encode()).digest()


@dataclass(frozen=True)
class MaskedPhoto:
    """A photo and its mask, before review.

    Attributes:
        shown: what the page gets; masks are addressed by number, not by file name.
        file: the photo's file.
        photo_id: SHA-256 that the file must have.
        mask: path of the mask, relative to the folder; None if there is none.
    """

    shown: Body
    file: Path
    photo_id: str
    mask: str | None

    def usable(self, folder: Path) -> npt.NDArray[np.uint8]:
        """Return the mask ``[h, w]``, 0 to 255.

        Raises:
            UsageError: there is none, or its file is missing, damaged, of another size than the photo, or
                outside the folder of masks.
        """
        if self.mask is None or leads_out(folder, folder / self.mask):
            raise UsageError("There is no mask in the folder to accept: draw one, or reject the photo.")
        found = read_mask(folder / self.mask, photo_size(self.file))
        if found.mask is None:
            raise UsageError(f"The mask cannot be used: {found.detail or found.reason}.")
        return found.mask


def _masked_photo(folder: Path, photos: Path, number: int, row: dict[str, Any]) -> MaskedPhoto:
    """Return a photo of the table; a mask without an object, or with nothing else, is not acceptable."""
    reason, judged = row["reason"] or "", mask_id(folder, row["mask"])
    known = [REASONS[part] for part in reason.split("; ") if part in REASONS]
    shown = {
        "path": row["path"],
        "row": number,
        "class_name": row["class_name"],
        "mask": None if row["mask"] is None else f"/mask/{number}?of={judged or ''}",
        "judged": judged,
        "acceptable": row["mask"] is not None and row["reason"] not in NO_OBJECT,
        "origin": row["origin"],
        "reason": reason and ": ".join(filter(None, (reason, row["detail"] or "; ".join(known)))),
    }
    return MaskedPhoto(shown, photos / row["path"], row["photo_id"], row["mask"])


class MaskDecide(Sent):
    """A decision.

    ``mask`` is the PNG of a redrawn mask in base64, None for the other verdicts. ``judged`` is the SHA-256 of
    the mask that was on screen.
    """

    kind: Literal["decide"]
    token: Token
    task: Literal["masks"]
    path: str
    verdict: Literal["accepted", "rejected", "redrawn"]
    mask: Annotated[str, Field(min_length=1, max_length=MOST_MASK_BYTES * 4 // 3 + 4)] | None
    judged: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None


def review_masks(
    folder: str | Path, settings: ServerSettings, *, say: Callable[[str], None] = print
) -> SessionSummary:
    """Serve the page until Ctrl-C; return what was decided.

    Args:
        folder: the folder that ``make_masks`` wrote.
        settings: who takes part, and where.
        say: function that prints a line.

    Raises:
        UsageError: there are no masks, or a name or host cannot be used.
        CounterGroundError: a file is damaged, the photos are gone, or the port is taken.
    """
    check_names(settings)
    review = MaskReview(read_masks(folder, reviewed=False), str(folder))
    failing = sum(bool(photo.shown["reason"]) for photo in review.photos.values())
    count = counted(len(review.photos), "photo")
    say(f"{review.masks.folder.resolve().name}: {count}, {failing:,} of them without a usable mask.")
    before = review.decisions.last()
    serve(review.site(), settings, say)
    made = review.decisions.made_since(before)
    decisions = {name: made.get(name, 0) for name in settings.annotators}
    return SessionSummary(decisions, read_masks(folder).summary())


class MaskReview:
    """The page and answers for a folder of masks, which the user wrote as ``named``.

    The photos without a usable mask come first, then the others, each by path. A photo needs one decision,
    from anyone. A photo on a screen stays reserved while its page sends requests. Leases are in memory: a
    restarted server hands out whatever nobody has decided on.

    Raises:
        CounterGroundError: the photos are gone.
    """

    def __init__(self, masks: Masks, named: str) -> None:
        root = masks.folder / str(masks.description.get("photos"))
        if not is_folder(root):
            raise CounterGroundError(
                f"The photos of the masks in {masks.folder} are not at {root} any more: move them back there."
            )
        table = masks.table.sort(masks.table["reason"].is_null(), "path").to_dicts()
        self.masks, self.named, self.decisions = masks, named, MaskDecisions(masks.folder)
        self.photos = {
            row["path"]: _masked_photo(masks.folder, root.resolve(), number, row)
            for number, row in enumerate(table, 1)
        }
        self._leases: dict[str, tuple[str, float]] = {}  # path -> annotator, until
        self._lock = threading.Lock()

    def site(self) -> Site:
        """Return what a server shows."""
        pictures = {r"/photo/(\d{1,9})": self._photo, r"/mask/(\d{1,9})": self._mask}
        actions = {"next": self._next, "events": self._record}
        return Site(self.masks.folder, "/", {"/": self._page}, pictures, actions)

    def _page(self, annotator: str) -> str:
        context = {
            "annotator": annotator,
            "key": self.site().key,
            "task": "masks",
            "pool_name": self.masks.folder.resolve().name,
            "refresh": "",
            "hint": f"counterground swap BENCHMARK -m MODEL --masks {shlex.quote(self.named)} --out RUN",
        }
        return render("masks.html.j2", context)

    def _asked(self, row: str) -> MaskedPhoto:
        if not 1 <= int(row) <= len(self.photos):
            raise UnreadablePhoto(self.masks.folder, "there is no such photo")
        return [*self.photos.values()][int(row) - 1]

    def _photo(self, row: str) -> tuple[bytes, str]:
        photo = self._asked(row)
        return picture(photo.file, photo.photo_id, as_stored=True)

    def _mask(self, row: str) -> tuple[bytes, str]:
        """Return a PNG of a mask: white everywhere, with the object's share of each pixel as alpha."""
        alpha = Image.fromarray(self._asked(row).usable(self.masks.folder))
        written = BytesIO()
        Image.merge("LA", (Image.new("L", alpha.size, 255), alpha)).save(written, "PNG", compress_level=1)
        return written.getvalue(), "image/png"

    def _next(self, annotator: str, body: Body) -> Body:
        """Reserve the page's next photos, and say which of those it has no longer need a decision."""
        asked, decided, now = Next.model_validate(body), self._decided(), time.monotonic()
        last = {path: number for number, path in enumerate(asked.skipped, 1)}
        with self._lock:
            self._leases = {
                path: (owner, until)
                for path, (owner, until) in self._leases.items()
                if until > now and owner != annotator
            }
            free = [path for path in self.photos if path not in decided and path not in self._leases]
            still = [path for path in asked.leased if path in free]
            others = [path for path in free if path not in still]
            fresh = sorted(others, key=lambda path: last.get(path, 0))[: asked.count]
            self._leases |= dict.fromkeys([*still, *fresh], (annotator, now + LEASE_SECONDS))
        return {
            "photos": [self.photos[path].shown for path in fresh],
            "revoked": [path for path in asked.leased if path not in still],
            "done": len(decided),
            "left": len(self.photos) - len(decided),
        }

    def _decided(self) -> set[str]:
        """Return the paths of photos that need no decision: one about the current mask stands."""
        return {
            path
            for path, decision in self.decisions.standing().items()
            if (photo := self.photos.get(path)) and decision.is_about(photo.shown["judged"], photo.photo_id)
        }

    def _record(self, annotator: str, body: Body) -> Body:
        """Write events in order, on disk when this returns."""
        decide, undo = partial(self._decide, annotator), partial(self._undo, annotator)
        return record_each(body.get("events", []), MaskDecide, decide, undo)

    def _undo(self, annotator: str, event: Undo) -> Body:
        found = self.decisions.undo(annotator, of=event.of, token=event.token)
        if found is None or found.path not in self.photos:
            return {"undone": None}
        return {"undone": {"photo": self.photos[found.path].shown, "labels": [found.verdict]}}

    def _decide(self, annotator: str, event: MaskDecide) -> Body:
        photo = self.photos.get(event.path)
        if photo is None:
            raise UsageError(f"There is no photo {event.path!r} here.")
        if (event.mask is None) == (event.verdict == "redrawn"):
            raise UsageError("A redrawn mask comes with its pixels, and no other verdict does.")
        # A decision may have waited in the browser while masks were made again: it is about the one seen.
        sent: dict[str, Any] = {"token": event.token, "judged": event.judged, "photo": photo.photo_id}
        try:
            if event.mask is not None:
                sent["drawn"] = base64.b64decode(event.mask, validate=True), photo_size(photo.file)
            elif event.verdict == "accepted" and event.judged == photo.shown["judged"]:
                photo.usable(self.masks.folder)
                if not photo.shown["acceptable"]:
                    raise UsageError(
                        "This mask marks no object, or nothing else: draw one, or reject the photo."
                    )
        except (ValueError, UnreadablePhoto) as error:
            raise UsageError(f"No mask can be read for this photo: {error}.") from error
        return {"id": self.decisions.decide(event.path, event.verdict, annotator=annotator, **sent)}
