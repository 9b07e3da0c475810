"""Which commands use the network: none that need not, and none at all with ``--offline``."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import forked
import pytest
from planted_photos import planted_benchmark

from counterground.construction.imports import import_photos
from counterground.photos import write_benchmark
from counterground.settings import DiscoverSettings, EvaluateSettings, MitigateSettings, SwapSettings

# Python tells the hook of every socket and process, whichever library of ours or of others opens it.
WATCH = """
import json, os, sys
used = []
LOCAL = {"git", "uname", "fc-list"}  # the version of a checkout, of the system, and its fonts

def watch(event, given):
    internet = event in ("socket.connect", "socket.sendto", "socket.sendmsg")
    if internet and not isinstance(given[1], (str, bytes)):
        used.append([event, str(given[1])])
    elif event in ("socket.getaddrinfo", "socket.gethostbyname"):
        used.append([event, str(given[0])])
    elif event == "subprocess.Popen" and os.path.basename(str(given[0])) not in LOCAL:
        used.append([event, str(given[0])])

sys.addaudithook(watch)
import small_theory
from counterground.cli import main
found = []
for words in json.loads(sys.argv[1]):
    used.clear()
    found.append([words, main(words), list(used)])
open(sys.argv[2], "w").write(json.dumps(found))
"""

LOCAL = (
    "evaluate planted -m planted_model.py:load --out run",
    "evaluate planted -m open_clip:clip --out other",
    "discover planted --referee planted_model.py:load --write-anyway --out pairs",
    "scores run --format json",
    "compare run other",
    "report run --out report.html",
    "paper figures run --out figures",
    "plan run --drop 5%",
    "check run --max-drop 99%",
    "mitigate planted -m planted_model.py:load --method text-projection --out mitigated",
    "data masks planted --from manifest --out masks",
    "swap planted -m planted_model.py:load --label-space benchmark --out swapped",
    "data import planted -o pool",
    "data curate pool",
    "data pool pool",
    "data export pool --format croissant --private --out exported",
    "data export planted --format webdataset --private --out shards",
    "models",
    "benchmarks",
    "cache info",
    "paper study theory --quick --out theory",
)
REMOTE = {
    "evaluate planted -m hf:nobody/no-model --out a": "--offline",
    "evaluate planted -m open_clip:ViT-B-32/laion2b_s34b_b79k --out b": "--offline",
    "evaluate planted -m torchvision:resnet18 --out c": "--offline",
    "evaluate planted -m timm:resnet18.a1_in1k --out d": "--offline",
    "evaluate planted -m https://models.example.org/v1#m --label-space benchmark --out e": "--offline",
    "evaluate urls.csv -m planted_model.py:load --out f": "--offline",
    "evaluate https://data.example.org/{00000..00001}.tar -m planted_model.py:load --out g": "--offline",
    "evaluate hf:nobody/no-data -m planted_model.py:load --out i": "--offline",
    "evaluate stamps -m planted_model.py:load --out j": "--offline",
    "discover planted --referee hf:nobody/no-model --out k": "--offline",
    "mitigate planted -m torchvision:resnet18 --method text-projection --out l": "--offline",
    "swap planted -m torchvision:resnet18 --out m": "--offline",
    "data masks planted --from hf:nobody/no-model --out n": "",
    "benchmarks get stamps": "--offline",
    "benchmarks get counteranimal": "--offline",
    "data collect collected -c zebra --per-class 1": "--offline",
    "data import hf:nobody/no-data -o imported": "",
    "data import urls.csv -o fetched": "",
    "data curate pool --model open_clip:ViT-B-32/laion2b_s34b_b79k": "--offline",
    "paper study multicoloredmnist --quick --out o": "--offline",
    "paper study coloredcoco --quick --out p": "--offline",
}


@pytest.fixture(scope="module")
def seen(tmp_path_factory, tiny_clip):
    """Function: commands -> each with its status and what it used, all in one process and one folder."""
    folder = tmp_path_factory.mktemp("work")
    (folder / "photos").mkdir()
    write_benchmark(planted_benchmark(masks=folder / "photos"), folder / "planted")
    import_photos(folder / "pool", folder / "planted")
    (folder / "planted_model.py").write_text("from planted_photos import Planted\n\nload = Planted\n")
    (folder / "clip").symlink_to(tiny_clip)
    (folder / "urls.csv").write_text("path,class_name\nhttps://photos.example.org/1.jpg,ox\n")
    where = {
        "PYTHONPATH": str(Path(__file__).parents[1] / "support"),
        "COUNTERGROUND_CACHE": str(folder / "cache"),
        "HF_HOME": str(folder / "hub"),
        "TORCH_HOME": str(folder / "torch"),
        "HOME": str(folder),
    }

    def run(commands, **environment):
        words = json.dumps([command.split() for command in commands])
        everything = where | environment
        ran = forked.run(WATCH, words, folder / "seen.json", folder=folder, environment=everything)
        assert ran.returncode == 0, ran.stderr
        return json.loads((folder / "seen.json").read_text()), ran.stderr

    run.folder = folder
    return run


@pytest.mark.slow
def test_what_is_on_this_machine_is_used_without_the_network(seen):
    found, complaints = seen(LOCAL)
    failed = [words for words, status, _ in found if status and words[0] != "check"]  # that one may say no
    assert failed == [], complaints
    assert [(words, used) for words, _, used in found if used] == []


@pytest.mark.parametrize(
    ("option", "variable"),
    [(" --offline", {}), ("", {"COUNTERGROUND_OFFLINE": "1"})],
    ids=["option", "variable"],
)
def test_offline_is_obeyed_by_every_command_that_could_use_the_network(seen, option, variable):
    found, complaints = seen([f"{command}{option}" for command in REMOTE], **variable)
    assert [(words, used) for words, _, used in found if used] == []
    assert [words for words, status, _ in found if status == 0] == []
    lines = [line for line in complaints.splitlines() if line.startswith("Error: ")]
    assert len(lines) == len(REMOTE), complaints
    for (command, said), line in zip(REMOTE.items(), lines, strict=True):
        assert said in line, (command, line)
        assert "a bug in CounterGround" not in line


def test_offline_of_a_function_is_obeyed_by_all_that_it_calls(photos, tmp_path):
    from photo_server import running

    import counterground as cg
    from counterground.errors import CounterGroundError
    from counterground.http import is_offline

    table, out = tmp_path / "urls.csv", tmp_path / "out"
    calls = (
        lambda: cg.evaluate(
            table, "colour_model:brightness", out=out, settings=EvaluateSettings(offline=True)
        ),
        lambda: cg.evaluate(
            photos, "colour_model:brightness", train=table, out=out, settings=EvaluateSettings(offline=True)
        ),
        lambda: cg.discover(
            table, "colour_model:brightness", out=out, settings=DiscoverSettings(offline=True)
        ),
        lambda: cg.mitigate(
            table, "colour_model:brightness", "dfr", out=out, settings=MitigateSettings(offline=True)
        ),
        lambda: cg.swap(table, "colour_model:brightness", out=out, settings=SwapSettings(offline=True)),
    )
    with running() as server:
        elsewhere = server.address(1).replace("127.0.0.1", "127.1")
        table.write_text(f"path,class_name\n{elsewhere},ox\n")
        for call in calls:
            with pytest.raises(CounterGroundError, match="--offline forbids it"):
                call()
        assert server.asked.total() == 0
    assert not is_offline()


def test_offline_lasts_as_long_as_the_last_of_several_threads(monkeypatch):
    from counterground.http import OFFLINE, is_offline, offline

    monkeypatch.delenv(OFFLINE, raising=False)
    with ThreadPoolExecutor() as threads:
        began, ends = Event(), Event()

        def first():
            with offline():
                began.set()
                ends.wait()

        other = threads.submit(first)
        began.wait()
        with offline():
            ends.set()
            other.result()
            assert is_offline()
    assert not is_offline()


def test_libraries_are_told_to_report_nothing():
    code = (
        "import counterground, os\n"
        "from huggingface_hub import constants\n"
        "print(constants.HF_HUB_DISABLE_TELEMETRY, os.environ['RAY_USAGE_STATS_ENABLED'])"
    )
    ran = forked.run(code)
    assert ran.stdout.split() == ["True", "0"]
