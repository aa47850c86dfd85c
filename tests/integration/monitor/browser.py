"""Debian's Chromium, driven by playwright, which downloads no browser of its own."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

from tests.integration.monitor.live import TOKENS

_QUIET = ("gpu", "quic", "background-networking", "component-update", "sync")
_ARGUMENTS = ["--no-sandbox", "--no-first-run", *(f"--disable-{name}" for name in _QUIET)]
DESKTOP, TABLET = {"width": 1280, "height": 860}, {"width": 820, "height": 1180}


@contextmanager
def chromium() -> Iterator[Browser]:
    """A headless browser. Raises RuntimeError, with the fix, where there is none."""
    program = shutil.which("chromium")
    if program is None:
        raise RuntimeError(
            "the monitor's pages are tested in Chromium, and there is no `chromium` here: "
            "`python -m tests.cluster up` installs it, as does `apt-get install chromium`"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=_ARGUMENTS)
        yield browser
        browser.close()


class Visit:
    """A person at the pages: a page in a context of its own, and what the browser complained of."""

    def __init__(self, browser: Browser, base: str, *, tablet: bool = False) -> None:
        self.base = base
        size: Any = TABLET if tablet else DESKTOP
        self.context = browser.new_context(viewport=size, has_touch=tablet)
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(15_000)
        self._expected: tuple[str, ...] = ()
        self.complaints: list[str] = []
        """Faults of scripts, violations of the policy, and refused requests that nobody expected."""
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"}:
            self.complaints.append(message.text)

    def forgive(self, *parts: str) -> None:
        """Expect complaints that have one of these parts, before or after: the test makes them happen."""
        self._expected += parts

    def unexpected(self) -> list[str]:
        """Complaints that the test did not make happen."""
        return [text for text in self.complaints if not any(part in text for part in self._expected)]

    def open(self, path: str) -> Page:
        """Go to a page."""
        self.page.goto(f"{self.base}{path}")
        return self.page

    def sign_in(self, name: str = "Ada", token: str = TOKENS["inspector"]) -> Page:
        """Fill in the form; whether it is accepted is for the test to say."""
        self.page.get_by_label("Your name").fill(name)
        self.page.get_by_label("Token").fill(token)
        self.page.get_by_role("button", name="Sign in").click()
        return self.page

    def review(self, model: str, name: str = "Ada") -> Page:
        """The review page of one model, signed in, with a piece that may be labelled."""
        self.open(f"/review?model=lyon/{model}")
        self.sign_in(name)
        self.ready()
        return self.page

    def ready(self) -> None:
        """Until the piece on the screen may be labelled."""
        expect(self.page.locator("#classes button").first).to_be_enabled()
