"""The demo's live page in a real browser."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from signal_tasks.dev.stack import Stack, StackSettings, running_stack

if "CI" not in os.environ:  # pragma: no cover  # in CI nothing may be missing
    pytest.importorskip(
        "playwright", reason="Playwright is missing: pip install --group browser"
    )

from playwright.sync_api import (  # it may be missing
    Browser,
    Page,
    expect,
    sync_playwright,
)

pytestmark = [pytest.mark.integration, pytest.mark.browser]

ROOT = Path(__file__).parents[2]
PHONE = {"width": 360, "height": 780}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Return a Chromium, the system's or the one that Playwright installed."""
    with sync_playwright() as playwright:
        program = shutil.which("chromium") or playwright.chromium.executable_path
        if "CI" not in os.environ and not Path(program).exists():  # pragma: no cover
            pytest.skip("no Chromium found: install the system's package chromium")
        is_root = os.geteuid() == 0
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox"] if is_root else []
        )
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def stack(
    browser: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stack]:
    """Return the demo, running."""
    settings = StackSettings(
        app="examples.demo:create_app",
        port=0,
        environment={"DEMO_INSTANCE": str(tmp_path_factory.mktemp("instance"))},
        cwd=ROOT,
    )
    with running_stack(settings) as stack:
        yield stack


@pytest.fixture
def page(browser: Browser, stack: Stack) -> Iterator[Page]:
    """Return the live page, opened afresh."""
    expect.set_options(timeout=15_000)
    page = browser.new_page()
    page.goto(f"{stack.url}/live/")
    yield page
    page.close()


def register(page: Page, where: str) -> float:
    """Press a button, and return the milliseconds that the page measured."""
    lane = "request" if where == "inside the request" else "worker"
    with page.expect_response("**/live/register"):
        page.get_by_role("button", name=f"Register, handler {where}").click()
    # The buttons come back when the page has drawn what it measured.
    expect(page.locator("button[name=where]").first).to_be_enabled()
    return float(page.locator(f'[data-lane="{lane}"]').get_attribute("data-ms") or 0)


def test_worker_answers_sooner(page: Page) -> None:
    """Registered both ways, the answer with the bridge comes sooner."""
    # The best of three, for this machine may have something else to do.
    inside_ms = min(register(page, "inside the request") for _ in range(3))
    worker_ms = min(register(page, "in the worker") for _ in range(3))

    assert inside_ms >= 300
    assert worker_ms < inside_ms
    expect(page.locator("#verdict")).to_contain_text("times as fast")


def test_bars_are_as_long_as_the_times(page: Page) -> None:
    """The two bars have one scale: their widths compare as the measured times do."""
    inside_ms = register(page, "inside the request")
    worker_ms = register(page, "in the worker")
    expect(page.locator("#worker-says")).to_contain_text("by process")
    page.wait_for_timeout(600)  # the bars grow for 350 ms

    inside = page.locator('[data-lane="request"]').bounding_box()
    worker = page.locator('[data-lane="worker"]').bounding_box()

    assert inside is not None
    assert worker is not None
    assert worker["width"] / inside["width"] == pytest.approx(
        worker_ms / inside_ms, abs=0.02
    )


def test_run_of_the_worker_appears(page: Page, stack: Stack) -> None:
    """The handler's run shows up by itself, with a process that is not the web's."""
    register(page, "in the worker")
    said = page.locator("#worker-says")
    expect(said).to_have_text(re.compile(r"letter \d+ ms later, by process \d+"))

    row = page.locator('tr[data-handler="send_welcome_email"]').first
    signal, _, process, _, ran_ms, result = row.locator("td").all_inner_texts()

    assert (signal, result) == ("user-registered", "done")
    assert int(process) != stack.web_pid
    assert float(ran_ms) >= 300
    assert said.inner_text().endswith(f"by process {process}")


def test_polling_is_not_logged(page: Page, stack: Stack) -> None:
    """The page's own requests are in no record that the handlers write."""
    for _ in range(3):
        with page.expect_response("**/live/feed*"):
            pass
    page.goto(f"{stack.url}/")
    seen = page.locator('tr[data-handler="audit_template"]')
    page.goto(f"{stack.url}/live/")
    expect(seen.first).to_be_visible()

    page.goto(f"{stack.url}/records")

    expect(page.locator("#activity-log")).to_be_visible()
    assert "live/" in page.inner_text("main")
    assert "live/feed" not in page.inner_text("main")
    assert "live.feed" not in page.inner_text("main")


def test_page_needs_no_other_host(page: Page, stack: Stack) -> None:
    """All that the page loads comes from the demo, and its script has no complaint."""
    asked: list[str] = []
    complaints: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))

    page.reload(wait_until="networkidle")

    assert {url.startswith(stack.url) for url in asked} == {True}
    assert complaints == []


@pytest.mark.parametrize("path", ["/", "/live/", "/records", "/register"])
def test_phone_does_not_scroll_sideways(page: Page, stack: Stack, path: str) -> None:
    """On a narrow screen a page is as wide as the screen."""
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]

    page.goto(f"{stack.url}{path}")

    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_keyboard_reaches_the_buttons(page: Page) -> None:
    """Both buttons can be reached and pressed without a mouse."""
    page.get_by_role("button", name="Register, handler inside the request").focus()
    page.keyboard.press("Tab")

    page.keyboard.press("Enter")

    expect(page.locator("#worker-ms")).to_have_text(re.compile(r"[\d.]+"))
