"""One-time links, and the sessions they open."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence


class UsedLink(Exception):  # noqa: N818 - not a failure: somebody opened a link twice
    """The link was opened before; ``annotator`` says whose it was."""

    def __init__(self, annotator: str) -> None:
        super().__init__(annotator)
        self.annotator = annotator


class Sessions:
    """Who may come in. A link opens one session and is worth nothing afterwards; nothing of it is on disk."""

    def __init__(self, annotators: Sequence[str]) -> None:
        self.annotators = tuple(annotators)
        self._open: dict[str, str] = {}  # unused link token -> annotator
        self._used: dict[str, str] = {}
        self._sessions: dict[str, str] = {}  # cookie -> annotator
        self._lock = threading.Lock()

    def new_token(self, annotator: str) -> str:
        """Return the token of a link that was not opened yet, made where the annotator has none."""
        with self._lock:
            for token, owner in self._open.items():
                if owner == annotator:
                    return token
            token = secrets.token_urlsafe(24)
            self._open[token] = annotator
            return token

    def enter(self, token: str) -> str | None:
        """Open a session for a token and return its cookie; None: nobody's token.

        Raises:
            UsedLink: the token was used before.
        """
        with self._lock:
            if token in self._used:
                raise UsedLink(self._used[token])
            annotator = self._open.pop(token, None)
            if annotator is None:
                return None
            self._used[token] = annotator
            cookie = secrets.token_urlsafe(32)
            self._sessions[cookie] = annotator
            return cookie

    def annotator(self, cookie: str | None) -> str | None:
        """Return whose session it is."""
        return self._sessions.get(cookie or "")
