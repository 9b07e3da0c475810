"""What pages may send, and nothing else."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

_Token = Annotated[str, Field(pattern=r"^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$")]
_Text = Annotated[str, Field(min_length=1, max_length=1000)]
_Label = Annotated[str, Field(min_length=1, max_length=200)]
_Task = Literal["review", "background"]


class _Sent(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class Body(_Sent):
    """Every request says for whom its page was opened: another link may have been opened since."""

    annotator: _Text


class Next(Body):
    """Asks for photos beside those the page has."""

    task: _Task
    have: Annotated[list[_Text], Field(max_length=2000)]
    count: Annotated[int, Field(ge=0, le=20)]


class OfTask(Body):
    """Asks about a task."""

    task: _Task


class Suggestion(_Sent):
    """What was suggested on screen."""

    model: _Text
    label: _Label


class Decide(_Sent):
    """A decision."""

    kind: Literal["decide"]
    token: _Token
    task: _Task
    path: _Text
    labels: Annotated[list[_Label], Field(min_length=1, max_length=60)]
    seconds: Annotated[float | None, Field(ge=0, le=1e6)]
    suggestion: Suggestion | None = None
    settles: bool = False


class Undo(_Sent):
    """Takes back a decision, by token or id; None is the last one."""

    kind: Literal["undo"]
    token: _Token
    task: _Task
    of: _Text | Annotated[int, Field(ge=1, lt=2**63)] | None


class Events(Body):
    """Decisions and undos in the order in which they were made; each is looked at on its own."""

    events: Annotated[list[dict[str, Any]], Field(max_length=200)]


class Labels(Body):
    """A new label space in place of the one that the page shows."""

    before: list[str]
    labels: list[str]
    meanings: dict[str, Annotated[str, Field(max_length=200)]]


class Guidance(Body):
    """A new guidance text for a class in place of the one that the page shows."""

    class_name: _Text
    before: str
    text: Annotated[str, Field(max_length=2000)]


Event: TypeAdapter[Decide | Undo] = TypeAdapter(Annotated[Decide | Undo, Field(discriminator="kind")])
