"""A setting is written down once: signatures, options, `-X` and `counterground.toml` follow it."""

from __future__ import annotations

import inspect

import click
import pytest
from noise_photos import save_animals

import counterground as cg
from counterground.cli import counterground, main
from counterground.errors import UsageError
from counterground.settings import (
    RECORDS,
    CheckSettings,
    DiscoverSettings,
    EvaluateSettings,
    MaskSettings,
    settings_of,
)

# Arguments that are no settings of the command line, or that may also be objects in memory.
OBJECTS = {"out", "settings", "warn", "contrast", "train", "baseline", "discovery", "benchmarks"}


@pytest.mark.parametrize("command", RECORDS)
def test_arguments_are_settings_with_the_same_defaults(command):
    signature = inspect.signature(getattr(cg, command))
    known = {each.name: each.default for each in settings_of(RECORDS[command])}
    named = [each for each in signature.parameters.values() if each.kind is each.KEYWORD_ONLY]
    for argument in named:
        if argument.name not in OBJECTS:
            assert argument.default == known[argument.name], (command, argument.name)
    assert set(RECORDS[command].usual) <= known.keys()
    assert "settings" in signature.parameters


def _options(group, path=""):
    for name in group.list_commands(click.Context(group)):
        command = group.find(name)
        if isinstance(command, click.Group):
            if name != "study":
                yield from _options(command, f"{path}{name} ")
        else:
            yield (
                f"{path}{name}",
                {
                    next(word for word in option.opts if word.startswith("--") or word == "-X")
                    for option in command.params
                    if isinstance(option, click.Option)
                },
            )


def test_there_are_few_options():
    options = dict(_options(counterground))
    assert len(set().union(*options.values())) <= 110
    assert len(options["evaluate"]) <= 16
    assert max(map(len, options.values())) <= 16


@pytest.mark.parametrize(
    ("make", "culprit"),
    [
        (lambda: EvaluateSettings(batch_size=0), "batch_size"),
        (lambda: EvaluateSettings(precision="fp8"), "precision"),
        (lambda: EvaluateSettings(workers=2), "workers"),
        (lambda: CheckSettings(max_drop=10), "max_drop"),
        (lambda: CheckSettings(max_drop="ten"), "max_drop"),
        (lambda: DiscoverSettings(min_drop=float("nan")), "min_drop"),
        (lambda: MaskSettings(categories="a"), "categories"),
        (lambda: MaskSettings(min_area=0.9, max_area=0.1), "area"),
        (lambda: EvaluateSettings.of(CheckSettings()), "settings takes"),
    ],
)
def test_values_are_checked_where_they_are_given(make, culprit):
    with pytest.raises(UsageError, match=culprit):
        make()


def test_texts_mean_what_numbers_do():
    assert CheckSettings(max_drop="10%") == CheckSettings(max_drop="0.1") == CheckSettings(max_drop=0.1)
    assert EvaluateSettings(batch_size="8", photos="no") == EvaluateSettings(batch_size=8, photos=False)
    assert MaskSettings(categories=["a=b"]).categories == {"a": "b"}
    assert EvaluateSettings.of(EvaluateSettings(batch_size=8, limit=3), limit=4).given() == {"batch_size": 8}


def test_an_option_goes_before_x_and_both_before_the_file(tmp_path, monkeypatch, capsys):
    save_animals(tmp_path / "photos")
    (tmp_path / "deeper").mkdir()
    file = tmp_path / "counterground.toml"
    file.write_text('[evaluate]\nbatch-size = 7\nnames = "wordnet"\nreport = false\nprecision = "bf16"\n')
    monkeypatch.chdir(tmp_path / "deeper")
    words = ["evaluate", "../photos", "-m", "colour_model:thousand", "-q", "-o", "run"]
    words += ["-X", "names=openai", "-X", "precision=fp16", "--precision", "fp32"]
    assert main(words) == 0
    assert cg.open_run("run").info.settings == {"batch_size": 7}
    assert not (tmp_path / "deeper/run/report.html").exists()
    for text, culprit in (
        ("[evalute]\n", "'evalute'"),
        ("[evaluate]\nbach-size = 7\n", "'bach-size'"),
        ("[evaluate]\nbatch-size = 0\n", "batch-size"),
        ("[evaluate\n", "counterground.toml cannot be read"),
    ):
        file.write_text(text)
        assert main(words) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert culprit in line


def test_all_settings_are_listed(capsys):
    for command, record in RECORDS.items():
        assert main([command, "-X", "help"]) == 0
        page = capsys.readouterr().out
        assert all(f"{each.option[2:]}=" in page for each in settings_of(record) if each.settable)
