"""Labels of imports, while others write to the same pool."""

from concurrent.futures import ThreadPoolExecutor

import made_pools
import pytest

from counterground.construction.imports import import_photos

# Two imports meet at the one moment that matters only if it is called directly.
from counterground.construction.imports._items import Backgrounds
from counterground.construction.pool import BACKGROUND_LABELS, open_pool
from counterground.construction.settings import ImportOptions
from counterground.errors import UsageError


def test_two_imports_at_once_lose_no_label_of_the_label_space(tmp_path):
    with made_pools.fill_pool(tmp_path / "pool", {"flamingo": 40}, licence=lambda _: "cc0") as pool:
        paths = pool.photos()["path"].to_list()

    def bring_in(mine: int) -> None:
        with open_pool(tmp_path / "pool") as pool:
            labels = Backgrounds(pool, f"import {mine}")
            for number, path in enumerate(paths):
                labels.note(path, f"place {mine} {number}")
                labels.write()

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(bring_in, range(2)))
    with open_pool(tmp_path / "pool") as pool:
        found = pool.background_labels()
    assert found[: len(BACKGROUND_LABELS)] == list(BACKGROUND_LABELS)
    new = {f"place {mine} {number}" for mine in range(2) for number in range(len(paths))}
    assert sorted(found[len(BACKGROUND_LABELS) :]) == sorted(new)


def test_two_imports_at_once_add_one_spelling_of_a_label(tmp_path):
    with made_pools.fill_pool(tmp_path / "pool", {"flamingo": 2}, licence=lambda _: "cc0") as pool:
        one, other = (Backgrounds(pool, f"import {number}") for number in range(2))
        for labels, label in ((one, "Reef"), (other, "reef")):
            for path in pool.photos()["path"]:
                labels.note(path, label)
        one.write()
        other.write()
        assert pool.background_labels() == [*BACKGROUND_LABELS, "Reef"]
        assert set(pool.verdicts("background").select("label", "status").rows()) == {("Reef", "agreed")}
        again = Backgrounds(pool, "import 0")
        again.note(pool.photos()["path"][0], "REEF")
        again.write()
        assert (again.recorded, again.added) == (0, [])


def test_a_person_keeps_one_spelling_of_their_name(tmp_path, photos):
    with made_pools.fill_pool(tmp_path / "pool", {"flamingo": 2}, licence=lambda _: "cc0") as pool:
        pool.decide(pool.photos()["path"][0], annotator="Ann", task="background", labels=["sand"])
    with pytest.raises(UsageError, match="has decisions by 'Ann': use that name"):
        import_photos(tmp_path / "pool", photos, ImportOptions(annotator="ann "))
    assert import_photos(tmp_path / "pool", photos, ImportOptions(annotator="Ann")).added == 48
