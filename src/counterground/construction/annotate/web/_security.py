"""Access: a link for each annotator, the checks of each request, and the headers of each response."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 1 << 20
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


class SecurityMiddleware:
    """Accepts only requests that a page of this server may have made.

    Another site can make a browser send requests here, even under a name of its own that it points to this
    machine (DNS rebinding). So every request must name one of ``hosts``, and one that changes anything must
    also come from our pages and carry JSON, which no form on another site can send.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: frozenset[str], fail: Callable[[Exception], None], most_bytes: int
    ) -> None:
        self._app, self._hosts, self._fail, self._most_bytes = app, hosts, fail, most_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(_HEADERS)
            await send(message)

        refusal = self._refusal(scope["method"], Headers(scope=scope))
        if refusal is not None:
            await JSONResponse({"error": refusal[1]}, refusal[0])(scope, receive, sending)
            return
        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            return
        except Exception as error:  # it was answered; the server keeps running and reports it in one line
            self._fail(error)

    def _refusal(self, method: str, headers: Mapping[str, str]) -> tuple[int, str] | None:
        """Return the status and the reason of the first problem with a request."""
        host, length = headers.get("host", ""), headers.get("content-length", "")
        if host not in self._hosts:
            return 403, "This server answers only under its own address."
        if method in ("GET", "HEAD"):
            return None
        if headers.get("origin") != f"http://{host}":
            return 403, "This request does not come from a page of this server."
        if headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
            return 415, "Only JSON is accepted."
        if not (
            length.isascii() and length.isdigit() and len(length) < 10 and int(length) <= self._most_bytes
        ):
            return 413, "The request is too long, or does not state its length."
        return None


class Sessions:
    """The annotators, each with a token: it is in the link, then in the cookie of the browser."""

    def __init__(self, annotators: Sequence[str]) -> None:
        self.annotators = tuple(annotators)
        self._owners = {secrets.token_urlsafe(24): annotator for annotator in annotators}

    def token(self, annotator: str) -> str:
        """Return the token of an annotator."""
        return next(token for token, owner in self._owners.items() if owner == annotator)

    def annotator(self, token: str | None) -> str | None:
        """Return the annotator whose token it is, None if it is nobody's."""
        return self._owners.get(token or "")
