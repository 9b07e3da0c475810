"""What each method does to a reliance that was planted."""

from __future__ import annotations

import pytest
from toy_world import METHODS, planted_table

pytestmark = pytest.mark.slow

HALVE = (
    "background-prompts",
    "text-projection",
    "text-calibration",
    "roboshot",
    "text-subtraction",
    "image-projection",
    "balanced-prototypes",
    "afr",
    "dfr",
    "group-dro",
    "background-subtraction",
    "foreground",
)
CHEAP = ("background-prompts", "image-projection", "roboshot")


@pytest.fixture(scope="module")
def table():
    return planted_table()


@pytest.fixture(scope="module")
def drops(table):
    return {name: common - counter for name, (common, counter) in table.items()}


def test_the_unmitigated_head_relies_on_the_background(table, drops):
    assert table["unmitigated"][0] > 99
    assert drops["unmitigated"] > 40


@pytest.mark.parametrize("name", HALVE)
def test_the_drop_is_halved(name, drops):
    assert abs(drops[name]) < drops["unmitigated"] / 2


@pytest.mark.parametrize("name", CHEAP)
def test_it_costs_little_on_common_photos(name, table):
    assert table["unmitigated"][0] - table[name][0] < 1.5


@pytest.mark.parametrize("name", sorted({each.name for each in METHODS} - set(HALVE)))
def test_what_knows_nothing_of_backgrounds_does_not_halve_it(name, drops):
    assert drops[name] > drops["unmitigated"] / 2
