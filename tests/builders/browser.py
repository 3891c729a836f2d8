"""A real browser for tests of pages: what a page says, asks for, hides and looks like, opened from its file.

    def test_a_page(open_page, tmp_path):
        opened = open_page(report([run], tmp_path / "out"))
        assert opened.errors == [] and opened.requests == []
        opened.unfold()
        assert opened.overflow() == [] and opened.barriers() == []

The browser is a Chromium found on PATH; Playwright drives it. Where one of them is not there, tests are skipped. With
METS3D_SCREENSHOTS=FOLDER a picture of every opened page is written there, at each width, light and dark.

Such tests lie in tests/reporting/browser, whose conftest.py imports the fixtures: Playwright leaves an event loop
running in the thread until the browser is closed, behind the last test of that folder, and nothing else may call
`asyncio.run` meanwhile.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = (390, 800, 1600)  # a telephone, half a screen, a wide screen
HEIGHT = 900
SCHEMES = ("light", "dark")
GRAVE = ("serious", "critical")
PATIENCE_MS = 30_000  # before a browser on a busy machine counts as stuck
SCREENSHOTS = "METS3D_SCREENSHOTS"
# WebGL2 without a graphics card.
ARGUMENTS = ("--use-angle=swiftshader", "--enable-unsafe-swiftshader")

# What sticks out on the right of the page, elements and words, and lies in nothing that scrolls or clips by itself.
STICKS_OUT = """() => {
  const root = document.documentElement, limit = root.clientWidth;
  const held = (element) => {
    for (let up = element; up && up !== document.body && up !== root; up = up.parentElement)
      if (getComputedStyle(up).overflowX !== "visible") return true;
    return false;
  };
  const named = (element) => element.tagName.toLowerCase() + (element.id ? "#" + element.id : "") +
    [...element.classList].map((name) => "." + name).join("");
  const found = [], words = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT | NodeFilter.SHOW_ELEMENT);
  while (words.nextNode()) {
    const node = words.currentNode, isText = node.nodeType === Node.TEXT_NODE;
    const element = isText ? node.parentElement : node, range = document.createRange();
    if (element.ownerSVGElement) continue;
    if (isText) range.selectNodeContents(node);
    const box = (isText ? range : node).getBoundingClientRect(), right = box.right + scrollX;
    if (box.width && box.height && right > limit + 1 && !held(isText ? element : element.parentElement))
      found.push([right,
        `${named(element)} reaches to ${Math.round(right)} px: ` + node.textContent.trim().slice(0, 36)]);
  }
  const lines = found.sort((one, other) => other[0] - one[0]).slice(0, 8).map(([, line]) => line);
  if (root.scrollWidth > limit) lines.unshift(`the page is ${root.scrollWidth} px wide`);
  return lines;
}"""

COLOURS = """() => {
  const [page, body] = [document.documentElement, document.body].map((element) => getComputedStyle(element));
  const clear = (colour) => colour === "rgba(0, 0, 0, 0)" || colour === "transparent";
  return [body.color, clear(body.backgroundColor) ? page.backgroundColor : body.backgroundColor];
}"""


class Opened:
    """A page that is open.

    page: Playwright's own, for keys and clicks. errors: what the console and scripts have complained of. requests:
    addresses that were asked for, all but the page itself and what it carries inside. With `clock` the page's time
    stands still: `page.clock` moves it.
    """

    def __init__(self, page: Any, file: Path, *, clock: bool = False):
        self.page, self.file = page, file
        self.errors: list[str] = []
        self.requests: list[str] = []
        page.on("console", self._note_console)
        page.on("pageerror", lambda error: self.errors.append(f"script: {error}"))
        page.on("request", self._note_request)
        if clock:
            page.clock.install()
        page.goto(file.resolve().as_uri(), wait_until="load")

    def strangers(self, folder: Path | None = None) -> list[str]:
        """Addresses asked for outside `folder`, by default that of the page."""
        inside = f"{(folder or self.file.parent).resolve().as_uri()}/"
        return [address for address in self.requests if not address.startswith(inside)]

    def unfold(self) -> None:
        """Opens all that is folded away."""
        self.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")

    def shorten_tables(self, rows: int = 4) -> None:
        """Removes the rows of long tables behind the first ones, which are like them: axe looks at every cell."""
        self.page.evaluate(
            f"document.querySelectorAll('tbody tr:nth-child(n + {rows + 1})').forEach((row) => row.remove())"
        )

    def set_width(self, width: int) -> None:
        self.page.set_viewport_size({"width": width, "height": HEIGHT})

    def set_scheme(self, scheme: str) -> None:
        """Asks for `light` or `dark`, as the reader's settings do."""
        self.page.emulate_media(color_scheme=scheme)

    def overflow(self) -> list[str]:
        """What is wider than the window at any of WIDTHS, the widest first, with the width before it."""
        found = []
        for width in WIDTHS:
            self.set_width(width)
            found += [f"at {width} px: {line}" for line in self.page.evaluate(STICKS_OUT)]
        return found

    def colours(self, scheme: str) -> tuple[str, str]:
        """Colour of the text and of what is behind it."""
        self.set_scheme(scheme)
        text, behind = self.page.evaluate(COLOURS)
        return text, behind

    def barriers(self, scheme: str = "light") -> list[str]:
        """What axe finds of the levels serious and critical, with the first elements that it found it at."""
        from axe_playwright_python.sync_playwright import Axe

        self.set_scheme(scheme)
        found = Axe().run(self.page).response["violations"]
        return [
            f"{one['id']} ({one['impact']}), {len(one['nodes'])} times: {one['help']}; "
            + "; ".join(f"{node['target'][0]} {node['html'][:120]}" for node in one["nodes"][:3])
            for one in found
            if one["impact"] in GRAVE
        ]

    def show(self, folder: Path, name: str) -> None:
        """Writes a picture of the whole page at each width, light and dark."""
        folder.mkdir(parents=True, exist_ok=True)
        for width in WIDTHS:
            self.set_width(width)
            for scheme in SCHEMES:
                self.set_scheme(scheme)
                self.page.screenshot(path=folder / f"{name}-{width}-{scheme}.png", full_page=True)

    def _note_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(f"console, {message.type}: {message.text}")

    def _note_request(self, request: Any) -> None:
        address = request.url.partition("#")[0]
        if address != self.file.resolve().as_uri() and not address.startswith(("data:", "blob:")):
            self.requests.append(address)


