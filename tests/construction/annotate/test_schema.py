"""Schemathesis against the labelling pages: their answers are as documented, whatever it sends.

It sends bodies that follow the schema, bodies that break it somewhere, no body, and other methods.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from drawn_masks import save_masks
from raw_client import RawClient

# The schema is made from what the servers check bodies by, which is no more public than this.
from counterground.construction.annotate import _api as of_pools
from counterground.construction.annotate.masks import _api as of_masks
from counterground.construction.annotate.web import Events
from counterground.masks import MaskDecisions

pytestmark = pytest.mark.slow


def record(**properties):
    return {"type": "object", "properties": properties, "required": [*properties]}


LIST, COUNT = {"type": "array"}, {"type": "integer", "minimum": 0}
ERROR = record(error={"type": "string", "minLength": 1}) | {"additionalProperties": False}
TAKEN, REFUSED = record(ok={"const": True}), record(ok={"const": False}, error={"type": "string"})
RESULT = {"allOf": [record(token={"type": "string"}), {"oneOf": [TAKEN, REFUSED]}]}
RESULTS = record(results={"type": "array", "items": RESULT})


def answers(*statuses, **kinds):
    schemas = [{"application/json": {"schema": ERROR}}] * len(statuses)
    found = dict(zip(map(str, statuses), schemas, strict=True)) | kinds
    return {status: {"description": "", "content": content} for status, content in found.items()}


class Documented:
    """The OpenAPI document of a server, route by route."""

    def __init__(self):
        self.paths, self.parts = {}, {}

    def schema(self, made):
        self.parts |= made.pop("$defs", {})
        return made

    def action(self, path, body, success, event=None):
        where = {"ref_template": "#/components/schemas/{model}"}
        schema = self.schema(body.model_json_schema(**where))
        schema["properties"]["annotator"] = {"const": "ann"}  # another one is told so: 409
        schema["properties"]["pool"] = {"type": "null"}  # as is another pool
        if event:  # one that is wrong is refused by itself
            items = [self.schema(event.json_schema(**where)), {"type": "object"}]
            schema["properties"]["events"]["items"] = {"anyOf": items}
        self.paths[path] = {
            "post": {
                "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}},
                "responses": answers(401, 403, 409, 411, 413, 415, 422)
                | answers(**{"200": {"application/json": {"schema": success}}}),
            }
        }

    def read(self, path, kind, **schemas):
        parameters = [
            {
                "in": "path" if f"{{{name}}}" in path else "query",
                "name": name,
                "required": True,
                "schema": schema,
            }
            for name, schema in schemas.items()
        ]
        refused = {"text/html": {}, "application/json": {"schema": ERROR}}
        responses = answers(**{"200": {kind: {}}, "401": refused, "404": refused}) | answers(415)
        self.paths[path] = {"get": {"parameters": parameters, "responses": responses}}

    def save(self, file: Path):
        info = {"title": "labelling", "version": "1"}
        components = {"schemas": self.parts}
        file.write_text(
            json.dumps({"openapi": "3.1.0", "info": info, "paths": self.paths, "components": components})
        )
        return file


def documented_pool():
    known = Documented()
    batch = record(photos=LIST, revoked=LIST, done=COUNT, left=COUNT)
    known.action("/api/next", of_pools.Next, batch)
    known.action(
        "/api/remaining", of_pools.OfTask, record(waiting=COUNT, elsewhere=COUNT, alone={"type": "boolean"})
    )
    known.action("/api/disagreements", of_pools.OfTask, record(photos=LIST, left=COUNT))
    known.action("/api/events", Events, RESULTS, of_pools.Event)
    known.action("/api/labels", of_pools.Labels, record(labels=LIST))
    known.action("/api/guidance", of_pools.Guidance, record(text={"type": "string"}))
    for page in ("/progress", "/agreement", "/labels"):
        known.read(page, "text/html")
    for page in ("/label/{task}", "/disagreements/{task}"):
        known.read(page, "text/html", task={"enum": ["review", "background", "none"]})
    known.read("/guide", "image/jpeg", **{"class": {"type": "string"}, "place": {"type": "string"}})
    return known


def documented_masks():
    known = Documented()
    known.action("/api/next", of_masks.Next, record(photos=LIST, revoked=LIST, done=COUNT, left=COUNT))
    known.action("/api/events", Events, RESULTS, of_masks.Event)
    known.read("/", "text/html")
    known.read("/mask/{row}", "image/png", row=COUNT)
    return known


@pytest.mark.parametrize("kind", ["pool", "masks"])
def test_answers_are_as_documented_whatever_is_sent(kind, pool, serve, tmp_path):
    known = documented_pool() if kind == "pool" else documented_masks()
    known.read("/photo/{row}", "image/png", row=COUNT)
    decision = known.parts["Decide"]["properties"]
    if kind == "pool":
        served, paths = pool, pool.photos()["path"].to_list()
        decision["labels"]["items"] = {"enum": [*pool.background_labels(), "none"]}
    else:
        served, paths = save_masks(tmp_path).folder, ["ox/grass/a.png", "ox/grass/b.png"]
        decision["judged"] = {"enum": [None, "0" * 64]}  # a mask of another content is refused
    decision["path"] = {"enum": [*paths[:3], "none"]}
    server = serve(served)
    client = RawClient(server)
    client.enter(server.links["ann"])
    checks = (
        "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,"
        "negative_data_rejection,unsupported_method"
    )
    ran = subprocess.run(
        [
            *(sys.executable, "-c", "import schemathesis.cli; schemathesis.cli.schemathesis()", "run"),
            *(known.save(tmp_path / "schema.json"), "--url", server.base, "--checks", checks),
            *("-H", f"Cookie: {client.cookie}", "-H", f"Origin: {server.base}", "--no-color"),
            *("-H", "Content-Type: application/json", "--phases", "coverage,fuzzing", "--max-examples", "20"),
            *("--seed", "1", "--generation-database", "none"),
        ],
        check=False,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=900,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert server.errors.read_text() == ""
    taken = pool.decisions() if kind == "pool" else MaskDecisions(served).made_since(0)
    assert len(taken) > 0
