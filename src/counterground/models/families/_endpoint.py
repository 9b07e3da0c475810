"""``http:`` and ``https:``: a model behind an HTTP API that speaks the OpenAI chat protocol with images."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from counterground.errors import CounterGroundError, UsageError, needs_extra
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
_OPTIONS = {"jobs": 4.0, "timeout": 120.0, "retries": 5.0, "price": None}
_PLAIN_QUERY = {"api-version"}
# Prefixes of keys, long and with digits, as few names of models are; or a word for a key.
_KEY = re.compile(
    r"^(sk|gsk|xai|nvapi|ghp)[-_](?=\S*[0-9])\S{16}"
    r"|^hf_(?=\S*[A-Z0-9])[A-Za-z0-9]{10}|^AIza\S{16}"
    r"|^(x[-_])?(?i:api[-_]?key|secret)(?![a-z])"
    r"|^(?i:key|token|bearer)([=:]|[-_](?=\S*[0-9])\S{16})"
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


class _FilteredError(Exception):
    """The server's content filter refused the photo or the question; another attempt would fail, too."""


class _UnfinishedError(Exception):
    """The answer ends before the model says anything; another attempt would fail, too."""


class Caller:
    """Posts chat requests to one address; safe to use from several threads.

    Args:
        source: the address, and for how long and how often it is asked.
        key: API key, sent as a bearer token; never part of a message, nor of an answer that repeats it.
    """

    def __init__(self, source: EndpointSource, key: str | None) -> None:
        self._source = source
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if key:
            self._headers["Authorization"] = f"Bearer {key}"
            keep_secret(key)
        self._client = Client(user_agent(), RequestLimits(source.timeout, source.timeout, _LARGEST_ANSWER))
        self._stopped = threading.Event()

    def call(self, body: dict[str, Any]) -> str:
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

        retrying = Retrying(
            stop=stop_after_attempt(self._source.retries + 1),
            retry=retry_if_exception_type(_TransientError),
            wait=_pause,
            sleep=sleep_using_event(self._stopped),
            reraise=True,
        )
        try:
            return retrying(self._once, json.dumps(body).encode())
        except _FilteredError:
            return ""
        except _UnfinishedError as error:
            raise CounterGroundError(f"{self._source.spec}: {error}. {_KEPT}.") from error
        except _TransientError as error:
            repeated = f", {self._source.retries + 1} times in a row" if self._source.retries else ""
            raise CounterGroundError(
                f"{self._source.spec}: {error}{repeated}. {_KEPT}, or raise retries=."
            ) from error

    def stop(self) -> None:
        """Stop calls that wait for another attempt."""
        self._stopped.set()

    def _once(self, data: bytes) -> str:
        if self._stopped.is_set():
            raise CounterGroundError(f"{self._source.spec}: stopped. {_KEPT}.")
        try:  # a redirected call would carry its key to another host
            answer = self._client.fetch(
                self._source.url, method="POST", follow=False, data=data, headers=self._headers
            )
        except FetchError as error:
            if error.status in (400, 403) and _is_filtered(error.excerpt):
                raise _FilteredError from error
            excerpt = _excerpt(error.excerpt)
            if error.again or error.status is None:
                raise _TransientError(f"{error.reason}{excerpt}", error.wait) from error
            raise CounterGroundError(self._rejected(error, excerpt)) from error
        return _text(answer.body)

    def _rejected(self, error: FetchError, excerpt: str) -> str:
        remedy = {
            401: f" Set {self._source.key}.",
            403: f" Check {self._source.key} and what it may use.",
            404: " Check the address and the model's name.",
        }.get(error.status or 0, "")
        if 300 <= (error.status or 0) < 400:
            remedy = " Give that address if you trust it."
        return f"{self._source.spec}: {masked(error.reason)}{excerpt}.{remedy} {_KEPT}."


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


def _text(body: bytes) -> str:
    """Return the text of a chat completion; a body without one may be a transient fault.

    A refusal is an answer, and so is one that the server's filter emptied: another attempt would not help.

    Raises:
        _TransientError: there is none.
        _UnfinishedError: the model spent all of its tokens before it answered.
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
        raise _UnfinishedError(
            "the model spent all tokens of its answer on reasoning; switch reasoning off at the server, or "
            "use a model that answers at once"
        )
    if not isinstance(content, str):
        raise _TransientError(f"a chat completion without text{_excerpt(body)}")
    return masked(content.strip())


def _excerpt(body: bytes) -> str:
    text = masked(" ".join(body[:4096].decode("utf-8", errors="replace").split()))
    return f" ({text[:160]})" if text else ""


@dataclass(frozen=True)
class EndpointSource:
    """``URL#MODEL?OPTIONS``, parsed; ``url`` ends in ``/chat/completions``, ``key`` is a variable's name."""

    spec: str
    url: str
    model: str
    jobs: int
    timeout: float
    retries: int
    price: float | None
    key: str


