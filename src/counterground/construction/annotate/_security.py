"""What every request passes before anything of ours sees it, and what every answer carries."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

MOST_BYTES = 1 << 20
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Guard:
    """Lets requests through that a page of this server may have made.

    Another site can make a browser send requests here, even under a name of its own that it points to this
    machine (DNS rebinding). So the host must be ours in every request; what changes anything must say that it
    comes from our pages and carry JSON, which no form of another site can send.
    """

    def __init__(self, app: ASGIApp, *, hosts: frozenset[str], fail: Callable[[Exception], None]) -> None:
        self._app = app
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
            await send(message)

        refusal = _refusal(scope["method"], Headers(scope=scope), self._hosts)
        if refusal is not None:
            await _answer(sending, *refusal)
            return
        try:
            await self._app(scope, receive, sending)
        except Exception as error:  # whatever it is, the server goes on and says so in one line
            self._fail(error)
            if not started:
                await _answer(sending, 500, "The server failed; the terminal says more.")


def _refusal(method: str, headers: Mapping[str, str], hosts: frozenset[str]) -> tuple[int, str] | None:
    """Return the status and the reason of the first thing that is wrong with a request."""
    host = headers.get("host", "")
    length = headers.get("content-length", "")
    counted = length.isascii() and length.isdigit()
    ours = headers.get("origin") == f"http://{host}"
    ours = ours and headers.get("sec-fetch-site", "same-origin") == "same-origin"
    json_only = headers.get("content-type", "").split(";")[0].strip().lower() == "application/json"
    reads, posts = method in {"GET", "HEAD"}, method == "POST"
    wrong = (
        (host not in hosts, 403, "This server answers under its own address only."),
        (not reads and not posts, 405, "This is no method of this server."),
        (posts and not ours, 403, "This request does not come from a page of this server."),
        (posts and not json_only, 415, "Only JSON is taken."),
        (posts and not counted, 411, "The request does not say how long it is."),
        (
            posts and counted and (len(length) > 9 or int(length) > MOST_BYTES),
            413,
            "The request is too long.",
        ),
    )
    return next(((status, reason) for is_wrong, status, reason in wrong if is_wrong), None)


async def _answer(send: Send, status: int, error: str) -> None:
    body = json.dumps({"error": error}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
