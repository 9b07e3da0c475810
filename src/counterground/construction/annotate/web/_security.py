"""Access: one-time links and sessions, the checks of each request, and the headers of each response."""

from __future__ import annotations

import ipaddress
import json
import secrets
import threading
from collections.abc import Callable, Mapping, Sequence

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 1 << 20
_SHORT = 16 << 20
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_NEEDS_TLS = "Cross-Origin-Opener-Policy"
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    _NEEDS_TLS: "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class SecurityMiddleware:
    """Accepts only requests that a page of this server may have made.

    Another site can make a browser send requests here, even under a name of its own that it points to this
    machine (DNS rebinding). So every request must name our host: one of ``hosts``, or the exact address it
    came to, which no name can match. A request that changes anything must also say that it comes from our
    pages, and carry JSON, which no form on another site can send.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: frozenset[str],
        fail: Callable[[Exception], None],
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._app = app
        self._most_bytes = most_bytes
        self._hosts = hosts
        self._fail = fail

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = False

        async def sending(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers[name] = value
                if not ipaddress.ip_address(scope["server"][0]).is_loopback:
                    del headers[_NEEDS_TLS]  # elsewhere browsers ignore it without TLS, and complain
            await send(message)

        hosts = self._hosts | {"{}:{}".format(*scope["server"])}
        refusal = _refusal(scope["method"], Headers(scope=scope), hosts, self._most_bytes)
        if refusal is not None:
            allowed = b"POST" if scope["path"].startswith("/api/") else b"GET, HEAD"
            await _answer(sending, *refusal, allowed=allowed, close=not _is_short(Headers(scope=scope)))
            return
        try:
            await self._app(scope, receive, sending)
        except ClientDisconnect:
            return  # the client has left, or its request took too long to arrive
        except Exception as error:  # whatever it is, the server keeps running and reports it in one line
            self._fail(error)
            if not started:
                await _answer(sending, 500, "The server failed; see the terminal.")


def _refusal(
    method: str, headers: Mapping[str, str], hosts: frozenset[str], most_bytes: int
) -> tuple[int, str] | None:
    """Return the status and the reason of the first problem with a request."""
    host = headers.get("host", "")
    length = headers.get("content-length", "")
    counted = length.isascii() and length.isdigit()
    ours = headers.get("origin") == f"http://{host}"
    ours = ours and headers.get("sec-fetch-site", "same-origin") == "same-origin"
    json_only = headers.get("content-type", "").split(";")[0].strip().lower() == "application/json"
    reads, posts = method in {"GET", "HEAD"}, method == "POST"
    wrong = (
        (host not in hosts, 403, "This server answers only under its own address."),
        (not reads and not posts, 405, "This server does not support that method."),
        (posts and not ours, 403, "This request does not come from a page of this server."),
        (posts and not json_only, 415, "Only JSON is accepted."),
        (posts and not counted, 411, "The request does not state its length."),
        (
            posts and counted and (len(length) > 9 or int(length) > most_bytes),
            413,
            "The request is too long.",
        ),
    )
    return next(((status, reason) for is_wrong, status, reason in wrong if is_wrong), None)


def _is_short(headers: Mapping[str, str]) -> bool:
    """Return whether a refused body is short enough to receive; the rest of a longer one is not awaited."""
    length = headers.get("content-length", "0")
    stated = length.isascii() and length.isdigit() and len(length) < 9 and "transfer-encoding" not in headers
    return stated and int(length) <= _SHORT


async def _answer(send: Send, status: int, error: str, *, allowed: bytes = b"", close: bool = False) -> None:
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    headers += [(b"connection", b"close")] if close else []
    headers += [(b"allow", allowed)] if status == 405 else []
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class UsedLink(Exception):  # noqa: N818 - not a failure: somebody opened a link twice
    """The link was opened before; ``annotator`` is the one it was made for."""

    def __init__(self, annotator: str) -> None:
        super().__init__(annotator)
        self.annotator = annotator


class Sessions:
    """Links and sessions of annotators. A link opens one session, then is void; none of this is on disk."""

    def __init__(self, annotators: Sequence[str]) -> None:
        self.annotators = tuple(annotators)
        self._open: dict[str, str] = {}  # unused link token -> annotator
        self._used: dict[str, str] = {}
        self._sessions: dict[str, str] = {}  # cookie -> annotator
        self._lock = threading.Lock()

    def new_token(self, annotator: str) -> str:
        """Return the token of the annotator's unopened link, made if there is none."""
        with self._lock:
            for token, owner in self._open.items():
                if owner == annotator:
                    return token
            token = secrets.token_urlsafe(24)
            self._open[token] = annotator
            return token

    def enter(self, token: str) -> str | None:
        """Open a session for a token and return its cookie; None if the token is unknown.

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
        """Return the annotator whose session it is."""
        return self._sessions.get(cookie or "")
