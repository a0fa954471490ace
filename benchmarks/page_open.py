"""How long the HTML page of a report takes to open in a real browser.

    python benchmarks/page_open.py REPORT.json... [--cases 5000] [--times 5]

Each opening is a fresh headless Chromium with an empty profile. Timed from the start of the
navigation, by the browser's own clock: the first paint; the list of cases painted (two frames after
it is in the document); the whole map drawn. Needs chromium, chromedriver and the Python package
selenium. Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import dataclasses
import shutil
import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

from hal_conformance.page import write_page
from hal_conformance.report import Report, read
from hal_conformance.side_by_side import line_up
from selenium import webdriver
from selenium.webdriver.support.wait import WebDriverWait

FLAGS = "--headless --no-sandbox --disable-gpu --no-first-run --disable-background-networking"
WATCH = """
window.opened = {};
new MutationObserver((changes, observer) => {
  if (!opened.list && document.querySelector("#groups details")) {
    opened.list = -1;
    requestAnimationFrame(() => requestAnimationFrame(() => { opened.list = performance.now(); }));
  }
  if (document.body?.dataset.ready) {
    const rows = document.querySelectorAll("#grid tbody tr").length;
    if (rows !== opened.rows) { opened.rows = rows; opened.map = performance.now(); }
  }
}).observe(document, { childList: true, subtree: true });
"""
READ = """
const paint = performance.getEntriesByType("paint")[0];
return [paint ? paint.startTime : -1, opened.list ?? -1, opened.map ?? -1, performance.now()];
"""
STILL = 400.0
"""Milliseconds in which nothing more was drawn: it is done."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the opening of a report's page.")
    parser.add_argument("reports", nargs="+", type=Path)
    parser.add_argument("--cases", type=int, help="the first so many of each device's cases")
    parser.add_argument("--times", type=int, default=5)
    arguments = parser.parse_args()
    runs = line_up((p.name, shortened(read(p), arguments.cases)) for p in arguments.reports)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page.html"
        write_page(runs, page)
        count = len({case.id for run in runs for case in run.report.cases})
        print(f"{len(runs)} devices, {count} cases, {page.stat().st_size / 1e6:.2f} MB")
        found = list(openings(page, arguments.times))
    columns = list(zip(*found, strict=True))
    for name, times in zip(("first paint", "list painted", "map whole"), columns, strict=True):
        each = " ".join(f"{t:.0f}" for t in times)
        print(f"{name:12}  median {statistics.median(times):.0f} ms  ({each})")


def shortened(report: Report, count: int | None) -> Report:
    if count is None:
        return report
    cut = (dataclasses.replace(r, cases=r.cases[:count]) for r in report.reports)
    return dataclasses.replace(report, reports=tuple(cut))


def openings(page: Path, times: int) -> Iterator[tuple[float, ...]]:
    binary = next(
        filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome")))
    )
    for _ in range(times):
        with tempfile.TemporaryDirectory() as profile:
            options = webdriver.ChromeOptions()
            for flag in (*FLAGS.split(), f"--user-data-dir={profile}"):
                options.add_argument(flag)
            options.binary_location = str(binary)
            browser = webdriver.Chrome(
                options, webdriver.ChromeService(shutil.which("chromedriver") or "")
            )
            try:
                browser.execute_cdp_cmd("Page.addScriptToEvaluateOnNewDocument", {"source": WATCH})
                browser.get(page.as_uri())
                WebDriverWait(browser, 60).until(lambda b: done(b.execute_script(READ)))
                yield tuple(browser.execute_script(READ)[:3])
            finally:
                browser.quit()


def done(found: list[float]) -> bool:
    paint, listed, mapped, now = found
    return min(paint, listed, mapped) > 0 and now - mapped > STILL


if __name__ == "__main__":
    main()
