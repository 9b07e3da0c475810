"""Sections of the report, before they are a page."""

import pytest

from counterground.comparison import full_comparison

# What a section says is read here item by item, which the page as a whole does not allow.
from counterground.report.page._section import make_section


@pytest.fixture(scope="session")
def section_of():
    """Function: (*runs of one benchmark) -> their section."""

    def make(*runs):
        comparison = full_comparison(runs)
        return make_section(1, runs, comparison, lambda *_, **__: None)

    return make
