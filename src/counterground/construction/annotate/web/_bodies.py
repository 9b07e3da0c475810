"""What all pages send: typed JSON bodies, and events that are recorded one by one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from counterground.errors import UsageError, first_problem

Token = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
Text = Annotated[str, Field(min_length=1, max_length=1000)]


class Sent(BaseModel):
    """A part of a body: only its own fields, each of exactly its type."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Body(Sent):
    """A body, which names the annotator and the pool its page was opened for.

    Another link may have been opened since, or a server of another pool have taken the port. A page of an
    earlier version names no pool.
    """

    annotator: Text
    pool: str | None = None


class Events(Body):
    """Decisions and undos in the order they were made; each is checked on its own."""

    events: Annotated[list[dict[str, Any]], Field(max_length=200)]


def record_each(
    events: Sequence[dict[str, Any]], record: Callable[[dict[str, Any]], dict[str, Any]]
) -> list[dict[str, Any]]:
    """Record events in order and return an answer to each; a refused one does not block the others.

    Args:
        events: events as sent.
        record: function that checks and records an event and returns the answer to it; it raises
            ``ValidationError`` or ``UsageError`` to refuse.
    """
    return [_result(raw, record) for raw in events]


def _result(raw: dict[str, Any], record: Callable[[dict[str, Any]], dict[str, Any]]) -> dict[str, Any]:
    token = str(raw.get("token"))
    try:
        return {"token": token, "ok": True} | record(raw)
    except ValidationError as error:
        return {"token": token, "ok": False, "error": f"{first_problem(error)}."}
    except UsageError as error:
        return {"token": token, "ok": False, "error": str(error)}
