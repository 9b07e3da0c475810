"""What the scripts of this repository take from the package exists."""

from __future__ import annotations

import ast
from importlib import import_module
from pathlib import Path

import pytest

import counterground as cg

ROOT = Path(__file__).parents[1]
FOLDERS = {"bench", "examples", "scripts"}
FILES = [file for folder in sorted(FOLDERS) for file in (ROOT / folder).rglob("*.py")]


def test_every_folder_has_scripts():
    assert {file.relative_to(ROOT).parts[0] for file in FILES} == FOLDERS


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_what_scripts_import_exists(file):
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "counterground":
            module = import_module(node.module)
            assert [name.name for name in node.names if not hasattr(module, name.name)] == []
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "cg":
            assert hasattr(cg, node.attr)
