"""What people decided about masks: a log that is only appended to; sending twice counts once.

It is ``decisions.sqlite`` in the folder of masks; redrawn masks are below ``redrawn/``.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from PIL import Image

from counterground.errors import CounterGroundError, UsageError, database_problem, error_message
from counterground.files import write_bytes
from counterground.masks._found import OBJECT

Verdict = Literal["accepted", "rejected", "redrawn"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)
DECISIONS_FILE = "decisions.sqlite"
REDRAWN = "redrawn"
MOST_MASK_BYTES = 12 << 20
"""Largest size of a redrawn mask, in bytes."""

_APPLICATION = 0x43474D4B  # "CGMK": the decisions of a folder of masks, not another program's database
_VERSION = 1
_BUSY_SECONDS = 30
_SCHEMA = {
    "decision": """CREATE TABLE decision (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  path TEXT NOT NULL,
  verdict TEXT CHECK (verdict IN ('accepted', 'rejected', 'redrawn')),
  mask TEXT,
  judged TEXT,
  annotator TEXT NOT NULL,
  at TEXT NOT NULL,
  token TEXT NOT NULL UNIQUE,
  undoes INTEGER UNIQUE REFERENCES decision (id),
  CHECK ((verdict IS NULL) = (undoes IS NOT NULL)),
  CHECK ((mask IS NOT NULL) = (verdict IS 'redrawn'))
)""",
    "standing": """CREATE VIEW standing AS SELECT id, path, verdict, mask, judged, annotator, at FROM decision
  WHERE undoes IS NULL AND NOT EXISTS (SELECT 1 FROM decision later WHERE later.undoes = decision.id)""",
    "setting": "CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
    **{
        f"decision_no_{verb.lower()}": f"CREATE TRIGGER decision_no_{verb.lower()} BEFORE {verb} ON decision "
        "BEGIN SELECT RAISE(ABORT, 'decisions are never changed or deleted'); END"
        for verb in ("UPDATE", "DELETE")
    },
}
# The photo that a decision was made on is a setting named after its token: decisions have no column for it.
_PHOTO = "photo of"
_PHOTOS = f"SELECT id, value FROM decision JOIN setting ON name = '{_PHOTO} ' || token"  # noqa: S608 - constant
_COLUMNS = ("path", "verdict", "mask", "judged", "annotator", "at", "token", "undoes")


@dataclass(frozen=True)
class MaskDecision:
    """What somebody decided about the mask of a photo.

    Attributes:
        path: the photo, as in the benchmark.
        verdict: the mask is right ("accepted"), the photo has no usable mask ("rejected"), or ``mask`` takes
            its place ("redrawn").
        mask: path of the redrawn mask, relative to the folder of masks; None for other verdicts.
        judged: SHA-256 of the file of the mask that was on screen; None if there was none.
        annotator: who decided.
        at: when, in UTC as ISO text.
        photo: SHA-256 of the photo that was on screen; None if an earlier version did not keep it.
    """

    path: str
    verdict: Verdict
    mask: str | None
    judged: str | None
    annotator: str
    at: str
    photo: str | None = None

    def is_about(self, mask_id: str | None, photo_id: str) -> bool:
        """Return whether the decision counts for a mask and a photo with these SHA-256.

        A redrawn mask takes the place of any other, but was drawn on one photo.
        """
        same_photo = self.photo is None or self.photo == photo_id
        return same_photo and (self.verdict == "redrawn" or self.judged == mask_id)


def standing(folder: Path | str) -> dict[str, MaskDecision]:
    """Return the decision that stands on each photo of a folder of masks: the last one not undone.

    Nothing is created: if nobody has decided yet, the mapping is empty.

    Raises:
        CounterGroundError: ``decisions.sqlite`` is damaged, belongs to another program, or cannot be read.
    """
    folder = Path(folder)
    return MaskDecisions(folder).standing() if (folder / DECISIONS_FILE).exists() else {}


class MaskDecisions:
    """The decisions on the masks of one folder; safe across threads and processes.

    Every method raises ``CounterGroundError`` if the database is damaged, locked for long or cannot be
    written.

    Args:
        folder: the folder of masks.
        create: create the database if there is none.
    """

    def __init__(self, folder: Path, *, create: bool = False) -> None:
        self.folder = folder
        self._file = folder / DECISIONS_FILE
        with self._transaction(create=create) as database:
            if create and not database.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
                _make(database)
            self._check(database)

    def standing(self) -> dict[str, MaskDecision]:
        """Return the decision that stands on each photo: the last one, by anybody, that was not undone."""
        with self._transaction(writes=False) as database:
            rows = database.execute("SELECT * FROM standing ORDER BY id").fetchall()
            seen = dict(database.execute(_PHOTOS).fetchall())
        return {row[1]: self._decision(row, seen.get(row[0])) for row in rows}

    def decide(
        self,
        path: str,
        verdict: Verdict,
        *,
        annotator: str,
        token: str,
        judged: str | None = None,
        photo: str | None = None,
    ) -> int:
        """Record that a mask is accepted or rejected and return the id; on disk when this returns.

        Args:
            path: the photo.
            verdict: "accepted" or "rejected"; see ``redraw`` for the third.
            annotator: who decides.
            token: makes sending twice harmless: the second call writes nothing and returns the first id.
            judged: SHA-256 of the file of the mask on screen, None if there was none.
            photo: SHA-256 of the photo on screen; None if it is not known.

        Raises:
            UsageError: an unknown verdict, no annotator, or another decision's token.
        """
        if verdict not in VERDICTS or verdict == "redrawn":
            raise UsageError(f"{verdict!r} is not a verdict on a mask: choose accepted or rejected.")
        event = {"path": path, "verdict": verdict, "annotator": annotator, "token": token, "judged": judged}
        with self._transaction() as database:
            return _written_before(database, event) or _write(database, event, photo)

    def redraw(
        self,
        path: str,
        png: bytes,
        size: tuple[int, int],
        *,
        annotator: str,
        token: str,
        judged: str | None = None,
        photo: str | None = None,
    ) -> int:
        """Record a mask that somebody drew and return the decision's id; on disk when this returns.

        Args:
            path: the photo.
            png: the mask as a PNG, 0 to 255, white is object; colours count by their brightness.
            size: width and height of the photo.
            annotator: who drew.
            token: see ``decide``; a UUID, which names the file.
            judged: see ``decide``.
            photo: see ``decide``.

        Raises:
            UsageError: not a PNG, not of the photo's size, damaged, empty or full, or too large; no
                annotator, or another decision's token.
        """
        mask = f"{REDRAWN}/{token}.png"
        event = {"path": path, "verdict": "redrawn", "annotator": annotator, "token": token, "judged": judged}
        with self._transaction(writes=False) as database:
            written = _written_before(database, event)
        if written is not None:
            return written
        if not (self.folder / REDRAWN).resolve().is_relative_to(self.folder.resolve()):
            raise CounterGroundError(f"{self.folder / REDRAWN} is a link that leaves the folder: remove it.")
        write_bytes(self.folder / mask, _checked_mask(png, size))  # before the decision that names it
        with self._transaction() as database:
            return _written_before(database, event) or _write(database, event | {"mask": mask}, photo)

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
        with self._transaction() as database:
            row = _to_undo(database, annotator, token, of)
            if row is None:
                return None
            event = {"path": row[1], "verdict": None, "annotator": annotator, "token": token}
            if _written_before(database, event) is None:
                _write(database, event | {"undoes": row[0]})
            return self._decision(row)

    def last(self) -> int:
        """Return the id of the last event, 0 if there is none."""
        with self._transaction(writes=False) as database:
            return int(database.execute("SELECT coalesce(max(id), 0) FROM decision").fetchone()[0])

    def made_since(self, last: int) -> dict[str, int]:
        """Return how many decisions that stand each annotator made after the event with the id ``last``."""
        query = "SELECT annotator, count(*) FROM standing WHERE id > ? GROUP BY annotator"
        with self._transaction(writes=False) as database:
            return dict(database.execute(query, [last]).fetchall())

    def setting(self, name: str, default: Any = None) -> Any:
        """Return a setting of the review page (any JSON value), or ``default``."""
        with self._transaction(writes=False) as database:
            found = database.execute("SELECT value FROM setting WHERE name = ?", [name]).fetchone()
        return default if found is None else json.loads(found[0])

    def set_setting(self, name: str, value: Any) -> None:
        """Keep a setting."""
        with self._transaction() as database:
            _keep_setting(database, name, value)

    @contextmanager
    def _transaction(self, *, writes: bool = True, create: bool = False) -> Iterator[sqlite3.Connection]:
        """Yield a connection in one transaction: all of it is written, or nothing."""
        mode = "rwc" if create else "rw"
        address = f"{self._file.resolve().as_uri()}?mode={mode}"
        try:
            connected = sqlite3.connect(address, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
            with closing(connected) as database:
                for pragma in (
                    "synchronous = FULL",  # a decision survives a power cut
                    "foreign_keys = ON",
                ):
                    database.execute(f"PRAGMA {pragma}")
                # A transaction that writes takes the lock at once: later it would fail if another was faster.
                database.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
                try:
                    yield database
                    database.execute("COMMIT")
                except BaseException:
                    if database.in_transaction:
                        database.execute("ROLLBACK")
                    raise
        except UnicodeEncodeError as error:
            raise UsageError(f"A decision has a text that is not UTF-8: {error.object[:100]!r}.") from error
        except (sqlite3.Error, UnicodeDecodeError) as error:
            problem = database_problem(error)
            if problem is None and isinstance(error, sqlite3.IntegrityError):
                raise
            if problem is None:
                problem = f"it is damaged ({error_message(error)}). Restore the file from a backup."
            raise CounterGroundError(f"{self._file}: {problem}") from error

    def _check(self, database: sqlite3.Connection) -> None:
        application, version = (
            database.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if application != _APPLICATION:
            raise CounterGroundError(f"{self._file} does not hold decisions on masks: name another folder.")
        if version != _VERSION:
            raise CounterGroundError(
                f"{self._file} has version {version}, and this CounterGround reads version {_VERSION}: "
                "upgrade CounterGround."
            )

    def _decision(self, row: Any, photo: str | None = None) -> MaskDecision:
        """Return a row of ``standing``."""
        return replace(MaskDecision(*row[1:]), photo=photo and json.loads(photo))


def _make(database: sqlite3.Connection) -> None:
    for statement in _SCHEMA.values():
        database.execute(statement)
    database.execute(f"PRAGMA application_id = {_APPLICATION}")
    database.execute(f"PRAGMA user_version = {_VERSION}")


def _write(database: sqlite3.Connection, event: Mapping[str, Any], photo: str | None = None) -> int:
    if not str(event["annotator"]).strip():
        raise UsageError("A decision needs the name of its annotator.")
    texts = [photo, *(value for name, value in event.items() if name != "undoes")]
    if odd := [value for value in texts if not isinstance(value, str | None)]:
        raise UsageError(f"A decision has {odd[0]!r} in place of a text.")
    row = {"mask": None, "judged": None, "undoes": None, "at": _now(), **event}
    values = [row[name] for name in _COLUMNS]
    written = database.execute(
        "INSERT INTO decision (path, verdict, mask, judged, annotator, at, token, undoes) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        values,
    )
    if photo is not None:
        _keep_setting(database, f"{_PHOTO} {event['token']}", photo)
    return int(written.lastrowid or 0)


def _keep_setting(database: sqlite3.Connection, name: str, value: Any) -> None:
    row = (name, json.dumps(value, ensure_ascii=False))
    database.execute("INSERT OR REPLACE INTO setting VALUES (?, ?)", row)


def _written_before(database: sqlite3.Connection, event: Mapping[str, Any]) -> int | None:
    """Return the id of the event with this token, None if there is none.

    Raises:
        UsageError: the token belongs to another event.
    """
    query = "SELECT id, path, verdict, annotator FROM decision WHERE token = ?"
    found = database.execute(query, [event["token"]]).fetchone()
    if found is None:
        return None
    if found[1:] != (event["path"], event["verdict"], event["annotator"]):
        raise UsageError(f"The token {event['token']!r} belongs to the decision on {found[1]}.")
    return int(found[0])


def _to_undo(database: sqlite3.Connection, annotator: str, token: str, of: str | None) -> Any:
    """Return the row of the decision to undo, as in ``standing``; None if there is none."""
    one = (
        "SELECT id, path, verdict, mask, judged, annotator, at FROM decision WHERE undoes IS NULL AND id = ?"
    )
    sent_before = database.execute("SELECT undoes FROM decision WHERE token = ?", [token]).fetchone()
    if sent_before is not None and sent_before[0] is not None:
        return database.execute(one, sent_before).fetchone()
    if of is None:
        last = "SELECT * FROM standing WHERE annotator = ? ORDER BY id DESC LIMIT 1"
        return database.execute(last, [annotator]).fetchone()
    named = database.execute("SELECT id FROM decision WHERE token = ?", [of]).fetchone()
    row = named and database.execute(one, named).fetchone()
    if row is None:
        raise UsageError(f"There is no decision {of!r} to undo.")
    if row[5] != annotator:
        raise UsageError("Only its annotator can undo a decision.")
    if database.execute("SELECT 1 FROM decision WHERE undoes = ?", named).fetchone():
        raise UsageError("That decision was undone before.")
    return row


def _checked_mask(png: bytes, size: tuple[int, int]) -> bytes:
    """Return a mask that a page sent, encoded again: one channel, no metadata."""
    if len(png) > MOST_MASK_BYTES:
        raise UsageError(f"The mask is too long: {len(png):,} bytes, and {MOST_MASK_BYTES:,} at most.")
    try:
        image = Image.open(BytesIO(png), formats=["PNG"])
    except Exception as error:  # decoders raise all kinds of errors on untrusted bytes
        raise UsageError("The mask is not a PNG, or it is damaged.") from error
    if image.size != size:  # before anything is decoded: a small file may expand to gigabytes
        width, height = image.size
        raise UsageError(f"The mask has {width} x {height} pixels, and the photo {size[0]} x {size[1]}.")
    try:
        grey = image.convert("L")
    except Exception as error:
        raise UsageError("The mask is a damaged PNG.") from error
    inside = np.asarray(grey) >= OBJECT
    if not inside.any():
        raise UsageError("The mask is empty: it marks no object.")
    if inside.all():
        raise UsageError("The mask marks the whole photo: nothing of the background is left.")
    written = BytesIO()
    grey.save(written, "PNG", optimize=True)
    return written.getvalue()


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
