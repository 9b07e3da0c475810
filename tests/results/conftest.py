"""Runs as tables, cards and bibliographies take them."""

from made_runs import four_models, make_run  # noqa: F401 - fixtures
