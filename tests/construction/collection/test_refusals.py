"""What collect refuses, and what it does not follow."""

import pytest

from counterground.construction.collection import plan_collection
from counterground.construction.imports import import_photos
from counterground.construction.pool import open_pool
from counterground.construction.settings import PUBLISHED_LIMITS, CollectOptions
from counterground.errors import CounterGroundError


def test_a_class_that_the_pool_writes_otherwise_is_refused(gather, options, zebras, drawn, tmp_path):
    zebras(3)
    folder = tmp_path / "mine" / "zebra"
    folder.mkdir(parents=True)
    (folder / "1.jpg").write_bytes(drawn[9])
    import_photos(tmp_path / "pool", tmp_path / "mine")
    with pytest.raises(CounterGroundError, match=r"'zebra'\. Collect it"):
        gather("Zebra", per_class=2)
    with pytest.raises(CounterGroundError, match="calls the class 'Zebra' 'zebra'"):
        plan_collection(tmp_path / "pool", ["Zebra"], options(per_class=2))
    gather("zebra", per_class=2)
    assert len(open_pool(tmp_path / "pool").freeze()) == 3


def test_a_link_in_place_of_the_lock_is_not_followed(gather, zebras, tmp_path):
    zebras(3)
    gather(per_class=1)
    (tmp_path / "precious").write_text("precious")
    (tmp_path / "pool" / ".collect.lock").unlink()
    (tmp_path / "pool" / ".collect.lock").symlink_to(tmp_path / "precious")
    with pytest.raises(CounterGroundError, match=r"\.collect\.lock is a link: remove it"):
        gather(per_class=2)
    assert (tmp_path / "precious").read_text() == "precious"


def test_nothing_is_written_through_a_link_out_of_the_pool(gather, zebras, tmp_path):
    zebras(3)
    gather(per_class=1)
    (tmp_path / "outside").mkdir()
    (tmp_path / "pool" / "files" / "zebra").rename(tmp_path / "aside")
    (tmp_path / "pool" / "files" / "zebra").symlink_to(tmp_path / "outside")
    with pytest.raises(CounterGroundError, match="is a link out of the pool"):
        gather(per_class=2)
    assert not list((tmp_path / "outside").iterdir())


@pytest.mark.parametrize(
    "address",
    [
        "https://api.inaturalist.org:443/v1",
        "https://ann@API.iNaturalist.org./v1",
        "https://www.inaturalist.org/v1",
    ],
)
def test_the_budget_of_inaturalist_holds_however_its_address_is_written(address):
    assert CollectOptions(api_url=address).limits == PUBLISHED_LIMITS
    assert CollectOptions(api_url=address).account == CollectOptions(api_url=None).account
    other = CollectOptions(api_url="https://api.example.org/v1")
    assert other.account != CollectOptions(api_url=address).account
    assert not any(other.limits.values())
