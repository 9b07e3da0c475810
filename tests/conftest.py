"""Real parts, made small: photographs of noise, a CLIP with random weights, a cache of its own."""

from __future__ import annotations

import gc
import os
import shutil
import sys
from itertools import count
from pathlib import Path

import pytest
from hypothesis import settings
from noise_photos import save_animals

# Each of several test processes computes with one thread: more would wait for each other.
if "PYTEST_XDIST_WORKER" in os.environ:
    for threads in ("OMP_NUM_THREADS", "POLARS_MAX_THREADS", "TORCHINDUCTOR_COMPILE_THREADS"):
        os.environ.setdefault(threads, "1")

# Half a million objects of PyTorch and others stay to the end: the default looks through them far too often.
gc.set_threshold(10_000, 10, 20)

# A busy machine is no reason to fail.
settings.register_profile("counterground", deadline=None)
settings.load_profile("counterground")


# Files with few long tests.
LONG = (
    "inference/test_cluster",
    "construction/test_end_to_end",
    "paper/study/",
    "docs/",
    "paper/figures/",
)


def pytest_configure(config):
    config.addinivalue_line("markers", "browser: needs Chromium; marked by its fixtures")
    config.addinivalue_line("markers", "slow: simulations, trainings, clusters, commands of the docs")


@pytest.hookimpl(tryfirst=True)  # before `-m` chooses
def pytest_collection_modifyitems(items):
    """Mark what a browser is for; begin with the long ones, so that no process is left alone with one."""
    for item in items:
        if "browser_program" in getattr(item, "fixturenames", ()):
            item.add_marker("browser")
    items.sort(key=lambda item: not any(part in item.nodeid for part in LONG))


def pytest_collection_finish():
    """Leave what stays to the end, modules and thousands of tests, out of later collections of garbage."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def caches(tmp_path_factory):
    """A folder for each test in turn; pytest looks for a free number among thousands, each time."""
    root = tmp_path_factory.mktemp("caches")
    return (root / str(number) for number in count())


@pytest.fixture(autouse=True)
def cache(caches, monkeypatch) -> Path:
    folder = next(caches)
    folder.mkdir()
    monkeypatch.setenv("COUNTERGROUND_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def browser_program() -> str:
    """Chromium's path. All that needs a browser asks for it here."""
    names = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")  # quickest first
    program = next(filter(None, map(shutil.which, names)), None)
    if program is None:
        pytest.fail("Chromium is needed: apt-get install chromium fonts-dejavu-core", pytrace=False)
    return program


@pytest.fixture(scope="session")
def peers() -> str:
    """Python with the field's own code (tests/peers.txt)."""
    program = Path(__file__).parent.parent / ".peers/bin/python"
    if not program.is_file():
        pytest.fail("The packages of tests/peers.txt are needed: make .peers/.installed", pytrace=False)
    return str(program)


@pytest.fixture(scope="session")
def chromium(browser_program):
    """The one real browser of all tests: Playwright cannot be started twice in a thread."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        browser = playwright.chromium.launch(executable_path=browser_program, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def complaints():
    """Function: what axe-core finds on an open page that some readers cannot use."""
    from axe_playwright_python.sync_playwright import Axe

    def find(tab) -> list[tuple[str, list[str]]]:
        found = Axe().run(tab).response["violations"]
        return [(each["help"], [node["html"][:160] for node in each["nodes"][:3]]) for each in found]

    return find


@pytest.fixture(scope="session")
def shared_cache() -> Path:
    """The user's own cache, for what is fetched by package name and never changes."""
    return Path(os.environ.get("COUNTERGROUND_CACHE") or Path.home() / ".cache" / "counterground")


@pytest.fixture(scope="session")
def tiny_clip(tmp_path_factory) -> Path:
    """A folder with an OpenCLIP model of two small towers and random weights."""
    from random_clip import save_clip

    return save_clip(tmp_path_factory.mktemp("tiny-clip"))


@pytest.fixture
def own_modules(tmp_path) -> Path:
    """The test's folder; modules that were imported from it are forgotten afterwards."""
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def site(own_modules, monkeypatch) -> Path:
    """A folder of installed packages, on the path of this process and of those that it starts."""
    folder = own_modules / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(folder)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]))
    return folder


@pytest.fixture(scope="module")
def one_thread():
    """PyTorch computes with one thread: several cost small networks time, and change last bits of sums."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def clock(monkeypatch):
    """The clock of HTTP budgets, which the test turns: nobody waits for a day."""
    from fake_time import Clock

    from counterground.http import _budget  # its clock

    clock = Clock()
    monkeypatch.setattr(_budget, "time", clock)
    return clock


@pytest.fixture
def serve_chat(monkeypatch):
    """Function: what answers a call -> a running `ChatServer`. Failed calls are tried again at once."""
    from chat_server import ChatServer

    # How long a call waits before the second try is not for users to set.
    from counterground.models.families import _endpoint

    monkeypatch.setattr(_endpoint, "FIRST_WAIT", 0.01)
    servers = []

    def start(reply) -> ChatServer:
        servers.append(ChatServer(reply))
        servers[-1].start()
        return servers[-1]

    yield start
    for server in servers:
        server.stop()


@pytest.fixture
def photos(tmp_path) -> Path:
    """Three classes in the CounterAnimal layout, eight photographs per group."""
    return save_animals(tmp_path / "photos")
