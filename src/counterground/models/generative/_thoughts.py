"""What reasoning models write between tags before they answer: the names in it are those they consider."""

from __future__ import annotations

import re

# As Qwen, DeepSeek, GLM and others write them, and Kimi.
_OPENING, _CLOSING = r"(?:<think(?:ing)?>|◁think▷)", r"(?:</think(?:ing)?>|◁/think▷)"
_OPENED, _CLOSED = re.compile(_OPENING, re.IGNORECASE), re.compile(_CLOSING, re.IGNORECASE)
_THOUGHTS = re.compile(f"{_OPENING}.*?{_CLOSING}", re.IGNORECASE | re.DOTALL)


def without_thoughts(answer: str) -> str:
    """Return an answer without its thoughts: nothing if these do not end.

    The tag that opens them may be missing, since it may stand at the end of the prompt.
    """
    rest = _CLOSED.split(_THOUGHTS.sub(" ", answer))[-1]
    return _OPENED.split(rest)[0]


def opens_thoughts(prompt: str) -> bool:
    """Whether a prompt ends within thoughts, so that what follows is no answer yet."""
    return bool(_OPENED.search(_CLOSED.split(prompt)[-1]))
