"""A real browser, where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CHROMIUM = shutil.which("chromium")


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser of Playwright's; skips the test where Debian's chromium or the Python package is missing."""
    if CHROMIUM is None:
        pytest.skip("chromium (Debian package) is not installed")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright (Python package) is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()
