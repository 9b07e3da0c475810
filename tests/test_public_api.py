"""What ``import counterground as cg`` offers."""

import inspect
import subprocess
import sys

import polars as pl
import pytest

import counterground as cg
from counterground.errors import UsageError


def test_what_is_public_is_listed_and_there():
    assert dir(cg) == sorted(cg.__all__)
    assert all(getattr(cg, name) is not None for name in cg.__all__)


@pytest.mark.parametrize("name", [name for name in cg.__all__ if inspect.isfunction(getattr(cg, name))])
def test_every_argument_has_a_name_and_a_type(name):
    signature = inspect.signature(getattr(cg, name))
    kinds = {parameter.kind for parameter in signature.parameters.values()}
    assert not kinds & {inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL}
    annotations = [parameter.annotation for parameter in signature.parameters.values()]
    assert inspect.Parameter.empty not in [*annotations, signature.return_annotation]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            lambda: cg.evaluate(pl.DataFrame({"path": ["a"]}), "efficientnet-lite0", out="x"),
            r"not DataFrame.*\.from_frame",
        ),
        (lambda: cg.scores("run", by="class"), "not by 'class'"),
    ],
)
def test_other_values_are_refused_in_one_line(call, said):
    with pytest.raises(UsageError, match=said):
        call()


def test_the_import_loads_nothing_heavy():
    code = "import sys, counterground; print(*{'torch', 'polars', 'numpy'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
