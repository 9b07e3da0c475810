"""Errors of the root: what is missing is named with what installs it."""

from __future__ import annotations

import importlib

import pytest

from counterground.errors import MissingExtraError, UsageError, error_summary, needs_extra


def test_a_missing_package_is_named_with_its_extra():
    with pytest.raises(MissingExtraError) as caught, needs_extra("report"):
        importlib.import_module("no_such_package.inside")
    assert isinstance(caught.value, UsageError)
    assert str(caught.value) == (
        "The package no_such_package is not installed: "
        "run `pip install '.[report]'` in your clone of CounterGround."
    )


def test_a_missing_module_of_ours_is_no_missing_extra():
    with pytest.raises(ModuleNotFoundError), needs_extra("report"):
        importlib.import_module("counterground.no_such_module")


def test_a_summary_is_one_line_without_a_full_stop():
    assert error_summary(ValueError("two\n  lines.")) == "ValueError: two lines"
    assert error_summary(SystemExit(3)) == "SystemExit: 3"
