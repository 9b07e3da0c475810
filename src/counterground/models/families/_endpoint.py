"""``http:`` and ``https:``: a model behind an HTTP API that speaks the OpenAI chat protocol with images."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import threading
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from pydantic import BaseModel, Field, ValidationError

from counterground.errors import CounterGroundError, UsageError, first_problem, needs_extra
from counterground.http import (
    SECRET_NAME,
    Client,
    FetchError,
    RequestLimits,
    is_local,
    keep_secret,
    masked,
    retry_pause,
    user_agent,
)
from counterground.models._base import (
    MOST_AT_ONCE,
    Family,
    Generative,
    LoadOptions,
    opens_thoughts,
    read_options,
)
from counterground.models._fingerprint import combine
from counterground.settings import Protocol

if TYPE_CHECKING:
    from PIL import Image
    from tenacity import RetryCallState


API_KEY = "COUNTERGROUND_API_KEY"
# Hosts that have a variable of their own, read if ours is not set: their key goes to no other host, and never
# unencrypted.
_VENDOR_KEYS = {"https://api.openai.com": "OPENAI_API_KEY"}
_PROTOCOLS: frozenset[Protocol] = frozenset({"free-form", "yes-no", "multiple-choice"})
_LONGEST_SIDE = 2048
_SENT = f"JPEG, quality 95, no chroma subsampling, longest side {_LONGEST_SIDE} pixels at most"
_OPTIONS = ("jobs", "timeout", "retries", "key")
_PLAIN_QUERY = {"api-version"}
# Prefixes of keys, long and with digits, as few names of models are; a word for a key; a long mix of letters.
_KEY = re.compile(
    r"^(sk|gsk|xai|nvapi|ghp)[-_](?=\S*[0-9])\S{16}"
    r"|^hf_(?=\S*[A-Z0-9])[A-Za-z0-9]{10}|^AIza\S{16}"
    r"|^(x[-_])?(?i:api[-_]?key|secret)(?![a-z])"
    r"|^(?i:key|token|bearer)([=:]|[-_](?=\S*[0-9])\S{16})"
    r"|^(?=.*[a-z])(?=.*[A-Z])(?=.*[0-9])[A-Za-z0-9]{20,}$"
)
FIRST_WAIT = 1.0
_LONGEST_WAIT = 60.0
_LARGEST_ANSWER = 4 * 2**20
# Codes by which OpenAI and Azure report that their filter refused a request or an answer.
_FILTERS = frozenset({"content_filter", "content_policy_violation", "ResponsibleAIPolicyViolation"})
_KEPT = "Answers so far are kept; the same command continues from there"


class _TransientError(Exception):
    """The call failed and may succeed later; ``wait`` is the pause the server requested, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Endpoint(Generative):
    """A model behind an HTTP API; safe to call from several threads.

    Its weights cannot be seen, so its fingerprint is its name and address. The key is sent as a bearer token;
    it is never part of a message, nor of an answer that repeats it.
    """

    protocols = _PROTOCOLS

    def __init__(self, spec: str, options: LoadOptions) -> None:
        self._source = source = find_endpoint(spec)
        if options.offline and not is_local(source.url):
            raise CounterGroundError(f"{spec} is on another machine, and --offline forbids calling it.")
        with needs_extra("web"):
            import requests  # noqa: F401 - one clear line before anything else
        self.spec, self.device, self.dtype = spec, "remote", options.precision
        self.concurrency = source.jobs
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        key = os.environ.get(source.key, "").strip()  # one read from a file often ends in a line break
        if not (key.isascii() and key.isprintable()):
            raise UsageError(f"{source.key} contains characters that a key cannot have; set it again.")
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
            keep_secret(key)
        self._client = Client(user_agent(), RequestLimits(source.timeout, source.timeout, _LARGEST_ANSWER))
        self._stopped = threading.Event()
        self._request = {"model": source.model, "temperature": 0}
        warnings = [
            "The model behind this address can change without notice, and no fingerprint would show it."
        ]
        if key and source.url.startswith("http:") and not is_local(source.url):
            warnings.append("The key and the photos travel unencrypted, since the address begins with http:.")
        # Libraries and jobs are left out: answers that were paid for stay valid after an update.
        self.fingerprint = combine(url=source.url, request=self._request, sent=_SENT)
        self.description = {
            "architecture": source.model,
            "weights": f"behind {source.url}",
            "training_data": None,
            "parameters": None,
            "preprocessing": _SENT,
            "request": self._request,
            "chat_template": "the server's own",
            "api_key": f"from {source.key}" if key else "none",
            "jobs": source.jobs,
            "timeout_seconds": source.timeout,
            "retries": source.retries,
            "libraries": {},
            "warnings": warnings,
        }

    def generate(self, image: Image.Image, question: str, *, max_new_tokens: int) -> str:
        """Return the text of the answer, empty if the server's content filter refused the request.

        Raises:
            CounterGroundError: the server rejects the request or keeps failing, or the answer is unfinished.
        """
        from tenacity import (
            Retrying,
            retry_if_exception_type,
            sleep_using_event,
            stop_after_attempt,
        )

        content = [
            {"type": "image_url", "image_url": {"url": _data_url(image)}},
            {"type": "text", "text": question},
        ]
        body = {
            **self._request,
            "max_tokens": max_new_tokens,
            "messages": [{"role": "user", "content": content}],
        }
        attempts = self._source.retries + 1
        retrying = Retrying(
            stop=stop_after_attempt(attempts),
            retry=retry_if_exception_type(_TransientError),
            wait=_pause,
            sleep=sleep_using_event(self._stopped),
            reraise=True,
        )
        try:
            return retrying(self._call, json.dumps(body).encode())
        except _TransientError as error:
            raise CounterGroundError(
                f"{self.spec}: {error}, {attempts} times in a row. {_KEPT}, or raise retries=."
            ) from error

    def stop(self) -> None:
        self._stopped.set()

    def _call(self, data: bytes) -> str:
        if self._stopped.is_set():
            raise CounterGroundError(f"{self.spec}: stopped. {_KEPT}.")
        try:  # a redirected call would carry its key to another host
            answer = self._client.fetch(
                self._source.url, method="POST", follow=False, data=data, headers=self._headers
            )
        except FetchError as error:
            status, excerpt = error.status or 0, _excerpt(error.excerpt)
            if status in (400, 403) and _is_filtered(error.excerpt):
                return ""
            if error.again or not status:
                raise _TransientError(f"{error.reason}{excerpt}", error.wait) from error
            remedy = {
                401: f" Set {self._source.key}.",
                403: f" Check {self._source.key} and what it may use.",
                404: " Check the address and the model's name.",
            }.get(status, " Give that address if you trust it." if 300 <= status < 400 else "")
            raise CounterGroundError(
                f"{self.spec}: {masked(error.reason)}{excerpt}.{remedy} {_KEPT}."
            ) from error
        return _text(self.spec, answer.body)


