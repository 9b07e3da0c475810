"""What reasoning models write between tags before they answer; names in it are considered, not answered."""

from __future__ import annotations

import re

# As Qwen, DeepSeek, GLM and others write them, and Kimi.
_TAG = re.compile(r"<(/?)think(?:ing)?>|◁(/?)think▷", re.IGNORECASE)


def without_thoughts(answer: str) -> str:
    """Return an answer without its thoughts: nothing if these do not end.

    The tag that opens them may be missing, since it may stand at the end of the prompt.
    """
    parts: list[str] = []
    end, thinks = 0, False
    for tag in _TAG.finditer(answer):
        if tag[1] or tag[2]:
            if not thinks:
                parts.clear()
            end, thinks = tag.end(), False
        elif not thinks:
            parts.append(answer[end : tag.start()])
            thinks = True
    return " ".join(parts if thinks else [*parts, answer[end:]])


def opens_thoughts(prompt: str) -> bool:
    """Whether a prompt ends within thoughts, so that what follows is no answer yet."""
    tags = [bool(tag[1] or tag[2]) for tag in _TAG.finditer(prompt)]
    return bool(tags) and not tags[-1]
