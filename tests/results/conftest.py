"""Runs as tables, cards and bibliographies take them."""

import made_runs

make_run, four_models = made_runs.make_run, made_runs.four_models
