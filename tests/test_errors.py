"""Errors of the root: what is missing is named with what installs it."""

from __future__ import annotations

import importlib
import json

import pytest

from counterground.errors import (
    CounterGroundError,
    MissingExtraError,
    UsageError,
    error_summary,
    install_command,
    needs_extra,
    raised_in,
)
from counterground.photos import LabelSpace


def test_a_missing_package_is_named_with_its_extra():
    with pytest.raises(MissingExtraError) as caught, needs_extra("report"):
        importlib.import_module("no_such_package.inside")
    assert isinstance(caught.value, UsageError)
    assert str(caught.value) == (
        "The package no_such_package is not installed: "
        "run `pip install '.[report]'` in your clone of CounterGround."
    )


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        (
            {"url": "file:///home/ann/my%20files/counterground-0.1.0-py3-none-any.whl", "archive_info": {}},
            "`pip install 'counterground-0.1.0-py3-none-any.whl[hf]'` in the folder of that file",
        ),
        (
            {"url": "https://lab.org/counterground-0.1.0-py3-none-any.whl", "archive_info": {}},
            "`pip install 'counterground[hf] @ https://lab.org/counterground-0.1.0-py3-none-any.whl'`",
        ),
        (
            {"url": "https://lab.org/cg.git", "vcs_info": {"vcs": "git", "commit_id": "1a2b"}},
            "`pip install 'counterground[hf] @ git+https://lab.org/cg.git@1a2b'`",
        ),
        (
            {"url": "file:///home/ann/clone", "dir_info": {}},
            "`pip install '.[hf]'` in your clone of CounterGround",
        ),
        (None, "`pip install '.[hf]'` in your clone of CounterGround"),
    ],
)
def test_an_extra_is_installed_from_where_the_package_came(origin, command, tmp_path, monkeypatch):
    installed = tmp_path / "counterground-0.1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: counterground\nVersion: 0.1.0\n")
    if origin is not None:
        (installed / "direct_url.json").write_text(json.dumps(origin))
    monkeypatch.syspath_prepend(tmp_path)
    assert install_command("hf") == command


def test_a_missing_module_of_ours_is_no_missing_extra():
    with pytest.raises(ModuleNotFoundError), needs_extra("report"):
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
        LabelSpace("own", ("ox",), 345)
    assert "test_errors.py, line " in raised_in(caught.value)
