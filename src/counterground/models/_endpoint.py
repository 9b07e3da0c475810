"""``http:`` and ``https:``: a model behind an address that speaks the OpenAI chat protocol with images."""

from __future__ import annotations

import base64
import io
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from counterground.errors import CounterGroundError, UsageError, did_you_mean
from counterground.models._base import Generative, Precision, Protocol
from counterground.models._endpoint_calls import Caller
from counterground.models._fingerprint import combine

if TYPE_CHECKING:
    from PIL import Image

API_KEY = "COUNTERGROUND_API_KEY"
_PROTOCOLS: frozenset[Protocol] = frozenset({"free-form", "yes-no"})
_LONGEST_SIDE = 2048
_SENT = f"JPEG, quality 95, no chroma subsampling, longest side {_LONGEST_SIDE} pixels at most"
_OPTIONS = {"jobs": 4.0, "timeout": 120.0, "retries": 5.0, "price": None}
_HERE = {"localhost", "127.0.0.1", "::1"}


@dataclass(frozen=True)
class EndpointSource:
    """``URL#MODEL?OPTIONS`` taken apart; ``url`` ends in ``/chat/completions``."""

    spec: str
    url: str
    model: str
    jobs: int
    timeout: float
    retries: int
    price: float | None

    @property
    def local(self) -> bool:
        """Whether the address is this machine's own."""
        return urlsplit(self.url).hostname in _HERE


def find_endpoint(spec: str, rest: str) -> EndpointSource:
    """Return what ``http://HOST/v1#MODEL[?OPTIONS]`` names; nothing is called.

    Options, joined by ``&``: ``jobs=4`` photos at once, ``timeout=120`` seconds, ``retries=5`` and
    ``price=0.002`` for one call.

    Raises:
        UsageError: no host or no model is named, an unknown option, or a password in the address.
    """
    del rest
    address, _, fragment = spec.partition("#")
    model, _, asked = fragment.partition("?")
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
            f"The address {parts.hostname} holds a name or a password, which would be kept in the run. "
            f"Put the key into the environment variable {API_KEY} instead."
        )
    options = _options(spec, asked)
    path = parts.path.rstrip("/").removesuffix("/chat/completions") + "/chat/completions"
    return EndpointSource(
        spec,
        urlunsplit((parts.scheme, parts.netloc, path, parts.query, "")),
        model,
        jobs=int(options["jobs"]),
        timeout=options["timeout"],
        retries=int(options["retries"]),
        price=options["price"],
    )


def load_endpoint(
    spec: str, rest: str, *, device: str, precision: Precision, as_published: bool, offline: bool
) -> Generative:
    """Make ready to ask a model behind an address; nothing is called yet.

    Raises:
        UsageError: see `find_endpoint`.
        CounterGroundError: ``offline``, and the address is another machine's.
    """
    del device
    source = find_endpoint(spec, rest)
    if offline and not source.local:
        raise CounterGroundError(f"{spec} is on another machine, and --offline forbids asking it.")
    return Endpoint(source, precision=precision, as_published=as_published)


class Endpoint(Generative):
    """A model behind an address. Its weights cannot be seen, so its fingerprint is its name and address."""

    protocols = _PROTOCOLS

    def __init__(self, source: EndpointSource, *, precision: Precision, as_published: bool) -> None:
        self.spec, self.device, self.dtype = source.spec, "remote", precision
        self.concurrency, self.price = source.jobs, source.price
        self._source = source
        key = _key()
        self._caller = Caller(
            source.spec, source.url, key=key, timeout=source.timeout, retries=source.retries
        )
        self._request = {"model": source.model, "temperature": 0}
        # No library, number of jobs or price is in it: what was paid for is not paid again after an update.
        self.fingerprint = combine(url=source.url, request=self._request, sent=_SENT)
        self.description = {
            "architecture": source.model,
            "weights": f"behind {source.url}",
            "training_data": None,
            "parameters": None,
            "preprocessing": _SENT,
            "request": self._request,
            "chat_template": "the server's own",
            "api_key": f"from {API_KEY}" if key else "none",
            "jobs": source.jobs,
            "timeout_seconds": source.timeout,
            "retries": source.retries,
            "price_per_call": source.price,
            "libraries": {},
            "as_published": as_published,
            "warnings": [
                "What answers at this address can change without notice, and no fingerprint would show it.",
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
        return self._caller.ask(body)

    def stop(self) -> None:
        self._caller.stop()


def _key() -> str | None:
    """Return the key from the environment; a file of it often ends in a line break, which no header takes."""
    key = os.environ.get(API_KEY, "").strip()
    if not (key.isascii() and key.isprintable()):
        raise UsageError(f"{API_KEY} holds characters that no key has; set it anew.")
    return key or None


def _options(spec: str, asked: str) -> dict[str, Any]:
    options: dict[str, Any] = dict(_OPTIONS)
    for part in asked.split("&") if asked else []:
        name, _, value = part.partition("=")
        if name not in _OPTIONS:
            raise UsageError(
                f"{spec}: unknown option {name!r}; there are {', '.join(_OPTIONS)}."
                f"{did_you_mean(name, _OPTIONS)}"
            )
        lowest = {"jobs": 1, "timeout": 0.01}.get(name, 0)
        try:
            options[name] = float(value)
        except ValueError:
            options[name] = -1.0
        whole = name in ("jobs", "retries")
        if not lowest <= options[name] < 1e6 or (whole and options[name] != int(options[name])):
            raise UsageError(
                f"{spec}: {name} must be a {'whole ' if whole else ''}number from {lowest}, not {value!r}."
            )
    return options


def _unsafe(source: EndpointSource, key: str | None) -> list[str]:
    if key and source.url.startswith("http:") and not source.local:
        return ["The key and the photos travel unencrypted, since the address begins with http:."]
    return []


def _data_url(image: Image.Image) -> str:
    from PIL import Image as Pillow

    image = image.convert("RGB")
    image.thumbnail((_LONGEST_SIDE, _LONGEST_SIDE), Pillow.Resampling.LANCZOS)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95, subsampling=0)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
