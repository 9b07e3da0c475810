"""Comparisons with the paper's tables of each setting."""

import polars as pl
import pytest

import counterground as cg
from counterground.cli import main
from counterground.comparison import format_comparison, full_comparison
from counterground.errors import UsageError
from counterground.published import SETTINGS


def test_the_line_is_that_of_the_setting():
    found = cg.compare(setting="openai-prompts")
    assert found.setting.tables == "Tables 10 and 4"
    assert found.points.height == 43
    clips = found.models.filter(family="clip")
    assert 100 * clips["residual"].mean() == pytest.approx(0.057, abs=0.001)
    first, *_ = found.tables
    assert "Tables 10 and 4 (80 OpenAI prompts, 1,000 names, mean over classes)" in " ".join(first.notes)
    assert set(clips["prompts"]) == {"openai"}
    with pytest.raises(UsageError, match="openai-prompts"):
        cg.compare(setting="openai-prompt")


def test_runs_are_not_compared_with_means_over_photos(referee_run):
    found = full_comparison(referee_run, setting="unbalanced")
    run = found.models.row(-1, named=True)
    assert not run["comparable"]
    assert "means over classes" in run["note"]
    assert run["residual"] is None
    beside = full_comparison(referee_run, setting="openai-prompts")
    assert beside.models.row(-1, named=True)["comparable"]
    assert any("uses one prompt" in warning for warning in beside.warnings)


def test_80_prompts_are_not_sent_to_a_table_of_other_names(make_run):
    """Table 10 has 1,000 names; no table has 80 prompts and 20 names."""
    spec = "open_clip:ViT-L-14/laion400m_e31"
    for space, advice in (
        ("imagenet", "counterground compare --setting openai-prompts"),
        ("confusable", "--prompts simple"),
    ):
        run = make_run({spec: (0.8, 0.6)}, prompts="openai", label_space=space)
        (warning,) = (each for each in full_comparison(run).warnings if "80 prompts" in each)
        assert advice in warning


def test_the_notes_count_the_intervals_off_the_line():
    found = full_comparison(setting="openai-prompts")
    text = format_comparison(found, "markdown")
    assert "2 of 28 CLIPs below, 3 above" in text
    far = found.models.filter(pl.col("p_value") < 0.05, source="paper", family="clip")["residual"]
    assert (far > 0).any()
    assert f"is in csv and json): {(far < 0).sum()} CLIPs below, {(far > 0).sum()} above" in " ".join(
        text.split()
    )
    assert "paper's Tables 10 and 4" in text


def test_the_command_offers_the_papers_settings(capsys):
    assert main(["compare", "--help"]) == 0
    printed = "".join(capsys.readouterr().out.split())
    assert f"--setting{'|'.join(SETTINGS)}" in printed
