"""Prompt templates are pinned; files of names keep their order."""

import hashlib
import re

import pytest
from open_clip.zero_shot_metadata import OPENAI_IMAGENET_TEMPLATES

from counterground.errors import CounterGroundError
from counterground.photos import imagenet_names, prompt_templates, read_class_names


def test_simple_is_the_papers_prompt():
    assert prompt_templates("simple") == ("A photo of {}.",)


def test_the_80_templates_are_pinned_and_openais():
    templates = prompt_templates("openai")
    digest = hashlib.sha256("\n".join(templates).encode() + b"\n").hexdigest()
    assert digest == "717aaf1055595d318aa456669c0de6675d883ccebfa70ca12ff890b7aab710cb"
    assert len(set(templates)) == 80
    for template, theirs in zip(templates, OPENAI_IMAGENET_TEMPLATES, strict=True):
        assert template.replace("{}", "black swan") == theirs("black swan")


def test_templates_from_a_file(tmp_path):
    path = tmp_path / "prompts.txt"
    path.write_bytes("\ufeffa photo of {}\r\nein Foto: {} {x}\r\n\r\n".encode())
    assert prompt_templates(path) == ("a photo of {}", "ein Foto: {} {x}")
    assert prompt_templates(str(path)) == prompt_templates(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a photo\n", "line 1"),
        ("{}\n{} and {}\n", "line 2"),
    ],
)
def test_files_that_are_no_templates(tmp_path, text, message):
    path = tmp_path / "prompts.txt"
    path.write_text(text)
    with pytest.raises(CounterGroundError, match=message):
        prompt_templates(path)


def test_names_one_per_line(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("crème\n747 jet\n  tench, Tinca tinca \n")
    assert read_class_names(path) == ("crème", "747 jet", "tench, Tinca tinca")


@pytest.mark.parametrize("separator", ["\t", " ", " \t "])
def test_indices_give_the_order_whatever_the_order_of_the_lines(tmp_path, separator):
    names = imagenet_names("wordnet")
    path = tmp_path / "imagenet_names.txt"
    as_text = sorted(f"{index}{separator}{name}" for index, name in enumerate(names))  # "10" before "2"
    path.write_text("\n".join(as_text))
    assert read_class_names(path) == names


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0 a\n1 b\n1 c\n", "not from 0 to 2, each number once"),
        ("a\n\nb\n", "line 2 is empty"),
    ],
)
def test_files_of_names_that_cannot_be_right(tmp_path, text, message):
    path = tmp_path / "names.txt"
    path.write_text(text)
    with pytest.raises(CounterGroundError, match=re.escape(message)):
        read_class_names(path)
