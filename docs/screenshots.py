"""Take the pictures for README and tutorials from the running product, over the sample documents.

Starts `strongroom up` on a fresh data directory, drives Debian's chromium, and writes PNG files to docs/images/.
Nothing is drawn or retouched. Needs the default models and chromium: `make screenshots`.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
ANSWERED = "How much notice must the Authority give to end the crane agreement without a reason?"
TABLE = "What is the budget for maintenance dredging?"
UNANSWERED = "Who painted the portrait in the board room?"
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]


@contextmanager
def product(data_dir: str) -> Iterator[str]:
    """The running product; gives its sign-in link."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "strongroom", "up", "--data-dir", data_dir, "--port", "0", "--ui-port", port]
    command += ["--samples", str(ROOT / "samples" / "documents")]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None:
            raise RuntimeError("no output to read the address from")
        for line in process.stdout:
            if found := re.search(r"http://\S+/login\S+", line):
                yield found.group()
                return
        raise RuntimeError("the product ended without printing an address")
    finally:
        process.terminate()
        process.wait(30)


def ask(page: Page, question: str) -> None:
    """Ask in a new conversation and wait for the finished answer, which ends with its small print."""
    new = page.get_by_role("button", name="New conversation")
    if new.is_enabled():
        new.click()
    page.locator(".sr-empty").wait_for()
    box = page.get_by_placeholder("Ask your documents")
    box.fill(question)
    box.press("Enter")
    page.locator("p.meta").wait_for(timeout=180_000)
    page.wait_for_timeout(800)


def shoot(page: Page, name: str) -> None:
    """Save what the window shows."""
    page.mouse.move(0, 0)
    page.wait_for_timeout(600)
    page.screenshot(path=IMAGES / f"{name}.png")
    sys.stdout.write(f"docs/images/{name}.png\n")


def tour(page: Page, link: str) -> None:
    """Walk through the product as the tutorial does."""
    page.goto(link)
    page.get_by_placeholder("Ask your documents").wait_for(timeout=60_000)
    page.wait_for_timeout(1000)
    shoot(page, "start")
    ask(page, ANSWERED)
    page.get_by_role("button", name=re.compile("^Citation 1:")).first.click()
    page.locator("rect.mark").first.wait_for()
    page.wait_for_timeout(1200)
    shoot(page, "chat")
    ask(page, TABLE)
    page.get_by_role("button", name=re.compile("^Open source 1")).first.click()
    page.locator("mark").first.wait_for()
    shoot(page, "sheet")
    ask(page, UNANSWERED)
    shoot(page, "not-found")
    page.get_by_role("link", name="Documents").click()
    page.get_by_role("table").wait_for()
    shoot(page, "documents")


def main() -> int:
    """Take every picture; returns the exit code."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.stderr.write("chromium is missing: apt-get install chromium\n")
        return 1
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder, product(f"{folder}/data") as link, sync_playwright() as started:
        browser = started.chromium.launch(executable_path=chromium, args=FLAGS)
        page = browser.new_page(viewport={"width": 1380, "height": 960}, color_scheme="light")
        tour(page, link)
        browser.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
