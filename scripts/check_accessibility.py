"""Check pages with axe-core, which npm fetches into a temporary folder and which is no part of this project.

Run by hand: ``python scripts/check_accessibility.py [PAGE ...]``; without a page, reports on drawn pictures
and a pool's page are made. Needs npm, chromium and playwright. Exit status 1: there is a serious finding.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from drawn_report import make_drawn_report
from make_screenshots import add_decisions, make_pool
from playwright.sync_api import Browser, sync_playwright

from counterground.report import write_pool_report

SERIOUS = {"serious", "critical"}
WIDTHS = (390, 1280)


def fetch_axe(folder: Path) -> str:
    """Fetch axe-core by its package name and return its script."""
    npm = shutil.which("npm")
    if npm is None:
        raise SystemExit("npm is needed to fetch axe-core: apt-get install npm")
    asked = [npm, "pack", "axe-core", "--silent"]
    named = subprocess.run(asked, cwd=folder, check=True, capture_output=True, text=True)  # noqa: S603
    with tarfile.open(folder / named.stdout.split()[-1]) as archive:
        script = archive.extractfile("package/axe.min.js")
        assert script is not None
        return script.read().decode()


def check(browser: Browser, axe: str, page: Path) -> list[dict[str, Any]]:
    """Return what axe finds on a page with everything open, in both themes and widths."""
    found = []
    for width in WIDTHS:
        for scheme in ("light", "dark"):
            # The page's policy would not let a stranger's script in.
            context = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=scheme, bypass_csp=True
            )
            tab = context.new_page()
            tab.goto(page.as_uri())
            for place in tab.locator(".classpage").all():
                place.scroll_into_view_if_needed()
                place.locator("h4").wait_for()
            tab.evaluate("document.querySelectorAll('details').forEach(details => { details.open = true; })")
            tab.wait_for_timeout(1500)
            tab.add_script_tag(content=axe)
            result = tab.evaluate("axe.run(document, {resultTypes: ['violations']})")
            found += [{**finding, "where": f"{width} px, {scheme}"} for finding in result["violations"]]
            context.close()
    return found


def make_pages(folder: Path) -> list[Path]:
    """A report with photos, one without, and a pool's page."""
    with_photos = make_drawn_report(folder).rename(folder / "photos.html")
    pool = make_pool(folder / "birds and bears")
    add_decisions(pool)
    return [
        with_photos,
        make_drawn_report(folder, photos=False),
        write_pool_report(pool, folder / "pool.html"),
    ]


def main(pages: list[Path]) -> int:
    """Check the pages and print what was found."""
    serious = 0
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        axe = fetch_axe(Path(name))
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for page in pages or make_pages(Path(name)):
            findings = check(browser, axe, page.resolve())
            print(f"{page.name}: {len(findings)} findings")
            for finding in findings:
                serious += finding["impact"] in SERIOUS
                print(f"  {finding['where']}: {finding['impact']}: {finding['id']}: {finding['help']}")
                for node in finding["nodes"][:4]:
                    print(f"    {json.dumps(node['html'])[:160]} {node['failureSummary'][:200]!r}")
        browser.close()
    print("No serious finding." if not serious else f"{serious} serious findings.")
    return 1 if serious else 0


if __name__ == "__main__":
    sys.exit(main([Path(argument) for argument in sys.argv[1:]]))
