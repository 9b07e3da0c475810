"""The page as a browser lays it out. Needs Chromium (Debian: apt-get install chromium)."""

import json
import os
import re
import shutil
import subprocess
from html import unescape

import numpy as np
import pytest
from PIL import Image

from counterground.report import write_report

FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND",  # the browser itself may not call home either
]
# A headless window is never narrower than 500 pixels, so the page is measured in a frame of the wanted width.
OUTER = """<!DOCTYPE html><iframe src="probed.html" style="border:0;width:{width}px;height:900px"></iframe>
<script>addEventListener("message", e => {{ document.documentElement.dataset.probe = e.data; }});</script>"""
PROBE = """<script>
addEventListener("load", () => {
  document.querySelectorAll("details").forEach(d => d.open = true);
  const root = document.documentElement, width = root.clientWidth;
  const inScroller = e => e.closest(".scroll") && !e.classList.contains("scroll");
  const wide = [...document.body.querySelectorAll("*")]
    .filter(e => !inScroller(e) && e.getClientRects().length && e.getBoundingClientRect().right > width + 1
                 && !e.closest("thead"))
    .map(e => e.tagName + "." + e.getAttribute("class"));
  const scatter = [...document.querySelectorAll("svg.scatter")].filter(e => e.getClientRects().length);
  const labels = [...document.querySelectorAll("svg.scatter .label")]
    .filter(e => e.getClientRects().length).map(e => e.getBoundingClientRect());
  let overlaps = 0;
  labels.forEach((a, i) => labels.slice(i + 1).forEach(b => {
    if (a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom) overlaps++;
  }));
  const outside = labels.filter(a => {
    const frame = scatter[0].getBoundingClientRect();
    return a.left < frame.left || a.right > frame.right;
  }).length;
  parent.postMessage(JSON.stringify({
    width, scrollWidth: root.scrollWidth, wide, overlaps, outside, labels: labels.length,
    scatter: scatter.map(e => e.getAttribute("class")),
  }), "*");
});
</script></body>"""


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None and not os.environ.get("CI"):
        pytest.skip("Chromium is needed to see the report as readers do: apt-get install chromium")
    assert program, "continuous integration installs Chromium"

    def run(page, *options):
        profile = tmp_path_factory.mktemp("profile")
        command = [program, *FLAGS, f"--user-data-dir={profile}", *options, page.as_uri()]
        return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout

    return run


@pytest.fixture(scope="module")
def report(tmp_path_factory, four_models, make_run):
    """Two benchmarks, one of the paper's size with long names, so that whatever can overflow is there."""
    levels = {
        f"open_clip:ViT-B-{k}-quickgelu/laion2b_s34b_b{k}k": (0.6 + 0.03 * k, 0.5 + 0.03 * k)
        for k in range(6)
    }
    classes = [
        f"{kind} {k} with a rather long name" for k in range(15) for kind in ("bear", "swan", "beetle")
    ]
    big = make_run(
        levels, classes=classes, per_group=5, name="counteranimal", path="big", lacking={3: "common"}
    )
    return write_report([four_models, big], tmp_path_factory.mktemp("report") / "report.html")


def probe(chromium, report, width, *options):
    """Let a copy of the page measure itself; only the copy may run a script."""
    html = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", report.read_text("utf-8"))
    report.with_name("probed.html").write_text(html.replace("</body>", PROBE), "utf-8")
    outer = report.with_name("outer.html")
    outer.write_text(OUTER.format(width=width), "utf-8")
    dom = chromium(outer, "--window-size=1400,1000", *options, "--virtual-time-budget=3000", "--dump-dom")
    return json.loads(unescape(re.search(r'data-probe="([^"]*)"', dom).group(1)))


def requests_of_page(chromium, page, log):
    """Addresses that the page, not the browser, asked for."""
    chromium(page, f"--log-net-log={log}", "--dump-dom")
    text = log.read_text("utf-8")
    try:
        events = json.loads(text)["events"]
    except json.JSONDecodeError:  # the browser left before it closed the list
        events = json.loads(text.rstrip().rstrip(",") + "]}")["events"]
    found = [event.get("params") or {} for event in events]
    # Requests of the browser itself carry "not an origin".
    return {p["url"] for p in found if "url" in p and p.get("initiator", "not an origin") != "not an origin"}


@pytest.mark.parametrize("width", [390, 1280])
def test_nothing_overflows_and_labels_do_not_touch(chromium, report, width):
    seen = probe(chromium, report, width)
    assert seen["width"] == width
    assert seen["scrollWidth"] <= width
    assert seen["wide"] == []
    assert seen["labels"] == 10
    assert seen["overlaps"] == 0
    assert seen["outside"] == 0
    assert seen["scatter"] == [f"scatter {'narrow' if width == 390 else 'wide'}"] * 2


def test_the_page_makes_no_request(chromium, report, tmp_path):
    control = tmp_path / "control.html"
    control.write_text('<img src="http://example.org/x.png">')
    assert requests_of_page(chromium, control, tmp_path / "control.json") == {"http://example.org/x.png"}
    assert requests_of_page(chromium, report, tmp_path / "report.json") == set()


@pytest.mark.parametrize(("scheme", "dark"), [(1, False), (0, True)])
def test_the_theme_follows_the_reader(chromium, report, tmp_path, scheme, dark):
    shot = tmp_path / "shot.png"
    chromium(
        report,
        f"--blink-settings=preferredColorScheme={scheme}",
        "--window-size=1280,1800",
        f"--screenshot={shot}",
    )
    pixels = np.asarray(Image.open(shot).convert("RGB"), dtype=float)
    background = pixels[5, 5]
    assert (background.mean() < 60) == dark
    contrast = np.abs(pixels.mean(axis=2) - background.mean())
    assert contrast.max() > 180
    # Coloured marks are on the page: saturated pixels, not only greys.
    assert (np.ptp(pixels, axis=2) > 90).sum() > 200
