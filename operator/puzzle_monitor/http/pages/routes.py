"""Routes of the pages. They need no token, because they hold no data: the browser asks the API, with a token."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import RedirectResponse

from puzzle_monitor.core.faults import Refused
from puzzle_monitor.http.pages.files import File, load

# Scripts, styles and data from here only; pictures as blobs, because they are fetched with a token. Text is never
# taken for markup: without that, a class name from a stranger's record could be.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    # Asked for again each time, answered with 304: after an update no browser mixes files of two versions.
    "Cache-Control": "no-cache",
}


def routes() -> APIRouter:
    """The two pages and what they are made of. Raises FileNotFoundError without the files."""
    files = load()
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def start() -> Response:
        """Whoever types only the address wants to see something. Relative, so that a path before it may stay."""
        return RedirectResponse("review", headers=HEADERS)

    @router.get("/review")
    def review(request: Request) -> Response:
        """The queue of pieces that wait for a person."""
        return _answer(files["review.html"], request)

    @router.get("/line")
    def line(request: Request) -> Response:
        """How the models do."""
        return _answer(files["line.html"], request)

    @router.get("/static/{name}")
    def static(name: str, request: Request) -> Response:
        """Styles, scripts, the icon."""
        found = files.get(name)
        if found is None:
            raise Refused(404, f"there is no file {name[:60]!r} in this version: load the page again")
        return _answer(found, request)

    return router


def _answer(file: File, request: Request) -> Response:
    headers = HEADERS | {"ETag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.data, media_type=file.media_type, headers=headers)
