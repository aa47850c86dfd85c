"""The pages as files: what is served, with which headers, and that they hang together without a build."""

from __future__ import annotations

import asyncio
import re

import httpx
import pytest
from fastapi import FastAPI

from puzzle_monitor.http import problems
from puzzle_monitor.http.pages import files, routes

FILES = files.load()
TEXTS = {name: file.data.decode() for name, file in FILES.items()}


def app() -> FastAPI:
    """The pages alone, without the API."""
    found = FastAPI()
    problems.install(found)
    found.include_router(routes.routes())
    return found


def get(path: str, **headers: str) -> httpx.Response:
    """What is answered."""

    async def ask() -> httpx.Response:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app()), base_url="http://monitor") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(ask())


@pytest.mark.parametrize("path", ["/review", "/line", "/static/base.css", "/static/review.js", "/static/icon.svg"])
def test_everything_is_served_under_the_strict_policy(path: str) -> None:
    answer = get(path)
    assert answer.status_code == 200
    policy = dict(part.split(" ", 1) for part in answer.headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'" and policy["script-src"] == policy["style-src"] == "'self'"
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert policy["frame-ancestors"] == "'none'"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert answer.headers["Cache-Control"] == "no-cache"


def test_a_file_that_a_browser_has_is_not_sent_again() -> None:
    etag = get("/static/base.css").headers["ETag"]
    again = get("/static/base.css", **{"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    assert get("/static/base.css", **{"If-None-Match": '"older"'}).status_code == 200


@pytest.mark.parametrize("name", ["none.js", "..%2f__init__.py", "%2e%2e/__init__.py", "README"])
def test_only_the_pages_files_are_there(name: str) -> None:
    answer = get(f"/static/{name}")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == problems.MEDIA_TYPE


def test_the_bare_address_leads_to_the_review_page() -> None:
    answer = get("/")
    assert (answer.status_code, answer.headers["Location"]) == (307, "review")


def test_pages_are_no_part_of_the_api() -> None:
    assert app().openapi()["paths"] == {}


@pytest.mark.parametrize("name", [name for name in TEXTS if name.endswith(".html")])
def test_a_page_has_nothing_inline_and_names_only_files_that_are_there(name: str) -> None:
    page = TEXTS[name]
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", page)
    assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", page))
    named = re.findall(r"""(?:src|href)="static/([^"]+)\"""", page)
    assert named and set(named) <= set(FILES)
    assert "//" not in page.replace("<!doctype html>", ""), "nothing comes from elsewhere"


@pytest.mark.parametrize("name", [name for name in TEXTS if name.endswith(".js")])
def test_a_module_imports_only_what_is_there_and_exported(name: str) -> None:
    for names, module in re.findall(r'import \{([^}]+)\} from "([^"]+)"', TEXTS[name]):
        source = TEXTS[module.removeprefix("./")]
        exported = set(re.findall(r"export (?:async )?(?:function\*?|class|const) (\w+)", source))
        assert {one.strip() for one in names.split(",")} <= exported, module
    assert not re.search(r"innerHTML|insertAdjacentHTML|document\.write|localStorage|\beval\(", TEXTS[name])
