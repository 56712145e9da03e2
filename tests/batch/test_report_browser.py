"""The page of the report in a real browser. Needs selenium, chromium and chromedriver; skipped where they are not."""

from __future__ import annotations

import json
import shutil
import threading
from pathlib import Path

import numpy as np
import pytest

from gluon_nst.batch.report import watch_report, write_report
from tests.batch.runs import make_run, picture, record

webdriver = pytest.importorskip("selenium.webdriver")

from selenium.common.exceptions import NoAlertPresentException  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

CHROMIUM, DRIVER = shutil.which("chromium") or shutil.which("google-chrome"), shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")

ARGUMENTS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--window-size=1300,1000",
)  # fmt: skip
MANY = 10_000
HOSTILE = "<img src=x onerror=window.hacked=1>"
SCRIPT = "</script><script>window.hacked=2</script><!-- \u2028"


class Browser:
    """A page as its reader uses it."""

    def __init__(self, driver):
        self.driver = driver

    def open(self, page: Path, choice: str = "") -> None:
        self.driver.get("about:blank")
        self.driver.get_log("performance")
        self.driver.get(f"{page.as_uri()}{choice}")
        self.wait(lambda: self.text("#shown") != "")

    def wait(self, condition):
        return WebDriverWait(self.driver, 30).until(lambda _: condition())

    def one(self, selector):
        return self.driver.find_element(By.CSS_SELECTOR, selector)

    def all(self, selector):
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def text(self, selector) -> str:
        return self.run("return document.querySelector(arguments[0]).textContent", selector)

    def run(self, script, *arguments):
        return self.driver.execute_script(script, *arguments)

    def jobs(self) -> list[int]:
        """Return the numbers of the jobs on the page, in order."""
        ids = self.run("return [...document.querySelectorAll('#rows > li')].map((row) => row.dataset.job)")
        return [int(each, 16) for each in ids]

    def requests(self) -> list[str]:
        """Return the addresses that the page asked for since it was opened, but for what it holds itself."""
        messages = (json.loads(each["message"])["message"] for each in self.driver.get_log("performance"))
        sent = (
            each["params"]["request"]["url"]
            for each in messages
            if each["method"] == "Network.requestWillBeSent"
        )
        return [url for url in sent if not url.startswith("data:")]

    def complaints(self) -> list[str]:
        return [each["message"] for each in self.driver.get_log("browser")]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield Browser(driver)
    driver.quit()


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Seven jobs: three that failed in different ways, hostile names, a vanished picture, two styles."""
    out = tmp_path_factory.mktemp("small")
    content, waves, night = (picture(out / "in" / name) for name in ("c.png", "waves.png", "night.png"))
    hostile = picture(out / "in" / f"{HOSTILE}.png")
    gone = picture(out / "gone.png")
    Path(gone).unlink()

    def job(number, status="succeeded", **fields):
        base = {
            "content": content,
            "styles": (waves,),
            "output": picture(out / f"o{number}.png", size=(300, 200)),
        }
        return record(number, status, **{**base, **fields})

    losses = {5: 2.0, 6: 30.0, 7: 100.0}
    run = make_run(out, [
        job(1, output=gone, losses={}, seconds=9, finished_at=5),
        job(2, "failed", content=hostile, error_type=HOSTILE, error=SCRIPT, worker=HOSTILE, seconds=0.5),
        job(3, "poison", error_type="ClusterError", error="the worker died", losses={}),
        job(4, "timeout", error_type="ClusterError", error="no result after 600 s", styles=(night,), losses={}),
        *(
            job(n, losses={"total": loss}, seconds=50 - n, finished_at=100 - n, styles=(waves, night))
            for n, loss in losses.items()
        ),
    ])  # fmt: skip
    (run / "run.json").write_text(json.dumps({"identity": {"note": SCRIPT}}))
    write_report(out)
    return run / "report.html"


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """Ten thousand jobs, every twentieth failed; a hundred pictures that they share."""
    out = tmp_path_factory.mktemp("large")
    pictures = [picture(out / f"{number}.png", size=(96, 64), color=(number, 0, 90)) for number in range(100)]

    def job(number):
        status = "failed" if number % 20 == 7 else "succeeded"
        error = (
            {"error_type": "ImageReadError", "error": f"{number} is damaged"} if status == "failed" else {}
        )
        shown = pictures[number % 100]
        names = {"content": shown, "styles": (pictures[0],), "output": shown}
        return record(number, status, seconds=float(number * 7919 % MANY), **names, **error)

    return make_run(out, map(job, range(MANY)))


def choose(browser, selector, value):
    Select(browser.one(selector)).select_by_value(value)


def search(browser, text):
    box = browser.one("#query")
    box.send_keys(Keys.CONTROL, "a")
    box.send_keys(text or Keys.BACKSPACE)


def test_failures_come_first_and_nothing_is_complained_of(browser, small):
    browser.complaints()
    browser.open(small)
    assert browser.jobs() == [2, 3, 4, 1, 5, 6, 7]
    assert browser.text("#shown") == "1\N{EN DASH}7 of 7 jobs" and browser.complaints() == []


def test_names_and_errors_run_no_script(browser, small):
    browser.open(small)
    for block in browser.all("summary"):
        block.click()
    for number in range(len(browser.all(".picture"))):
        browser.all(".picture")[number].click()
        browser.one("#close").click()
    assert browser.run("return window.hacked === undefined")
    with pytest.raises(NoAlertPresentException):
        _ = browser.driver.switch_to.alert
    assert browser.run("return document.scripts.length") == 2
    assert SCRIPT.strip() in browser.text("#rows") and SCRIPT.strip() in browser.text("#errors")
    assert f"{HOSTILE}.png" in browser.text("#rows")


def test_the_policy_stops_what_would_slip_through(browser, small):
    browser.open(small)
    browser.complaints()
    browser.run("""
        const script = document.createElement("script");
        script.textContent = "window.slipped = 1";
        document.body.append(script);
        const image = new Image();
        image.onerror = () => { window.refused = true; };
        image.src = "http://127.0.0.1:9/beacon.png";
    """)
    browser.wait(lambda: browser.run("return window.refused === true"))
    assert browser.run("return window.slipped === undefined")
    assert any("Content Security Policy" in each for each in browser.complaints())


def test_no_request_leaves_the_page(browser, small):
    browser.open(small)
    assert browser.requests() == [small.as_uri()]
    browser.one("li[data-job$='5'] figure:last-child .picture").click()
    browser.wait(lambda: browser.one("#large").get_attribute("data-full") == "yes")
    assert browser.requests() == [(small.parent.parent / "o5.png").as_uri()]
    browser.one("#close").click()


@pytest.mark.parametrize(
    ("status", "jobs"), [("failed", [2]), ("succeeded", [1, 5, 6, 7]), ("", [2, 3, 4, 1, 5, 6, 7])]
)
def test_jobs_are_filtered_by_status(browser, small, status, jobs):
    browser.open(small)
    browser.one(f"[data-status='{status}']").click()
    assert browser.jobs() == jobs
    pressed = browser.all("[data-status][aria-pressed='true']")
    assert [each.get_attribute("data-status") for each in pressed] == [status]


@pytest.mark.parametrize(
    ("text", "jobs"), [("DIED", [3]), ("600 timeout", [4]), ("onerror=", [2]), ("nothing at all", [])]
)
def test_jobs_are_found_by_words_in_any_case(browser, small, text, jobs):
    browser.open(small)
    search(browser, text)
    assert browser.jobs() == jobs
    assert browser.one("#nothing").is_displayed() == (not jobs)


def test_jobs_are_filtered_by_style_and_by_error_and_shown_again(browser, small):
    browser.open(small)
    Select(browser.one("#style")).select_by_visible_text("night.png")
    assert browser.jobs() == [4, 5, 6, 7]
    search(browser, "nothing like it")
    browser.one("#clear").click()
    assert len(browser.jobs()) == 7
    browser.one("#errors summary").click()
    browser.one("[data-pattern^='ClusterError: no result']").click()
    assert browser.jobs() == [4]


@pytest.mark.parametrize(
    ("key", "up", "down"),
    [
        ("seconds", [2, 3, 4, 1, 7, 6, 5], [5, 6, 7, 1, 3, 4, 2]),
        # Without a total loss: last, whichever way.
        ("loss", [5, 6, 7, 1, 2, 3, 4], [7, 6, 5, 1, 2, 3, 4]),
        ("time", [1, 7, 6, 5, 2, 3, 4], [4, 3, 2, 5, 6, 7, 1]),
        ("name", [2, 1, 3, 4, 5, 6, 7], [1, 3, 4, 5, 6, 7, 2]),
    ],
)
def test_jobs_are_sorted_both_ways(browser, small, key, up, down):
    browser.open(small)
    choose(browser, "#sort", key)
    assert browser.jobs() == up
    browser.one("#order").click()
    assert browser.jobs() == down and browser.one("#order").get_attribute("aria-pressed") == "true"


def test_the_choice_is_in_the_address_and_comes_back_with_it(browser, small):
    browser.open(small)
    search(browser, "o")
    choose(browser, "#sort", "loss")
    browser.one("#order").click()
    jobs, address = browser.jobs(), browser.driver.current_url
    browser.open(small, f"#{address.partition('#')[2]}")
    assert browser.jobs() == jobs and browser.one("#query").get_attribute("value") == "o"


def test_a_picture_is_seen_larger_with_the_keyboard_alone(browser, small):
    browser.open(small, "#sort=loss")
    browser.run("document.querySelector('li[data-job$=\"5\"] .picture').focus()")
    browser.driver.switch_to.active_element.send_keys(Keys.ENTER)
    assert browser.text("#viewer-title") == "Content: c.png" and browser.text("#place") == "1 of 4"
    browser.driver.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    browser.wait(lambda: browser.run("return document.getElementById('large').naturalWidth") == 300)
    assert browser.text("#viewer-title") == "Stylized: o5.png"
    browser.driver.switch_to.active_element.send_keys(Keys.ESCAPE)
    browser.wait(lambda: not browser.one("#viewer").is_displayed())
    # The focus goes back to where it came from.
    assert browser.run("return document.activeElement.matches('li[data-job$=\"5\"] .picture')")
    browser.driver.switch_to.active_element.send_keys("/")
    assert browser.run("return document.activeElement.id") == "query"


def test_a_page_that_was_moved_away_from_its_pictures_still_works(browser, small, tmp_path):
    moved = tmp_path / "elsewhere" / "deeper" / "report.html"
    moved.parent.mkdir(parents=True)
    shutil.copy(small, moved)
    browser.open(moved)
    browser.one("li[data-job$='5'] .picture").click()
    browser.wait(lambda: "cannot be shown from here" in browser.text("#viewer-note"))
    assert browser.run("return document.getElementById('large').naturalWidth") == 60
    browser.one("#close").click()


def test_what_is_not_there_has_a_placeholder(browser, small):
    browser.open(small)
    texts = [each.text for each in browser.all(".none")]
    assert texts == ["no picture", "no picture", "no picture", "not there any more"]


def test_every_control_has_a_name(browser, small):
    browser.open(small)
    browser.one(".picture").click()
    browser.driver.execute_cdp_cmd("Accessibility.enable", {})
    tree = browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    browser.one("#close").click()
    tree += browser.driver.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    roles = {"button", "combobox", "searchbox", "spinbutton", "link", "dialog", "textbox"}
    controls = [
        each for each in tree if each.get("role", {}).get("value") in roles and not each.get("ignored")
    ]
    found = {each["role"]["value"] for each in controls}
    assert found >= {"button", "combobox", "searchbox", "dialog"}
    assert [each for each in controls if not each.get("name", {}).get("value")] == []


def test_a_phone_need_not_scroll_sideways(browser, small):
    metrics = {"width": 360, "height": 740, "deviceScaleFactor": 2, "mobile": True}
    browser.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    try:
        browser.open(small)
        assert browser.run("return [innerWidth, document.documentElement.scrollWidth]") == [360, 360]
    finally:
        browser.driver.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(browser, small, scheme):
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.open(small)
    colors = browser.run("""
        const used = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
        return ["--ink", "--quiet", "--accent", "--good", "--bad", "--warn"].map(used).concat(used("--paper"));
    """)
    light = [luminance(color) for color in colors]
    assert (light[-1] > 0.5) == (scheme == "light")
    for each in light[:-1]:
        brighter, darker = max(each, light[-1]), min(each, light[-1])
        assert (brighter + 0.05) / (darker + 0.05) >= 4.5  # WCAG 2.2, 1.4.3, level AA


def luminance(color: str) -> float:
    """Return the relative luminance of a #rrggbb color (WCAG 2.2)."""
    channels = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_a_page_reloads_itself_and_keeps_choice_focus_and_place(browser, tmp_path):
    def state(name, count):
        status = {"state": name, "total": 200, "images_per_hour": 60.0, "eta_seconds": 60.0}
        make_run(tmp_path, (record(number) for number in range(count)), status=status)

    state("running", 150)
    page = tmp_path / ".gluon-nst" / "report.html"
    first = threading.Event()

    def watch():
        for _ in watch_report(tmp_path, every=0.2):
            first.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        assert first.wait(30)
        browser.open(page, "#status=succeeded&query=photos&sort=name&order=down&page=2&size=50")
        assert browser.jobs()[0] == 99 and "150 of 200" in browser.text("#progress")
        browser.one("#sort").send_keys("")  # selenium focuses it
        browser.run("window.scrollTo(0, 300); window.unloaded = false")
        state("running", 180)
        browser.wait(lambda: "180 of 200" in settled(browser, "#progress"))
        browser.wait(lambda: browser.run("return document.activeElement.id") == "sort")
        assert browser.jobs()[0] == 129 and browser.run("return window.scrollY") == 300
    finally:
        state("finished", 200)
        watcher.join(60)
    browser.wait(lambda: settled(browser, ".state").strip().startswith("finished"))
    assert browser.jobs()[0] == 149 and browser.one("#query").get_attribute("value") == "photos"
    assert browser.run("return JSON.parse(document.getElementById('data').textContent).reload") is None


