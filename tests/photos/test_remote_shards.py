"""WebDataset shards by name, on this disk and on the web."""

import functools
import hashlib
import http.server
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import forked
import pytest
from loopback import Handler, serving
from photo_server import photo_bytes
from tars import write_tar

from counterground.errors import CounterGroundError, UsageError
from counterground.files import cache_dir
from counterground.photos import read_benchmark

IDS = sorted(hashlib.sha256(photo_bytes(number)).hexdigest() for number in range(6))


@pytest.fixture
def shards(tmp_path):
    """Three shards of two photos in ``birds/test``, and the names of the classes above them."""
    folder = tmp_path / "birds" / "test"
    folder.mkdir(parents=True)
    for shard in range(3):
        numbers = (2 * shard, 2 * shard + 1)
        photos = [(f"{number:03d}.jpg", photo_bytes(number)) for number in numbers]
        classes = [(f"{number:03d}.cls", b"%d" % (number % 2)) for number in numbers]
        write_tar(folder / f"{shard:05d}.tar", sorted(photos + classes))
    (tmp_path / "birds" / "classnames.txt").write_text("tench\nhen\n")
    return folder


class Shards(Handler, http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked[self.path] += 1
        if self.path in self.server.refused:
            return self.send_error(self.server.refused[self.path])
        if self.path in self.server.endless:
            return self.drip()
        if self.server.slow and self.path.endswith(".tar"):
            return self.send_slowly(Path(self.translate_path(self.path)).read_bytes())
        return super().do_GET()

    def send_slowly(self, data):
        self.send_response(200)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        for start in range(0, len(data), len(data) // 20):
            self.wfile.write(data[start : start + len(data) // 20])
            self.server.over.wait(0.05)

    def drip(self):
        self.send_response(200)
        self.send_header("Content-Length", str(2**30))
        self.end_headers()
        try:
            for _ in range(500):
                if not self.server.over.wait(0.02):
                    self.wfile.write(b"drop")
        except OSError:
            self.server.left.set()


@pytest.fixture
def web(shards):
    handler = functools.partial(Shards, directory=str(shards.parent))
    state = {"asked": Counter(), "refused": {}, "endless": set(), "slow": False}
    with serving(handler, over=threading.Event(), left=threading.Event(), **state) as server:
        server.url += "/test"
        server.named = f"?names={shards.parent}/classnames.txt"
        yield server
        server.over.set()


def test_shards_of_the_web_are_fetched_once_and_classes_are_named_by_a_file(web):
    spec = f"{web.url}/{{00000..00002}}.tar{web.named}"
    benchmark = read_benchmark(spec)
    assert (sorted(benchmark.photos["photo_id"]), benchmark.name) == (IDS, "test")
    assert benchmark.classes.names == ("tench", "hen")
    assert read_benchmark(spec).version == benchmark.version
    assert web.asked == {f"/test/0000{shard}.tar": 1 for shard in range(3)}
    with pytest.raises(CounterGroundError, match=r"class is a number, .*\?names=FILE"):
        read_benchmark(spec.removesuffix(web.named))


def test_two_processes_fetch_one_shard_once(web, tmp_path):
    web.slow = True
    code = "import sys, counterground.photos as p; print(p.read_benchmark(sys.argv[1]).version)"
    with ThreadPoolExecutor() as threads:
        both = [
            threads.submit(forked.run, code, f"{web.url}/00000.tar{web.named}", folder=tmp_path) for _ in "ab"
        ]
    assert [each.result().stderr for each in both] == ["", ""]
    assert len({each.result().stdout for each in both}) == 1
    assert web.asked["/test/00000.tar"] == 1


def test_the_query_of_a_url_is_its_own(web):
    assert len(read_benchmark(f"{web.url}/00001.tar{web.named}&token=a%20b")) == 2
    assert web.asked["/test/00001.tar?token=a%20b"] == 1


def test_a_shard_that_is_missing_ends_it_and_the_others_are_kept(web):
    web.refused["/test/00002.tar"] = 404  # two at once: it is asked for when another has come
    spec = f"{web.url}/{{00000..00002}}.tar{web.named}"
    with pytest.raises(CounterGroundError, match=r"The shard http.*/00002\.tar cannot be fetched: .* 404\.$"):
        read_benchmark(spec)
    kept = [int(path.stem) for path in (cache_dir() / "fetched").rglob("*.tar")]
    assert kept
    web.refused.clear()
    assert len(read_benchmark(spec)) == 6
    assert {web.asked[f"/test/{number:05d}.tar"] for number in kept} == {1}


def test_no_shard_is_waited_for_once_another_is_missing(web):
    web.endless.add("/test/00000.tar")
    web.refused["/test/00001.tar"] = 404
    with pytest.raises(CounterGroundError, match=r"/00001\.tar cannot be fetched: .* 404\.$"):
        read_benchmark(f"{web.url}/{{00000..00001}}.tar")
    assert web.left.wait(5)


def test_a_page_in_place_of_a_shard_is_named(web, shards):
    (shards / "00002.tar").write_text("<html>please log in</html>")
    with pytest.raises(CounterGroundError, match=r"000002\.tar is damaged or cut short"):
        read_benchmark(f"{web.url}/{{00000..00002}}.tar")


def test_shards_of_this_disk(shards):
    names = shards.parent / "classnames.txt"
    benchmark = read_benchmark(f"{shards}/{{00001..00002}}.tar?names={names}")
    assert (sorted(benchmark.photos["photo_id"]), benchmark.name) == (
        sorted(hashlib.sha256(photo_bytes(number)).hexdigest() for number in range(2, 6)),
        "test",
    )
    names.rename(shards / "classnames.txt")
    assert read_benchmark(shards / "00000.tar").name == "00000"


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("{folder}/{{00000..00003}}.tar", r"The shard .*00003\.tar does not exist \(1 of 4\)"),
        ("https://host/page", r"is neither a table nor a tar"),
        ("{folder}/{{00000..00001}}.tar?label=x", "tars have no columns"),
        ("http:///{{0..1}}.tar", "is neither http nor https"),
    ],
)
def test_what_is_not_there_is_said_in_one_line(shards, spec, message):
    with pytest.raises(UsageError, match=message) as caught:
        read_benchmark(spec.format(folder=shards))
    assert "\n" not in str(caught.value)


def test_numbers_in_braces_keep_their_zeros():
    from counterground.photos._source import expand_braces

    assert expand_braces("a/{8..10}.tar") == ["a/8.tar", "a/9.tar", "a/10.tar"]
    assert expand_braces("a/{08..10}.tar") == ["a/08.tar", "a/09.tar", "a/10.tar"]
    assert expand_braces("{0..1}/{00..01}.tar") == ["0/00.tar", "0/01.tar", "1/00.tar", "1/01.tar"]
    assert len(expand_braces("{1..100000}.tar")) == 100_000
    with pytest.raises(UsageError, match=r"\{1..100001\} stands for no shard, or for more than 100,000"):
        expand_braces("{1..100001}.tar")