def _pause(state: RetryCallState) -> float:
    error = state.outcome and state.outcome.exception()
    wait = error.wait if isinstance(error, _TransientError) else None
    return min(retry_pause(state.attempt_number, FIRST_WAIT, _LONGEST_WAIT, wait), _LONGEST_WAIT)


def _is_filtered(body: bytes) -> bool:
    """Whether the body of an error says that a content filter refused the request."""
    try:
        error = json.loads(body)["error"]
        codes = [error.get("code"), (error.get("innererror") or {}).get("code")]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        return False
    return any(isinstance(code, str) and code in _FILTERS for code in codes)


def _text(spec: str, body: bytes) -> str:
    """Return the text of a chat completion; a body without one may be a transient fault.

    A refusal is an answer, and so is one that the server's filter emptied: another attempt would not help.

    Raises:
        _TransientError: there is none.
        CounterGroundError: the model spent all of its tokens before it answered.
    """
    try:
        choice = json.loads(body)["choices"][0]
        content, refusal = choice["message"]["content"], choice["message"].get("refusal")
        ended = choice.get("finish_reason")
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise _TransientError(f"an answer that is not a chat completion{_excerpt(body)}") from error
    if isinstance(content, list):  # some servers answer in parts
        content = "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    if not content and isinstance(refusal, str):
        content = refusal
    if content is None and ended == "content_filter":
        content = ""
    if ended == "length" and (not content or opens_thoughts(str(content))):
        raise CounterGroundError(
            f"{spec}: the model spent all tokens of its answer on reasoning; switch reasoning off at the "
            f"server, or use a model that answers at once. {_KEPT}."
        )
    if not isinstance(content, str):
        raise _TransientError(f"a chat completion without text{_excerpt(body)}")
    return masked(content.strip())


