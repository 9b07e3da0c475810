"""A server on loopback that answers as iNaturalist's API v1 and its photo host do, with trouble on demand.

    python tests/support/inaturalist_server.py --photos DIR --port 8000

serves the photos of ``DIR/<class>/`` as observations of taxa with those names. Every request is counted.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from inaturalist_queries import fits, lineage, page_of, resized

SIZES = {"square": 75, "thumb": 100, "small": 240, "medium": 500, "large": 1024, "original": 2048}
TYPES = {".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".png": "image/png", ".webp": "image/webp"}
LICENCES = ("cc0", "cc-by", "cc-by-nc", None)


@dataclass
class Taxon:
    id: int
    name: str
    rank: str = "species"
    common_name: str | None = None
    ancestors: tuple[int, ...] = (48460, 1)
    active: bool = True
    synonyms: tuple[str, ...] = ()


@dataclass
class Photo:
    id: int
    data: bytes
    suffix: str = ".jpg"
    licence: str | None = "cc-by"
    url: str | None = None  # in place of the one it is served at


@dataclass
class Observation:
    id: int
    taxon: Taxon
    photos: list[Photo]
    login: str
    observed_on: str = "2024-05-01"
    quality: str = "research"
    places: tuple[int, ...] = ()


@dataclass
class Trouble:
    """What happens to requests whose path begins so, in place of an answer; ``times`` None: for ever."""

    prefix: str
    times: int | None = 1
    status: int = 200
    retry_after: str | None = None
    body: bytes | None = None
    content_type: str | None = None
    cut: int | None = None  # bytes that are sent of those that Content-Length promises
    delay: float = 0.0
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class INaturalistServer:
    """Taxa and observations in memory; a context manager, or call ``start`` and ``stop``."""

    port: int = 0
    taxa: dict[int, Taxon] = field(default_factory=dict)
    observations: dict[int, Observation] = field(default_factory=dict)
    photos: dict[int, Photo] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)
    delay: float = 0.0  # seconds before each answer
    asked: Counter = field(default_factory=Counter)  # by "GET /path"
    served: Counter = field(default_factory=Counter)  # photos sent whole, by id
    queries: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    agents: set = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def start(self) -> INaturalistServer:
        handler = type("Bound", (_Handler,), {"site": self})
        self._http = _HttpServer(("127.0.0.1", self.port), handler)
        self.port = self._http.server_port
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def stop(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def __enter__(self) -> INaturalistServer:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def api_url(self) -> str:
        return f"{self.address}/v1"

    def add_taxon(self, name: str, **fields) -> Taxon:
        taxon = Taxon(max(self.taxa, default=41_000) + 1, name, **fields)
        self.taxa[taxon.id] = taxon
        return taxon

    def add_observation(self, taxon: Taxon, photos: list[bytes], **fields) -> Observation:
        """Add an observation that is newer than all others, with photos of consecutive ids."""
        number = max(self.observations, default=200_000) + 1
        photo_fields = {name: fields.pop(name) for name in ("licence", "suffix", "url") if name in fields}
        added = [
            Photo(max(self.photos, default=300_000) + 1 + n, data, **photo_fields)
            for n, data in enumerate(photos)
        ]
        self.photos |= {photo.id: photo for photo in added}
        fields.setdefault("login", f"observer_{number % 7}")
        self.observations[number] = Observation(number, taxon, added, **fields)
        return self.observations[number]

    def trouble(self, prefix: str, **what) -> None:
        self.troubles.append(Trouble(prefix, **what))

    def asked_below(self, prefix: str, method: str = "GET") -> int:
        return sum(count for path, count in self.asked.items() if path.startswith(f"{method} {prefix}"))

    def gets_by_photo(self) -> Counter:
        """Return how often each photo was asked for, sent whole or not."""
        found: Counter = Counter()
        for path, count in self.asked.items():
            if match := re.match(r"GET /photos/(\d+)/", path):
                found[int(match[1])] += count
        return found

    @classmethod
    def from_folder(cls, folder: Path, port: int = 0) -> INaturalistServer:
        """Serve ``<class>/**/*.jpg``: a taxon per class, named as ``collect`` will look for it."""
        server = cls(port)
        for place in sorted(entry for entry in Path(folder).iterdir() if entry.is_dir()):
            files = sorted(file for file in place.rglob("*") if file.suffix.lower() in TYPES)
            taxa = server._taxa_of(place.name.replace("_", " "))
            for number, file in enumerate(files):
                server.add_observation(
                    taxa[number % len(taxa)],
                    [file.read_bytes()],
                    suffix=file.suffix.lower(),
                    licence=LICENCES[number % len(LICENCES)],
                    login=f"observer_{number // 3}",
                    observed_on=(date(2024, 1, 1) + timedelta(days=number)).isoformat(),
                )
        return server

    def _taxa_of(self, class_name: str) -> list[Taxon]:
        # The taxa of a built-in class, which the public lists leave out.
        from counterground.construction.collection._taxa import find_animal

        animal = find_animal(class_name)
        if animal is None or not animal.names:
            return [self.add_taxon(class_name.capitalize(), common_name=class_name.title())]
        return [
            self.add_taxon(name, rank=rank) for name, rank in zip(animal.names, animal.ranks, strict=True)
        ]


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address) -> None:
        if not isinstance(sys.exc_info()[1], ConnectionError):  # clients are killed on purpose
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    site: INaturalistServer
    protocol_version = "HTTP/1.1"
    timeout = 10

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        parts = urlsplit(self.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        with self.site.lock:
            self.site.asked[f"{self.command} {parts.path}"] += 1
            self.site.queries.append((parts.path, query))
            self.site.agents.add(self.headers["User-Agent"])
            trouble = self.next_trouble(parts.path)
        time.sleep(self.site.delay + (trouble.delay if trouble else 0.0))
        status, kind, body = self.content(parts.path, query)
        if trouble:
            status, kind, body = self.spoiled(trouble, status, kind, body)
        try:
            whole = self.send(status, kind, body, trouble)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True
            return
        photo = re.fullmatch(r"/photos/(\d+)/.*", parts.path)
        if whole and photo and status == 200 and self.command == "GET":
            with self.site.lock:
                self.site.served[int(photo[1])] += 1

    def next_trouble(self, path: str) -> Trouble | None:
        for trouble in self.site.troubles:
            if path.startswith(trouble.prefix) and trouble.times != 0:
                trouble.times = None if trouble.times is None else trouble.times - 1
                return trouble
        return None

    def spoiled(self, trouble: Trouble, status: int, kind: str, body: bytes) -> tuple[int, str, bytes]:
        if trouble.status != 200:
            wrong = {"error": "trouble", "status": trouble.status}
            status, kind, body = trouble.status, "application/json; charset=utf-8", json.dumps(wrong).encode()
        if trouble.body is not None:
            body = trouble.body
        return status, trouble.content_type or kind, body

    def send(self, status: int, kind: str, body: bytes, trouble: Trouble | None) -> bool:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if trouble and trouble.retry_after is not None:
            self.send_header("Retry-After", trouble.retry_after)
        for name, value in (trouble.headers if trouble else {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return True
        cut = trouble.cut if trouble else None
        self.wfile.write(body[:cut])
        self.wfile.flush()
        if cut is not None:
            self.close_connection = True
        return cut is None

    def content(self, path: str, query: dict[str, str]) -> tuple[int, str, bytes]:
        if match := re.fullmatch(r"/photos/(\d+)/(\w+)\.(\w+)", path):
            return self.photo(int(match[1]), match[2])
        status, answer = 404, {"error": "Not Found", "status": 404}
        if path == "/v1/taxa":
            status, answer = 200, self.taxa(query)
        elif match := re.fullmatch(r"/v1/taxa/([^/]+)", path):
            status, answer = self.taxon(match[1])
        elif path == "/v1/observations":
            status, answer = 200, self.found(query)
        return status, "application/json; charset=utf-8", json.dumps(answer).encode()

    def photo(self, number: int, size: str) -> tuple[int, str, bytes]:
        photo = self.site.photos.get(number)
        if photo is None or size not in SIZES:
            return 404, "application/xml", b"<Error><Code>NoSuchKey</Code></Error>"
        return 200, TYPES[photo.suffix], resized(photo.data, SIZES[size])

    def taxa(self, query: dict[str, str]) -> dict:
        wanted = query.get("q", "").casefold()
        ranks = query["rank"].split(",") if "rank" in query else None
        rows = []
        for taxon in self.site.taxa.values():
            names = [name for name in (taxon.name, taxon.common_name, *taxon.synonyms) if name]
            matched = [name for name in names if wanted in name.casefold()]
            matched.sort(key=lambda name: name.casefold() != wanted)
            fits = query.get("is_active", "true") != "true" or taxon.active
            if matched and fits and (ranks is None or taxon.rank in ranks):
                rows.append(self.taxon_json(taxon) | {"matched_term": matched[0]})
        return page_of(rows, query, 30)

    def taxon(self, ids: str) -> tuple[int, dict]:
        if not all(part.isdigit() for part in ids.split(",")):
            return 422, {"error": "", "status": 422}
        rows = [self.site.taxa[int(part)] for part in ids.split(",") if int(part) in self.site.taxa]
        return 200, page_of([self.taxon_json(taxon) for taxon in rows], {}, 30)

    def taxon_json(self, taxon: Taxon) -> dict:
        mine = [one for one in self.site.observations.values() if taxon.id in lineage(one.taxon)]
        return {
            "id": taxon.id,
            "name": taxon.name,
            "rank": taxon.rank,
            "is_active": taxon.active,
            "ancestor_ids": lineage(taxon),
            "ancestry": "/".join(map(str, taxon.ancestors)),
            "iconic_taxon_name": "Animalia",
            "observations_count": len(mine),
        } | ({"preferred_common_name": taxon.common_name} if taxon.common_name else {})

    def found(self, query: dict[str, str]) -> dict:
        with self.site.lock:
            all_of_them = sorted(self.site.observations.values(), key=lambda one: -one.id)
        rows = [self.observation_json(one) for one in all_of_them if fits(one, query)]
        return page_of(rows if query.get("order", "desc") == "desc" else rows[::-1], query, 200)

    def observation_json(self, one: Observation) -> dict:
        return {
            "id": one.id,
            "uri": f"{self.site.address}/observations/{one.id}",
            "observed_on": one.observed_on,
            "quality_grade": one.quality,
            "license_code": one.photos[0].licence if one.photos else None,
            "place_ids": list(one.places),
            "user": {"id": sum(one.login.encode()), "login": one.login, "name": one.login.title()},
            "taxon": self.taxon_json(one.taxon),
            "photos": [self.photo_json(photo, one.login) for photo in one.photos],
        }

    def photo_json(self, photo: Photo, login: str) -> dict:
        rights = "all" if photo.licence is None else "no" if photo.licence == "cc0" else "some"
        code = f" ({photo.licence.upper().replace('CC-', 'CC ')})" if photo.licence else ""
        return {
            "id": photo.id,
            "license_code": photo.licence,
            "url": photo.url or f"{self.site.address}/photos/{photo.id}/square{photo.suffix}",
            "attribution": f"(c) {login}, {rights} rights reserved{code}",
            "flags": [],
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--photos", type=Path, required=True, help="folder with a folder of photos per class")
    parser.add_argument("--port", type=int, default=8000)
    given = parser.parse_args()
    with INaturalistServer.from_folder(given.photos, given.port) as server:
        print(
            f"{len(server.photos)} photos of {len(server.taxa)} taxa: -X api-url={server.api_url}", flush=True
        )
        with contextlib.suppress(KeyboardInterrupt):
            threading.Event().wait()


if __name__ == "__main__":
    main()
