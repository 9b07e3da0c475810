"""The first commands of docs/fine-tuned-clip.md, on drawings like CounterAnimal, with the shipped CLIPs."""

import re
import shlex
from pathlib import Path

from noise_photos import save_animals

from counterground.cli import main

PAGE = Path(__file__).parents[2] / "docs" / "fine-tuned-clip.md"
HERE = {
    "counteranimal": "photos",
    "base=open_clip:ViT-B-32/laion2b_s34b_b79k": "base=counterground:stamps-balanced",
    "tuned=open_clip:ViT-B-32@tuned.safetensors": "tuned=counterground:stamps-biased",
}


def test_base_and_tuned_are_compared(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    save_animals(tmp_path / "photos", per_group=4)
    (block,) = re.findall(
        r"<!-- run with two small CLIPs -->\n```console\n(.*?)```", PAGE.read_text(), re.DOTALL
    )
    shown = []
    for line in block.replace("\\\n", "").splitlines():
        assert main([HERE.get(word, word) for word in shlex.split(line)[1:]]) == 0, line
        shown.append(capsys.readouterr().out)
    assert all(quantity in shown[1] for quantity in ("accuracy, common", "accuracy, counter", "drop"))
    assert shown[1].count("LAION400M") >= 2  # the paper's rows
    assert "\\begin{tabular}" in shown[2]
