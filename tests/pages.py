"""A page opened in Chromium, and what came of it: requests, messages, its tree."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def chromium() -> Iterator[Any]:
    """The system's Chromium, for which no host name resolves."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--host-resolver-rules=MAP * ~NOTFOUND"],
        )
        yield browser
        browser.close()


class Opened:
    """A page of a browser; `requests` and `messages` are all that it caused."""

    def __init__(
        self,
        browser: Any,
        path: Path,
        *,
        width: int = 1280,
        height: int = 900,
        scheme: str = "light",
        address: str = "",
        **options: Any,
    ) -> None:
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            color_scheme=scheme,
            **options,
        )
        self.page = self.context.new_page()
        self.requests: list[str] = []
        self.messages: list[str] = []
        self.page.on("request", self._note_request)
        self.page.on("console", lambda message: self.messages.append(message.text))
        self.page.on("pageerror", lambda error: self.messages.append(str(error)))
        self.page.on("dialog", self._note_dialog)
        self.page.goto(path.as_uri() + address)
        self.own = path.as_uri()

    def _note_request(self, request: Any) -> None:
        if not request.url.startswith("data:"):
            self.requests.append(request.url.partition("#")[0])

    def _note_dialog(self, dialog: Any) -> None:
        self.messages.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def __enter__(self) -> Opened:
        return self

    def __exit__(self, *exc: object) -> None:
        self.context.close()

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def overflow(self) -> int:
        """How many pixels the page is wider than its window."""
        return int(
            self.page.evaluate("document.documentElement.scrollWidth - innerWidth")
        )

    def quiet(self) -> None:
        """Nothing was fetched but the page itself, and nothing complained."""
        assert self.requests == [self.own]
        assert self.messages == []


OUTWARD = r"https?:|\burl\(|@import|\b(fetch|XMLHttpRequest|WebSocket|eval|import)\b"


def runs_only_its_own(text: str) -> None:
    """A page fetches nothing, and its policy knows its style and script by hash."""
    (policy,) = re.findall(r'content="(default-src[^"]*)"', text)
    known = r"'sha256-[\w+/]+=*'"
    assert re.fullmatch(
        f"default-src 'none'; img-src data:; style-src {known}; script-src {known}; "
        "base-uri 'none'; form-action 'none'",
        policy,
    )
    data, code = re.findall(r"<script[^>]*>(.*?)</script>", text, re.DOTALL)
    assert data.startswith("{")
    assert "<" not in data
    assert not re.search(OUTWARD + r"|innerHTML", code)
    html = re.sub('base64,[^"]+', "", text.replace(data, "").replace(code, ""))
    assert not re.search(OUTWARD, html)
    tags = re.findall(r"<([a-z]+)([^>]*)>", re.sub('"[^"]*"', '""', html))
    assert not {"link", "iframe", "object", "base", "form"} & {tag for tag, _ in tags}
    assert not [more for _, more in tags if re.search(r"\s(style|on[a-z]+)=", more)]


def walk(seen: Opened, expression: str) -> list[Any]:
    """What a JavaScript expression is at every step, from the first to the last."""
    return seen.page.evaluate(
        "expression => { const found = [], last = Number(document.querySelector("
        "'.timeline input').max); document.querySelector('[data-phase]').click();"
        " for (let i = 0; i < last; i++) { found.push(eval(expression));"
        " document.querySelector('[data-go=\"1\"]').click(); } return found; }",
        expression,
    )


def go(seen: Opened, at: int) -> None:
    """Go to a step, and wait until its card has faded in."""
    seen.page.get_by_role("slider", name="Step", exact=True).fill(str(at))
    assert seen.text(".said").startswith(f"Step {at} of")
    seen.page.evaluate(
        "Promise.all(document.getAnimations().filter("
        "a => a.animationName === 'enter').map(a => a.finished))"
    )


def open_all(seen: Opened) -> None:
    seen.page.evaluate(
        "document.querySelectorAll('details').forEach(d => d.open = true)"
    )
