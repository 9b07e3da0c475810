"""Runs with made-up predictions."""

import made_runs

make_run, four_models = made_runs.make_run, made_runs.four_models
