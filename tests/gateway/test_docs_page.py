"""The page that shows the OpenAPI document: shipped with the package, and fed by this server alone."""

from __future__ import annotations

import asyncio
import re
import shutil
from importlib.resources import files
from pathlib import Path
from typing import Any

import httpx
import pytest
from harness import in_memory, served

from gateway import Gateway, GatewayOptions

PAGE = files("gateway.openapi").joinpath("page")


async def test_the_page_and_all_that_it_names_are_served(client: httpx.AsyncClient) -> None:
    page = await client.get("/docs")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    named = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(named) == 5
    for name in named:
        assert (await client.get(f"/{name}")).status_code == 200, name
    assert (await client.get("/docs/docs.js")).headers["content-type"] == "text/javascript; charset=utf-8"
    assert (await client.post("/docs")).status_code == 405


async def test_names_are_relative_so_that_a_prefix_does_no_harm(library: Any) -> None:
    from gateway_servicers import capture

    options = GatewayOptions(docs_path="/about/api", openapi_path="/spec/api.json")
    async with in_memory(Gateway(handlers=capture(library), options=options)) as client:
        page = (await client.get("/about/api")).text
        assert 'href="api/docs.css"' in page
        assert 'fetch("../spec/api.json")' in (await client.get("/about/api/docs.js")).text
        assert (await client.get("/docs")).status_code == 404


async def test_it_can_be_left_out(library: Any) -> None:
    from gateway_servicers import capture

    async with in_memory(Gateway(handlers=capture(library), options=GatewayOptions(docs_path=None))) as client:
        assert (await client.get("/docs")).status_code == 404
        assert (await client.get("/openapi.json")).status_code == 200


def test_nothing_of_the_page_comes_from_elsewhere() -> None:
    for name in ("index.html", "docs.css", "docs.js"):
        text = PAGE.joinpath(name).read_text()
        assert not re.search(r"(?:https?:)?//(?!www\.w3\.org/2000/svg)[a-z]", text), name


@pytest.mark.slow
async def test_a_browser_shows_every_operation(library: Any, descriptors: bytes, tmp_path: Path) -> None:
    from gateway_servicers import capture

    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("chromium is not installed")
    gateway = Gateway(handlers=capture(library), descriptors=descriptors)
    async with served(gateway) as port:
        process = await asyncio.create_subprocess_exec(
            browser,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            f"--user-data-dir={tmp_path}",
            "--enable-logging=stderr",
            "--virtual-time-budget=5000",
            "--dump-dom",
            f"http://127.0.0.1:{port}/docs#LibraryService_ListBooks",
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        async with asyncio.timeout(120):
            out, err = await process.communicate()
    shown = out.decode()
    assert [line for line in err.decode().splitlines() if "CONSOLE" in line] == []
    assert shown.count('class="operation"') == sum(len(item) for item in gateway.openapi()["paths"].values())
    assert "At most so many." in shown, "the operation that the link names is open"
