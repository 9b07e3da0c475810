"""A real run of a small model and its bundle, of which each test has a copy."""

import shutil

import pytest
from evaluated import evaluated
from noise_photos import save_animals

from counterground.cli import main
from counterground.sharing import share_run


@pytest.fixture(scope="session")
def originals(tmp_path_factory):
    """A folder of ``photos``, a ``run`` of a model of one's own code and its ``bundle``."""
    root = tmp_path_factory.mktemp("originals")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(root / "cache"))
        run = evaluated(save_animals(root / "photos"), "colour_model:brightness", root / "run")
    share_run(run, root / "bundle")
    return root


@pytest.fixture
def bundle(originals, tmp_path):
    return shutil.copytree(originals / "bundle", tmp_path / "bundle")


@pytest.fixture
def refusal(capsys):
    """Function: words of a command -> its exit status and the one line on standard error."""

    def refused(*words):
        capsys.readouterr()
        status = main([str(word) for word in words])
        said = capsys.readouterr().err
        assert said.startswith("Error: ")
        assert said.count("\n") == 1, said
        return status, said

    return refused