def find_endpoint(spec: str) -> EndpointSource:
    """Return what ``http://HOST/v1#MODEL[?OPTIONS]`` names; nothing is called.

    Options, joined by ``&``: ``jobs=4`` photos at once, ``timeout=120`` seconds, ``retries=5``,
    ``price=0.002`` for one call and ``key=VARIABLE``, the environment variable that holds the key.

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
    options = _options(spec, query)
    path = parts.path.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
    return EndpointSource(
        spec,
        urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")),
        model,
        jobs=int(options["jobs"]),
        timeout=options["timeout"],
        retries=int(options["retries"]),
        price=options["price"],
        key=_key_variable(options["key"], f"{parts.scheme}://{parts.hostname}"),
    )


def load_endpoint(spec: str, options: LoadOptions) -> Generative:
    """Prepare to call a model behind an HTTP API; nothing is called yet.

    Raises:
        UsageError: see `find_endpoint`.
        CounterGroundError: ``offline`` is set, and the address is another machine's.
    """
    source = find_endpoint(spec)
    if options.offline and not is_local(source.url):
        raise CounterGroundError(f"{spec} is on another machine, and --offline forbids calling it.")
    with needs_extra("web"):
        import requests  # noqa: F401 - one clear line before anything else
    return Endpoint(source, options)


class Endpoint(Generative):
    """A model behind an HTTP API. Its weights cannot be seen, so its fingerprint is its name and address."""

    protocols = _PROTOCOLS

    def __init__(self, source: EndpointSource, options: LoadOptions) -> None:
        self.spec, self.device, self.dtype = source.spec, "remote", options.precision
        self.concurrency, self.price = source.jobs, source.price
        key = _key(source.key)
        self._caller = Caller(source, key)
        self._request = {"model": source.model, "temperature": 0}
        # Libraries, jobs and price are left out: answers that were paid for stay valid after an update.
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
            "price_per_call": source.price,
            "libraries": {},
            "warnings": [
                "The model behind this address can change without notice, and no fingerprint would show it.",
                *_unsafe(source, key),
            ],
        }

    def generate(self, image: Image.Image, question: str, *, max_new_tokens: int) -> str:
        content = [
            {"type": "image_url", "image_url": {"url": _data_url(image)}},
            {"type": "text", "text": question},
        ]
        body = {
            **self._request,
            "max_tokens": max_new_tokens,
            "messages": [{"role": "user", "content": content}],
        }
        return self._caller.call(body)

    def stop(self) -> None:
        self._caller.stop()


def _secret_part(path: str, query: str) -> str:
    """Return which part of an address may be a key, without repeating it; empty if none may."""
    others = [
        name for name, _ in parse_qsl(query, keep_blank_values=True) if name.lower() not in _PLAIN_QUERY
    ]
    if others or (query and not parse_qsl(query)):
        return "a query besides api-version"
    known = {value for name, value in os.environ.items() if SECRET_NAME.search(name) and len(value) >= 8}
    if any(value in path for value in known) or any(map(_looks_like_a_key, path.split("/"))):
        return "what looks like a key in its path"
    return ""


def _looks_like_a_key(part: str) -> bool:
    """Whether part of a path begins like a key, is named like one, or is long and mixes cases and digits."""
    mixed = all(re.search(kind, part) for kind in ("[a-z]", "[A-Z]", "[0-9]"))
    return bool(_KEY.search(part)) or (len(part) >= 20 and part.isalnum() and mixed)


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


def _key(variable: str) -> str | None:
    """Return the key from the environment, without the line break that one read from a file often ends in."""
    key = os.environ.get(variable, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"{variable} contains characters that a key cannot have; set it again.")
    return key or None


def _options(spec: str, query: str) -> dict[str, Any]:
    given = read_options(spec, query, (*_OPTIONS, "key"))
    options: dict[str, Any] = {**_OPTIONS, "key": given.pop("key", None)}
    for name, value in given.items():
        lowest, highest = {"jobs": (1, MOST_AT_ONCE), "timeout": (0.01, 1e6)}.get(name, (0, 1e6))
        try:
            options[name] = float(value or "")
        except ValueError:
            options[name] = -1.0
        whole = name in ("jobs", "retries")
        if not lowest <= options[name] <= highest or (whole and options[name] != int(options[name])):
            raise UsageError(
                f"{spec}: {name} must be a {'whole ' if whole else ''}number from {lowest} to "
                f"{highest:,.0f}, not {value!r}."
            )
    return options


def _unsafe(source: EndpointSource, key: str | None) -> list[str]:
    if key and source.url.startswith("http:") and not is_local(source.url):
        return ["The key and the photos travel unencrypted, since the address begins with http:."]
    return []


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
    load=load_endpoint,
    kind=lambda _spec: "generative",
)
