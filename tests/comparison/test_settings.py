"""Comparisons with the paper's tables of each setting."""

import pytest

import counterground as cg
from counterground.comparison import full_comparison
from counterground.errors import UsageError


def test_the_line_is_that_of_the_setting():
    found = cg.compare(setting="openai-prompts")
    assert found.setting.tables == "Tables 10 and 4"
    assert found.points.height == 43
    clips = found.models.filter(family="clip")
    assert 100 * clips["residual"].mean() == pytest.approx(0.057, abs=0.001)
    first, *_ = found.tables
    assert "Tables 10 and 4" in first.title
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
    assert "unlike_paper" in {each.code for each in beside.findings}


def test_80_prompts_are_not_sent_to_a_table_of_other_names(make_run):
    """Table 10 has 1,000 names; no table has 80 prompts and 20 names."""
    spec = "open_clip:ViT-L-14/laion400m_e31"
    for space, advice in (
        ("imagenet", "add --setting openai-prompts"),
        ("confusable", "evaluate with --prompts simple"),
    ):
        run = make_run({spec: (0.8, 0.6)}, prompts="openai", label_space=space)
        told = [each.numbers.get("remedy") for each in full_comparison(run).findings]
        assert advice in told