def settled(browser, selector) -> str:
    """Return a text of a page that may be loading itself just now."""
    script = "const found = document.querySelector(arguments[0]); return found ? found.textContent : ''"
    return browser.run(script, selector)


def test_ten_thousand_rows_are_filtered_sorted_and_paged(browser, large):
    write_report(large)
    page = large / "report.html"
    browser.open(page)
    failures = [number for number in range(MANY) if number % 20 == 7]
    assert browser.jobs() == failures[:25] and browser.text("#shown") == "1\N{EN DASH}25 of 10,000 jobs"
    assert browser.text("#last") == "400"

    browser.one("#next").click()
    assert browser.jobs() == failures[25:50]
    choose(browser, "#size", "100")
    browser.one("[data-status='succeeded']").click()
    choose(browser, "#sort", "seconds")
    expected = sorted((n for n in range(MANY) if n % 20 != 7), key=lambda n: n * 7919 % MANY)
    assert browser.jobs() == expected[:100]

    browser.one("#page").send_keys(Keys.CONTROL, "a")
    browser.one("#page").send_keys("95", Keys.ENTER)
    assert browser.jobs() == expected[-100:] and not browser.one("#next").is_enabled()
    search(browser, f"{1234:016x}")
    assert browser.jobs() == [1234]
    browser.one(".picture").click()
    browser.wait(lambda: browser.one("#large").get_attribute("data-full") == "yes")
    browser.one("#close").click()
    assert browser.run("return document.querySelectorAll('*').length") < 2000
