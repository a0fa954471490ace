"""The page in a real browser: filter, a red cell followed to its reproduction, no request.

Skipped where Chromium and chromedriver are missing. HAL_SCREENSHOTS names a folder that keeps the
screenshots.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hal_conformance.page import write_page
from hal_conformance.side_by_side import line_up
from made_up import four_devices
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.wait import WebDriverWait

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), ""
)
DRIVER = shutil.which("chromedriver") or ""
CASES = 5000
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run "
    "--disable-background-networking --disable-component-update --disable-sync"
)

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER),
        reason="chromium or chromedriver is missing: apt-get install chromium chromium-driver",
    ),
]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("page") / "report.html"
    write_page(line_up([("", four_devices(CASES))]), path)
    return path


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    options = webdriver.ChromeOptions()
    for flag in (*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture
def opened(browser: webdriver.Chrome, page: Path) -> webdriver.Chrome:
    browser.get_log("performance")  # what was logged before is dropped
    browser.get(page.as_uri())
    wait(browser, "return Boolean(document.body.dataset.ready)")
    return browser


def wait(browser: webdriver.Chrome, script: str) -> None:
    WebDriverWait(browser, 20).until(lambda b: b.execute_script(script))


def count(browser: webdriver.Chrome) -> str:
    return browser.find_element(By.ID, "count").text


def look(browser: webdriver.Chrome, width: int, scheme: str) -> None:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": 1600, "deviceScaleFactor": 1, "mobile": False},
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})


def shoot(browser: webdriver.Chrome, folder: Path, name: str) -> None:
    folder = Path(os.environ.get("HAL_SCREENSHOTS") or folder)
    assert browser.save_screenshot(str(folder / f"{name}.png"))
    assert (folder / f"{name}.png").stat().st_size > 10_000


def requests(browser: webdriver.Chrome) -> list[str]:
    events: list[dict[str, Any]] = [
        json.loads(entry["message"])["message"] for entry in browser.get_log("performance")
    ]
    return [
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    ]


def test_it_opens_with_few_elements_and_no_request(opened: webdriver.Chrome, page: Path) -> None:
    assert count(opened).startswith(f"{CASES:,} of {CASES:,} cases")
    assert not opened.find_elements(By.CSS_SELECTOR, "article.case"), (
        "cases are drawn when asked for"
    )
    wait(opened, "return document.querySelectorAll('#grid tbody tr').length > 200")
    assert opened.execute_script("return document.querySelectorAll('*').length") < 6 * CASES
    assert {url for url in requests(opened) if not url.startswith("data:")} == {page.as_uri()}
    assert not [e for e in opened.get_log("browser") if e["level"] == "SEVERE"]
    assert opened.title.startswith("Conformance: made0:npu")


def test_the_filter(opened: webdriver.Chrome) -> None:
    opened.find_element(By.ID, "text").send_keys("softmax")
    wait(opened, "return !document.getElementById('count').textContent.startsWith('5,000')")
    names = [e.text for e in opened.find_elements(By.CSS_SELECTOR, "#groups summary b")]
    assert names and all("Softmax" in name for name in names)
    opened.find_element(By.CSS_SELECTOR, "button[type=reset]").click()
    wait(opened, "return document.getElementById('count').textContent.startsWith('5,000')")
    for box in opened.find_elements(By.CSS_SELECTOR, "#outcomes input"):
        if box.get_attribute("data-outcome") != "crash":
            box.click()
    crashes = sum(i % 7 == 0 for i in range(CASES))
    assert count(opened).startswith(f"{crashes} of {CASES:,} cases")
    opened.find_element(By.ID, "differs").click()
    assert count(opened).startswith(f"{crashes} of {CASES:,} cases"), "nowhere do all four agree"
    opened.find_element(By.CSS_SELECTOR, "#outcomes input[data-outcome=crash]").click()
    opened.find_element(By.CSS_SELECTOR, "#outcomes input[data-outcome=pass]").click()
    alike = sum(all(i % n for n in (5, 6, 7, 8)) for i in range(CASES))
    passing = CASES - sum(not any(i % n for n in (5, 6, 7, 8)) for i in range(CASES))
    assert count(opened).startswith(f"{passing - alike:,} of {CASES:,} cases")


def test_a_red_cell_leads_to_its_reproduction(opened: webdriver.Chrome, tmp_path: Path) -> None:
    cell = opened.find_element(By.XPATH, "//td[@data-cell][.//span[contains(@class, 'wrong')]]")
    told = cell.get_attribute("aria-label") or ""
    assert "made0:npu:" in told and "wrong" in told
    opened.execute_script("arguments[0].scrollIntoView({block: 'center'})", cell)
    cell.click()
    operator = told.partition(",")[0]
    (group,) = opened.find_elements(By.CSS_SELECTOR, "details.group")
    assert group.get_attribute("open") and group.get_attribute("data-operator") == operator
    first = group.find_element(By.CSS_SELECTOR, "article.case")
    failure = first.find_element(By.CSS_SELECTOR, "li[data-run='made0:npu']")
    assert "wrong: </script><img src=x onerror" in failure.text
    command = failure.find_element(By.CSS_SELECTOR, "code").text
    case = first.get_attribute("data-case")
    assert command == f"hal conformance -d made0:npu --suite contract -k {case} --repro repro"
    assert opened.switch_to.active_element.text == "Cases"
    assert not opened.find_elements(By.CSS_SELECTOR, "img")
    assert opened.title.startswith("Conformance: "), "no text of a report ran as a script"
    shoot(opened, tmp_path, "followed")


def test_the_map_by_keyboard(opened: webdriver.Chrome) -> None:
    start = opened.find_element(By.CSS_SELECTOR, "td[data-cell][tabindex='0']")
    opened.execute_script("arguments[0].focus()", start)
    start.send_keys(Keys.ARROW_DOWN)
    moved = opened.switch_to.active_element
    assert moved.get_attribute("data-cell") != start.get_attribute("data-cell")
    told = moved.get_attribute("aria-label") or ""
    moved.send_keys(Keys.ENTER)
    (group,) = opened.find_elements(By.CSS_SELECTOR, "details.group")
    assert group.get_attribute("data-operator") == told.partition(",")[0]
    assert len(opened.find_elements(By.CSS_SELECTOR, "td[data-cell][tabindex='0']")) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 400])
def test_it_fits(opened: webdriver.Chrome, width: int, scheme: str, tmp_path: Path) -> None:
    look(opened, width, scheme)
    shoot(opened, tmp_path, f"summary-{width}-{scheme}")
    opened.execute_script(
        "document.querySelector('td[data-cell] .mark.wrong').closest('td').click()"
    )
    assert opened.execute_script("return document.documentElement.scrollWidth") <= width
    shoot(opened, tmp_path, f"cases-{width}-{scheme}")
    ink, paper = opened.execute_script(
        "const s = getComputedStyle(document.body); return [s.color, s.backgroundColor]"
    )
    assert (luminance(ink) > luminance(paper)) is (scheme == "dark")


def test_without_colours_every_class_has_its_sign(opened: webdriver.Chrome) -> None:
    signs = opened.execute_script(
        "const marks = [...document.querySelectorAll('.mark')];"
        "return marks.map(m => [m.className.split(' ')[1], m.textContent])"
    )
    by_class = {name: {sign for other, sign in signs if other == name} for name, _ in signs}
    plain = {name: found for name, found in by_class.items() if name not in ("part", "none")}
    assert len(plain) >= 4
    assert all(len(found) == 1 for found in plain.values())
    assert len({sign for found in plain.values() for sign in found}) == len(plain)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_wrong_is_darker_than_right_to_every_eye(opened: webdriver.Chrome, scheme: str) -> None:
    look(opened, 1280, scheme)
    right, wrong = opened.execute_script(
        "return ['right', 'wrong'].map(name => getComputedStyle("
        "document.querySelector(`.legend .mark.${name}`)).backgroundColor)"
    )
    assert brightness(right) > 1.5 * brightness(wrong)


def brightness(colour: str) -> float:
    """The relative luminance of WCAG 2, and its 0.05 for stray light."""
    parts = [int(n) / 255 for n in colour[colour.index("(") + 1 : -1].split(",")[:3]]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.05 + sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def luminance(colour: str) -> float:
    return sum(float(n) for n in colour[colour.index("(") + 1 : -1].split(",")[:3])
