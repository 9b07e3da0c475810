"""What the timings of ``bench`` rest on: pairs by turns, ratios, and rows that can be read by programs."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "bench"


@pytest.fixture(scope="module")
def pairs():
    spec = importlib.util.spec_from_file_location("_pairs", FOLDER / "_pairs.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["_pairs"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["_pairs"]


def test_both_run_by_turns_and_every_other_pair_begins_with_ours(pairs):
    order = []

    def work(name, seconds):
        order.append(name)
        return pairs.Run(seconds, 2 * seconds, 10)

    row = pairs.paired("w", lambda: work("ours", 1.0), "peer", lambda: work("peer", 3.0), pairs=3)
    assert order == ["ours", "peer", "peer", "ours", "ours", "peer"]
    assert row.ratios() == [3, 3, 3]


def test_the_ratio_is_the_median_over_pairs(pairs, tmp_path, monkeypatch, capsys):
    ours = [pairs.Run(seconds, 1, 10) for seconds in (1.0, 1.0, 4.0)]
    other = [pairs.Run(seconds, 2, 30) for seconds in (2.0, 3.0, 4.0)]
    monkeypatch.setenv("BENCH_JSON", str(tmp_path / "rows.jsonl"))
    pairs.publish(pairs.Row("work", ours, "peer", other, wanted="3"))
    (line,) = (tmp_path / "rows.jsonl").read_text().splitlines()
    found = json.loads(line)
    assert (found["ratio"], found["processor_ratio"]) == (2, 2)
    assert [run["seconds"] for run in found["ours"]] == [1, 1, 4]
    assert found["markdown"] in capsys.readouterr().out
    assert "**2.00** (1.00 to 3.00)" in found["markdown"]


def test_each_cold_process_has_an_empty_cache_of_its_own_and_its_memory_is_counted(pairs, tmp_path):
    seen = tmp_path / "seen.txt"
    script = (
        "import os, pathlib; cache = pathlib.Path(os.environ['COUNTERGROUND_CACHE']);"
        f"cache.mkdir(); open({str(seen)!r}, 'a').write(f'{{cache}}\\n'); memory = bytearray(200_000_000)"
    )
    runs = [pairs.process([sys.executable, "-c", script]) for _ in range(2)]
    assert len(set(seen.read_text().split())) == 2
    assert all(run.peak_mb > 190 for run in runs)


def test_a_command_that_fails_ends_the_measurement_with_its_last_lines(pairs):
    with pytest.raises(SystemExit, match="no such photo"):
        pairs.process([sys.executable, "-c", "raise SystemExit('no such photo')"])
