"""The command: what it refuses in one line, and the small rules behind labels and keys."""

import subprocess
import sys

import pytest
from click.testing import CliRunner

# Tested where they are: through a server and a page each case takes seconds.
from counterground.construction.annotate._pages import (
    ANSWER_KEYS,
    COMMAND_KEYS,
    label_keys,
    read_labels,
)
from counterground.construction.cli import label
from counterground.construction.pool import BACKGROUND_LABELS, open_pool
from counterground.errors import CounterGroundError, UsageError


def refusal(pool, *options):
    """Run the command, which must fail before it serves; return its error."""
    result = CliRunner().invoke(label, [str(pool), "--no-open", *options])
    assert isinstance(result.exception, CounterGroundError), result.output
    assert "\n" not in str(result.exception)
    return result.exception


def test_bad_input_gets_one_line(tmp_path, pool):
    root = pool.root
    assert "'imported' is the annotator" in str(refusal(root, "--annotator", "Imported"))
    for one, other in (("ann", "Ann"), ("Zo\u00eb", "Zoe\u0308")):
        assert "different names" in str(refusal(root, "--annotator", one, "--annotator", other))
    pool.decide(pool.photos()["path"][0], annotator="ben", task="review", labels=["keep"])
    assert "decisions by 'ben': use that name" in str(refusal(root, "--annotator", "Ben"))
    empty = open_pool(tmp_path / "empty", create=True)
    error = refusal(empty.root, "--annotator", "ann")
    assert "has no photos" in str(error)
    assert not isinstance(error, UsageError)


IN_A_NOTEBOOK = """
import asyncio, http.client, os, signal, sys, threading
from urllib.parse import urlsplit
import counterground as cg
from counterground import construction

def say(line):
    if "http://" in line:
        address = urlsplit(line.split()[-1])
        threading.Thread(target=visit, args=[address.netloc, f"{address.path}?{address.query}"]).start()

def visit(host, path):
    asked = http.client.HTTPConnection(host, timeout=60)
    asked.request("GET", path)
    print(asked.getresponse().status, flush=True)
    asked.close()
    os.kill(os.getpid(), signal.SIGINT)

async def cell():
    return construction.label_pool(sys.argv[1], construction.LabelSettings(annotators=["ann"]), say=say)

print(asyncio.new_event_loop().run_until_complete(cell()).decisions)
"""


def test_a_notebook_whose_event_loop_runs_can_serve(pool):
    command = [sys.executable, "-c", IN_A_NOTEBOOK, str(pool.root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.splitlines() == ["200", "{'ann': 0}"], done.stderr


def test_a_usual_port_that_is_taken_gives_way_to_another(pool, serve):
    first = serve(pool)
    second = serve(pool)
    assert second.port != first.port
    first.stop()
    second.stop()
    assert serve(pool).port == first.port


def test_labels_of_a_file_take_the_place_of_the_pools(pool, serve, tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("# of plants\nsoil\n\n concrete \n")
    serve(pool, "-X", f"labels={file}").stop()
    assert pool.background_labels() == ["soil", "concrete"]
    pool.decide(pool.photos()["path"][0], annotator="ann", task="background", labels=["soil"])
    file.write_text("earth\nconcrete\n")
    error = refusal(pool.root, "--annotator", "ann", "-X", f"labels={file}")
    assert "can be neither renamed nor removed: ['soil']" in str(error)
    assert pool.background_labels() == ["soil", "concrete"]


def test_label_files_are_text(tmp_path):
    file = tmp_path / "labels.txt"
    file.write_bytes("\ufeffb\r\na  b \r\n".encode())
    assert read_labels(file, {"a b": 3, "later": 5}) == ["b", "a b"]
    with pytest.raises(UsageError, match=r"neither renamed nor removed: \['a'\]"):
        read_labels(file, {"a": 3})
    for content in (b"", b"a\na\n", b"Sand\nsand\n", b"later\n", b"\xff\xfe\x00"):
        file.write_bytes(content)
        with pytest.raises(UsageError, match=r"labels\.txt"):
            read_labels(file, {})


def test_every_label_of_the_paper_has_a_key_of_its_own():
    keys = label_keys(BACKGROUND_LABELS)
    assert len(set(keys.values())) == len(BACKGROUND_LABELS)
    assert not COMMAND_KEYS & set(keys.values())
    assert all(key in label for label, key in keys.items())
    assert (keys["ground"], keys["grass"], keys["snow"]) == ("g", "r", "n")


def test_keys_of_others_stay_when_a_label_is_added():
    before = label_keys(BACKGROUND_LABELS)
    after = label_keys([*BACKGROUND_LABELS, "gravel"])
    assert {label: after[label] for label in before} == before


def test_labels_in_any_script_get_keys_while_there_are_any():
    keys = label_keys(["草", "水", "lulz", "a", *map(str, range(40))])
    given = [key for key in keys.values() if key]
    assert len(given) == len(set(given)) == 29  # 26 letters but three, and the digits no answer has
    assert not {*COMMAND_KEYS, *ANSWER_KEYS} & set(given)
    assert keys["a"] == "a"
    assert None in keys.values()
