"""The catalogue of sentences: small, short, and each of its codes is what some rule finds."""

import ast
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