def _excerpt(body: bytes) -> str:
    text = masked(" ".join(body[:4096].decode("utf-8", errors="replace").split()))
    return f" ({text[:160]})" if text else ""


class EndpointSource(BaseModel):
    """``URL#MODEL?OPTIONS``, parsed; ``url`` ends in ``/chat/completions``, ``key`` is a variable's name."""

    url: str
    model: str
    key: str
    jobs: int = Field(4, ge=1, le=MOST_AT_ONCE)
    timeout: float = Field(120.0, ge=0.01, le=1e6)
    retries: int = Field(5, ge=0, le=1e6)


def find_endpoint(spec: str) -> EndpointSource:
    """Return what ``http://HOST/v1#MODEL[?OPTIONS]`` names; nothing is called.

    Options, joined by ``&``: ``jobs=4`` photos at once, ``timeout=120`` seconds, ``retries=5`` and
    ``key=VARIABLE``, the environment variable that holds the key.

    Raises:
        UsageError: no host or no model is named, an unknown option, or a password or key in the address.
    """
    address, _, fragment = spec.partition("#")
    model, _, query = fragment.partition("?")
    try:
        parts = urlsplit(address)
        known = bool(parts.hostname) and (parts.port is None or parts.port > 0)
        known = known and address.isascii() and not any(letter.isspace() for letter in address)
    except ValueError:
        known = False
    if not known or not model:
        raise UsageError(
            f"{spec}: write the address up to /v1 and the model's name there: https://HOST/v1#MODEL."
        )
    if parts.username or parts.password:
        raise UsageError(
            f"The address {parts.hostname} contains a user name or a password, which would be kept in the "
            f"run. Put the key into the environment variable {API_KEY} instead."
        )
    if secret := _secret_part(parts.path, parts.query):
        raise UsageError(
            f"The address {parts.hostname} contains {secret}, which would be kept in the run. Put a key into "
            f"the environment variable {API_KEY} instead; it is sent as a bearer token."
        )
    options = read_options(spec, query, _OPTIONS)
    path = parts.path.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
    key = _key_variable(options.pop("key", None), f"{parts.scheme}://{parts.hostname}")
    url = urlunsplit((parts.scheme, parts.netloc, path, parts.query, ""))
    try:
        return EndpointSource(url=url, model=model, key=key, **options)  # type: ignore[arg-type]
    except ValidationError as error:
        raise UsageError(f"{spec}: {first_problem(error)}.") from error


def _secret_part(path: str, query: str) -> str:
    """Return which part of an address may be a key, without repeating it; empty if none may."""
    others = [
        name for name, _ in parse_qsl(query, keep_blank_values=True) if name.lower() not in _PLAIN_QUERY
    ]
    if others or (query and not parse_qsl(query)):
        return "a query besides api-version"
    known = {value for name, value in os.environ.items() if SECRET_NAME.search(name) and len(value) >= 8}
    if any(value in path for value in known) or any(map(_KEY.search, path.split("/"))):
        return "what looks like a key in its path"
    return ""


def _key_variable(given: str | None, server: str) -> str:
    """Return the environment variable of the key; one that was named must be set."""
    if given is None:
        return API_KEY if os.environ.get(API_KEY) else _VENDOR_KEYS.get(server, API_KEY)
    if not os.environ.get(given):
        raise UsageError(
            "key= must name an environment variable that is set, as in key=OPENAI_API_KEY; never write the "
            "key itself into the address."
        )
    return given


def _data_url(image: Image.Image) -> str:
    from PIL import Image as Pillow

    image = image.convert("RGB")
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Pillow.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


ENDPOINT = Family(
    prefix="http",
    usage="http://HOST/v1#MODEL",
    claims=lambda spec: spec.startswith(("http:", "https:")) and bool(spec.partition(":")[2].strip("/")),
    resolve=find_endpoint,
    load=Endpoint,
    kind=lambda _spec: "generative",
)
