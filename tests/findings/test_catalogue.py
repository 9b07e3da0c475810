"""The catalogue of sentences: small, short, and each of its codes is what some rule finds."""

import ast
import re
from pathlib import Path
from string import Formatter

import pytest

import counterground
from counterground.catalogue import CATALOGUE, Finding
from counterground.metrics import Estimate

SOURCE = Path(counterground.__file__).parent
MOST_CODES, MOST_WORDS = 70, 25


def named_codes():
    """The codes that calls of ``Finding`` and ``Finding.of`` name, and strings that choose between them."""
    found = set()
    for file in SOURCE.rglob("*.py"):
        text = file.read_text("utf-8")
        if "catalogue" in text and file.parent.name != "catalogue":
            constants = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant))
            found |= {node.value for node in constants if node.value in CATALOGUE}
    return found


def test_the_catalogue_is_small_and_each_code_is_used():
    assert len(CATALOGUE) <= MOST_CODES
    assert named_codes() == set(CATALOGUE)


@pytest.mark.parametrize("code", CATALOGUE)
def test_a_sentence_is_short_and_says_its_numbers(code):
    severity, sentence = CATALOGUE[code]
    assert severity in ("claim", "warning", "note", "step")
    assert len(sentence.split()) <= MOST_WORDS
    assert sentence.endswith(".")
    fields = {name for _, name, _, _ in Formatter().parse(sentence) if name}
    numbers = dict.fromkeys(fields - {"size", "level", "subject"}, 0.25)
    found = Finding.of(code, "subject of it", Estimate(0.1, 0.05, 0.15), **numbers)
    assert ("subject of it" in found.text) == ("subject" in fields)
    assert "{" not in found.text
    record = found.to_json()
    assert (record["code"], record["severity"], record["text"]) == (code, severity, found.text)
    assert record["numbers"]["value"] == 0.1


def test_numbers_are_written_as_in_tables():
    found = Finding.of("loses", "m", Estimate(0.2134, 0.12, None), when="from left to right")
    assert found.text == "m loses 21.3 points from left to right."
    found = Finding.of("loses", "m", Estimate(0.2134, 0.12, 0.3), when="from left to right")
    assert found.text == "m loses 21.3 points [12.0, 30.0] from left to right."
    many = tuple(f"m{k}" for k in range(5))
    told = Finding("near_chance", "", {"models": many, "left": "common photos", "noun": "drop"}).text
    assert told.endswith("m0, m1, m2 and 2 more.")


ELSEWHERE = {"metrics/_registry.py", "results/_scores_table.py"}  # what columns mean
ELSEWHERE |= {"metrics/_paired.py", "metrics/_expression.py", "results/_run.py"}  # why something is refused


@pytest.mark.parametrize("room", ["metrics", "results", "comparison", "decision", "findings"])
def test_no_other_place_builds_sentences(room):
    found = []
    for file in (SOURCE / room).rglob("*.py"):
        nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
        errors = [node for node in nodes if isinstance(node, ast.Raise) or is_error(node)]
        docs = [node.value for node in nodes if isinstance(node, ast.Expr)]
        parts = [value for node in nodes if isinstance(node, ast.JoinedStr) for value in node.values]
        skipped = {id(part) for node in errors for part in ast.walk(node)} | set(map(id, docs + parts))
        texts = (text_of(node) for node in nodes if id(node) not in skipped)
        if str(file.relative_to(SOURCE)) not in ELSEWHERE:
            found += [text for text in texts if re.match("[A-Z]", text) and text.endswith(".")]
    assert [text for text in found if len(text.split()) > 5] == []


def is_error(node):
    return isinstance(node, ast.Call) and getattr(node.func, "id", "").endswith("Error")


def text_of(node):
    if isinstance(node, ast.JoinedStr):
        return "".join(
            getattr(value, "value", "X") if isinstance(value, ast.Constant) else "X" for value in node.values
        )
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
