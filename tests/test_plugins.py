"""Registries, filled by packages that are installed as pip leaves them."""

import sys

import pytest
from other_package import install

from counterground.errors import CounterGroundError, UsageError
from counterground.plugins import Registry, plugin_modules

NUMBERS = Registry("counterground.numbers", int, {"one": 1})


def test_what_another_package_adds_stands_after_ours(site):
    install(site, "mine", "TWO = 2", {"counterground.numbers": {"two": "mine:TWO"}})
    assert NUMBERS.names() == ["one", "two"]
    assert "mine" not in sys.modules
    assert [NUMBERS.find(name) for name in ("one", "two", "three")] == [1, 2, None]


def test_a_broken_package_is_named_and_breaks_no_other(site):
    install(site, "mine", "import nothing_of_this_name", {"counterground.numbers": {"two": "mine:TWO"}})
    install(site, "yours", "THREE = 3", {"counterground.numbers": {"three": "yours:THREE"}})
    warnings = []
    assert list(NUMBERS.each(warnings.append)) == [1, 3]
    assert [("'two'" in line, "mine" in line, "nothing_of_this_name" in line) for line in warnings] == [
        (True, True, True)
    ]
    with pytest.raises(CounterGroundError, match=r"package mine cannot provide 'two'.*nothing_of_this_name"):
        NUMBERS.find("two")


def test_a_name_that_two_claim_is_refused_where_it_is_used(site):
    install(site, "mine", "ONE = 11", {"counterground.numbers": {"one": "mine:ONE"}})
    with pytest.raises(UsageError, match=r"'one' is claimed by several packages \(counterground, mine\)"):
        NUMBERS.find("one")
    warnings = []
    assert list(NUMBERS.each(warnings.append)) == [1]
    assert len(warnings) == 1


def test_a_thing_of_another_kind_is_refused(site):
    install(site, "mine", "TWO = 'two'", {"counterground.numbers": {"two": "mine:TWO"}})
    with pytest.raises(CounterGroundError, match="mine:TWO is not a int of that name"):
        NUMBERS.find("two")


def test_metadata_without_a_name_or_a_module_breaks_no_other_package(site):
    install(site, "mine", "TWO = 2", {"counterground.numbers": {"two": "mine:TWO"}})
    install(site, "yours", "TWO = 2", {"counterground.numbers": {"two": "yours:TWO", "odd": "!!!"}})
    metadata = site / "mine-1.0.dist-info/METADATA"
    metadata.write_text(metadata.read_text().replace("Name: mine\n", ""))
    with pytest.raises(UsageError, match=r"'two' is claimed by several packages \(mine:TWO, yours\)"):
        NUMBERS.find("two")
    with pytest.raises(CounterGroundError, match="cannot provide 'odd'"):
        NUMBERS.find("odd")
    assert "mine" in plugin_modules()
