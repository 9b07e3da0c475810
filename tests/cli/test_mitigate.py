"""``counterground mitigate``: what it prints, and what it refuses."""

import json

import pytest

from counterground.cli import main
from counterground.mitigation import list_mitigations


@pytest.fixture
def model(own_modules, monkeypatch):
    """A planted model in a module of the user's, and its photos on disk."""
    from planted_photos import planted_benchmark

    from counterground.photos import write_benchmark

    (own_modules / "planted_model.py").write_text("from planted_photos import Planted\n\nload = Planted\n")
    monkeypatch.syspath_prepend(own_modules)
    write_benchmark(planted_benchmark(), own_modules / "planted")
    monkeypatch.chdir(own_modules)
    return ["planted", "-m", "planted_model:load"]


def test_it_prints_the_table_what_it_says_and_where_the_rest_is(model, capsys):
    assert main(["mitigate", *model, "--method", "text-projection", "-o", "mitigated"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "text-projection" in printed
    assert "text-projection makes the drop of" in printed
    assert "Run: mitigated" in printed
    assert main(["scores", "mitigated"]) == 0
    assert main(["compare", "mitigated"]) == 0


def test_json_is_the_record(model, capsys, own_modules):
    assert main(["mitigate", *model, "--method", "roboshot", "--format", "json", "-qo", "mitigated"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads((own_modules / "mitigated" / "mitigation.json").read_bytes())


def test_the_names_of_the_list_can_be_copied(capsys):
    assert main(["mitigate", "--list"]) == 0
    printed = {line.partition(" ")[0] for line in capsys.readouterr().out.splitlines()}
    assert {method.name for method in list_mitigations()} <= printed


@pytest.mark.parametrize(
    ("given", "missing"),
    [([], "DATA"), (["stamps"], "--model"), (["stamps", "-m", "x", "--method", "dfr"], "--out")],
)
def test_what_is_missing_is_named(given, missing, capsys):
    assert main(["mitigate", *given]) == 2
    assert f"{missing}'" in capsys.readouterr().err
