"""Sections of the report, before they are a page."""

import pytest

from counterground.comparison import full_comparison

# What a section says is read here item by item, which the page as a whole does not allow.
from counterground.reporting._section import make_section


@pytest.fixture(scope="session")
def section_of():
    """Function: (*runs of one benchmark) -> their section, without photos."""
    return lambda *runs, comparison=None: make_section(1, runs, comparison or full_comparison(runs))
