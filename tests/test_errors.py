"""Errors of the root: what is missing is named with what installs it."""

from __future__ import annotations

import importlib

import pytest

from counterground.errors import (
    CounterGroundError,
    MissingExtraError,
    UsageError,
    error_summary,
    needs_extra,
    raised_in,
)
from counterground.photos import LabelSpace


def test_a_missing_package_is_named_with_its_extra():
    with pytest.raises(MissingExtraError) as caught, needs_extra("data"):
        importlib.import_module("no_such_package.inside")
    assert isinstance(caught.value, UsageError)
    assert str(caught.value) == (
        "The package no_such_package is not installed: run `pip install 'counterground[data]'`."
    )


def test_a_missing_module_of_ours_is_no_missing_extra():
    with pytest.raises(ModuleNotFoundError), needs_extra("data"):
        importlib.import_module("counterground.no_such_module")


def test_a_summary_is_one_line_without_a_full_stop():
    assert error_summary(ValueError("two\n  lines.")) == "ValueError: two lines"
    assert error_summary(SystemExit(3)) == "SystemExit: 3"
    assert error_summary(NotImplementedError()) == "NotImplementedError"


@pytest.mark.parametrize(("folder", "own"), [("scripts", ()), ("site-packages", ("their_code",))])
def test_an_error_is_placed_in_the_users_own_code(folder, own, own_modules, monkeypatch):
    path = own_modules / folder / "their_code.py"
    path.parent.mkdir()
    path.write_text("import json\n\ndef fail():\n    json.loads('{')\n")
    monkeypatch.syspath_prepend(path.parent)
    monkeypatch.chdir(own_modules)
    # The frame of this test is dropped: it is a user's code too.
    with pytest.raises(ValueError, match="Expecting property name") as caught:
        importlib.import_module("their_code").fail()
    error = caught.value.with_traceback(caught.value.__traceback__.tb_next)
    assert raised_in(error, own) == f"{folder}/their_code.py, line 4"
    assert error_summary(error, own).endswith(f" ({folder}/their_code.py, line 4)")
    if own:
        assert raised_in(error) == ""


def test_generated_code_of_ours_is_not_the_users():
    with pytest.raises(CounterGroundError) as caught:  # from the generated __init__ of a dataclass
        LabelSpace("own", ("ox",), ())
    assert "test_errors.py, line " in raised_in(caught.value)
