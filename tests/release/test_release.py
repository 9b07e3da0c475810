"""What a release has besides the package: citation, form of what was seen, check of licences."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import tomllib
from email.message import Message
from pathlib import Path

import pytest
import yaml

import counterground as cg

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def script(name: str):
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_the_citation_is_of_this_version_and_licence():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert cited["cff-version"] == "1.2.0"
    assert cited["version"] == cg.__version__
    assert cited["license"] == PROJECT["license"]
    assert cited["title"] == "CounterGround"
    assert cited["authors"][0]["name"] == PROJECT["authors"][0]["name"]
    assert "2403.11497" in str(cited["references"])


@pytest.mark.parametrize(
    "form", sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")), ids=lambda path: path.name
)
def test_issue_forms_are_complete(form):
    content = yaml.safe_load(form.read_text())
    if form.name == "config.yml":
        assert content == {"blank_issues_enabled": True}
        return
    assert content["name"]
    assert content["description"]
    asked = [part["id"] for part in content["body"]]
    assert len(asked) == len(set(asked)) >= 2
    assert all(part["attributes"]["label"] for part in content["body"])


def test_a_step_that_fails_is_in_the_form_with_its_last_line(tmp_path, monkeypatch):
    real, out = script("real"), tmp_path / "real"
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "src"))
    monkeypatch.chdir(tmp_path)
    assert real.main(["--only", "reproduce", "--out", str(out)]) == 1
    (seen,) = json.loads((out / "form.json").read_text())["steps"]
    assert seen["status"] == 1
    page = (out / "form.md").read_text()
    assert "| reproduce | failed (1) |" in page
    assert seen["last_lines"][-1] in page
    assert str(tmp_path) not in page, "a path of this machine"


def test_figures_of_a_run_are_in_the_form(tmp_path, photos, tiny_clip):
    real = script("real")
    cg.evaluate(
        photos, f"open_clip:{tiny_clip}", label_space="benchmark", out=tmp_path / "clip", report=False
    )
    seen = real.beside_the_paper(tmp_path / "clip")
    assert [figure["figure"] for figure in seen["figures"]] == ["common", "counter", "drop"]
    common, counter, drop = (figure["value"] for figure in seen["figures"])
    assert drop == pytest.approx(common - counter, abs=0.02)
    assert seen["printed"] == {"common": 67.13, "counter": 36.95, "drop": 30.18}


def test_every_step_stands_on_the_page():
    page = (ROOT / "docs" / "verified.md").read_text()
    steps = re.search(r"^Steps: (.*?)\. The form", page, flags=re.DOTALL | re.MULTILINE)[1]
    named = re.findall(r"(?:^|, |\n)`([^`]+)`", steps)
    assert [step.name for step in script("real").STEPS] == named


class Package:
    """As much of an installed package as the check of licences reads."""

    def __init__(self, **said: str) -> None:
        self.metadata = Message()
        for name, value in said.items():
            self.metadata[name.replace("_", "-")] = value


@pytest.mark.parametrize(
    ("said", "allowed"),
    [
        ({"License_Expression": "MIT"}, True),
        ({"License_Expression": "GPL-3.0-or-later"}, False),
        ({"License_Expression": "GPL-3.0-only AND MIT"}, False),
        ({"License_Expression": "Apache-2.0 WITH LLVM-exception AND BSL-1.0 AND MIT"}, True),
        ({"License_Expression": "MIT OR GPL-3.0-only"}, True),
        ({"Classifier": "License :: OSI Approved :: BSD License"}, True),
        ({"Classifier": "License :: OSI Approved :: GNU Affero General Public License v3"}, False),
        ({"License": "Apache 2.0"}, True),
        ({"License": "UNKNOWN"}, False),
        ({}, False),
    ],
)
def test_licences_are_read_from_where_packages_say_them(said, allowed):
    licences = script("licences")
    found = licences.licences_of(Package(**said))
    assert any(licences.is_allowed(each) for each in found) is allowed
