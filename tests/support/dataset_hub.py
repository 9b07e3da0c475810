"""A server on loopback that answers as the hub of Hugging Face does for one data set, ``some/birds``."""

from __future__ import annotations

import hashlib
import json
from urllib.parse import parse_qs, unquote, urlsplit

from loopback import Handler, serving

COMMIT = "0123456789abcdef0123456789abcdef01234567"
_API = "/api/datasets/some/birds"
_FILES = "/datasets/some/birds/resolve/"


class HubHandler(Handler):
    """Says of each answer what clients of the hub look for."""

    def do_HEAD(self):
        self.do_GET()

    def answer(self, status, content=b"", error=None, headers=()):
        said = {"X-Repo-Commit": COMMIT, "ETag": f'"{hashlib.sha1(content).hexdigest()}"', **dict(headers)}
        self.reply(status, content, said | ({"X-Error-Code": error} if error else {}))


class DataSet(HubHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        path = urlsplit(self.path).path
        self.server.asked.append(path)
        if not path.startswith(f"{_API}/paths-info/"):
            return self.answer(404, error="RepoNotFound")
        wanted = json.loads(body)["paths"] if body.startswith("{") else parse_qs(body)["paths"]
        return self.reply_json([entry for entry in self.entries() if entry["path"] in wanted])

    def do_GET(self):
        path = unquote(urlsplit(self.path).path)
        self.server.asked.append(path)
        if path in (_API, f"{_API}/revision/main", f"{_API}/revision/{COMMIT}"):
            siblings = [{"rfilename": entry["path"]} for entry in self.entries() if entry["type"] == "file"]
            return self.reply_json({"id": "some/birds", "sha": COMMIT, "siblings": siblings})
        if path.startswith(f"{_API}/tree/{COMMIT}"):
            folder = path.removeprefix(f"{_API}/tree/{COMMIT}").strip("/")
            recursive = "recursive=true" in self.path.lower()
            inside = [
                entry for entry in self.entries() if entry["path"].startswith(f"{folder}/" if folder else "")
            ]
            depth = folder.count("/") + 1 if folder else 0
            return self.reply_json([e for e in inside if recursive or e["path"].count("/") == depth])
        for revision in (COMMIT, "main"):
            file = self.server.folder / path.removeprefix(f"{_FILES}{revision}/")
            if path.startswith(f"{_FILES}{revision}/") and file.is_file():
                return self.reply_file(file.read_bytes())
        missing = "EntryNotFound" if "some/birds" in path else "RepoNotFound"
        return self.answer(404, error=missing)

    def entries(self):
        for path in sorted(self.server.folder.rglob("*")):
            name = path.relative_to(self.server.folder).as_posix()
            if path.is_dir():
                yield {"type": "directory", "path": name, "oid": "0" * 40, "size": 0}
            else:
                content = path.read_bytes()
                yield {
                    "type": "file",
                    "path": name,
                    "oid": hashlib.sha1(content).hexdigest(),
                    "size": len(content),
                }

    def reply_json(self, content):
        return self.answer(200, json.dumps(content).encode(), headers={"Content-Type": "application/json"})

    def reply_file(self, content):
        headers = {"Accept-Ranges": "bytes"}
        first, _, last = self.headers.get("Range", "").removeprefix("bytes=").partition("-")
        if not first:
            return self.answer(200, content, headers=headers)
        part = content[int(first) : int(last) + 1 if last else None]
        span = f"bytes {first}-{int(first) + len(part) - 1}/{len(content)}"
        return self.answer(206, part, headers=headers | {"Content-Range": span})


def serve_data_set(folder):
    """Serve the files of a folder; ``asked``: the paths of all requests."""
    return serving(DataSet, folder=folder, asked=[])
