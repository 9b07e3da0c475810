"""One mitigated run of planted photos, shared by the tests that read it."""

import pytest
from planted_photos import Planted, planted_benchmark

import counterground as cg

METHODS = ("template-ensemble", "text-projection", "sage", "background-prompts", "balanced-prototypes")


@pytest.fixture(scope="session")
def mended_cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("mended-cache"))


@pytest.fixture(scope="session")
def planted(mended_cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", mended_cache)
        return planted_benchmark()


@pytest.fixture(scope="session")
def mended(planted, mended_cache, tmp_path_factory):
    """A model that believes the ground, mended in five ways."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", mended_cache)
        return cg.mitigate(planted, Planted(), METHODS, out=tmp_path_factory.mktemp("mended") / "run")