@cache
def browser_program() -> str | None:
    """Path of the first Chromium that really starts; a package of some systems is a note on where to get one."""
    for name in NAMES:
        path = shutil.which(name)
        if path is None:
            continue
        asked = subprocess.run([path, "--version"], capture_output=True, check=False, timeout=60)
        if asked.returncode == 0 and re.search(rb"\d+\.\d+", asked.stdout):
            return path
    return None


@pytest.fixture(scope="package")
def browser() -> Iterator[Any]:
    """The one browser of these tests."""
    if browser_program() is None:
        pytest.skip(f"pages need a browser: none of {', '.join(NAMES)} is on PATH; apt-get install chromium")
    for package in ("playwright.sync_api", "axe_playwright_python"):
        pytest.importorskip(package, reason="pages need Playwright and axe: pip install 'mets3d[dev]'")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=browser_program(), args=list(ARGUMENTS), timeout=PATIENCE_MS
        )
        yield started
        started.close()


@pytest.fixture
def open_page(browser: Any, request: pytest.FixtureRequest) -> Iterator[Callable[[Path], Opened]]:
    """Opens a file as a reader does, without a network; each page in a profile of its own."""
    contexts, opened = [], []

    def open_file(file: Path, scheme: str = "light", width: int = 1600, *, clock: bool = False) -> Opened:
        context = browser.new_context(
            offline=True, color_scheme=scheme, viewport={"width": width, "height": HEIGHT}, reduced_motion="reduce"
        )
        context.set_default_timeout(PATIENCE_MS)
        contexts.append(context)
        opened.append(Opened(context.new_page(), file, clock=clock))
        return opened[-1]

    yield open_file
    if os.environ.get(SCREENSHOTS):
        name = re.sub(r"\W+", "_", request.node.name).strip("_")
        for number, one in enumerate(opened):
            one.show(Path(os.environ[SCREENSHOTS]), f"{name}-{number}")
    for context in contexts:
        context.close()
