"""One mitigated run of planted photos, shared by the tests that read it."""

import pytest
from planted_photos import Planted, planted_benchmark

import counterground as cg

METHODS = ("template-ensemble", "text-projection", "sage", "background-prompts", "balanced-prototypes")


@pytest.fixture(scope="session")
def mitigation_cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("mitigation-cache"))


@pytest.fixture(scope="session")
def planted(mitigation_cache):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", mitigation_cache)
        return planted_benchmark()


@pytest.fixture(scope="session")
def mitigated(planted, mitigation_cache, tmp_path_factory):
    """A model that believes the ground, mitigated in five ways."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", mitigation_cache)
        return cg.mitigate(planted, Planted(), METHODS, out=tmp_path_factory.mktemp("mitigated") / "run")
