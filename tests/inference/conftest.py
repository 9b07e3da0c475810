"""What several files of this room evaluate."""

import pytest

from counterground.benchmarks import StampsSettings, build_stamps


@pytest.fixture(scope="session")
def stamps(tmp_path_factory, shared_cache):
    """A few photographs of two classes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COUNTERGROUND_CACHE", str(shared_cache))
        settings = StampsSettings(classes=("lion", "zebra"), per_label=2)
        return build_stamps(settings, out=tmp_path_factory.mktemp("stamps") / "few")
