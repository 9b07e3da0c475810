"""What collect refuses, and what it does not follow."""

import pytest

from counterground.construction.collection import CollectOptions, collect, plan_collection
from counterground.construction.imports import import_photos
from counterground.construction.pool import open_pool
from counterground.errors import CounterGroundError, UsageError


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"quality": "reserch"}, "Unknown quality grade 'reserch'.*Did you mean 'research'"),
        ({"licences": ("cc-by-nx",)}, "Unknown licence"),
        ({"size": "huge"}, "Unknown size"),
        ({"since": "05/31/2024"}, "is not a date for --since"),
        ({"since": "2024-05-31", "until": "2024-05-01"}, "is later than --until"),
        ({"per_class": 0}, "per_class is from 1 to"),
        ({"jobs": 0}, "jobs is from 1 to"),
        ({"api_url": "api.inaturalist.org"}, "is not the address of an API"),
        ({"api_url": "http://[x/v1"}, "is not the address of an API"),
    ],
)
def test_values_that_cannot_be_are_refused(given, said):
    with pytest.raises(UsageError, match=said):
        CollectOptions(**given)


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
    "given",
    [
        {"api_url": "https://api.inaturalist.org:443/v1", "requests_per_minute": 61},
        {"api_url": "https://ann@API.iNaturalist.org./v1", "requests_per_day": 10_001},
        {"api_url": "https://www.inaturalist.org/v1", "bytes_per_hour": 6_000_000_000},
    ],
)
def test_budgets_of_inaturalist_are_not_raised_however_its_address_is_written(given):
    with pytest.raises(UsageError, match="exceeds iNaturalist's published limit"):
        CollectOptions(**given)


def test_budgets_of_another_server_are_its_own():
    own = CollectOptions(api_url="http://localhost:8000/v1", bytes_per_hour=6_000_000_000)
    assert own.host == "localhost:8000"
    assert CollectOptions(api_url="https://api.inaturalist.org:443/v1").host == CollectOptions().host


@pytest.mark.parametrize("chosen", [{"zebra": (3_000_000_000,)}, {"zebra": (-1,)}, {"zebra": ("x",)}])
def test_what_is_no_id_of_a_taxon_is_refused(chosen):
    with pytest.raises(UsageError, match="is not the id of a taxon"):
        CollectOptions(taxa=chosen)


def test_a_file_with_a_number_that_is_no_taxon_is_refused(options, tmp_path):
    (tmp_path / "classes.txt").write_text(f"zebra\t{'9' * 5000}\n")
    with pytest.raises(UsageError, match="is not the id of a taxon"):
        collect(tmp_path / "pool", tmp_path / "classes.txt", options())
