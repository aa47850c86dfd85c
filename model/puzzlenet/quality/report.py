"""The report of the data quality gate: JSON for programs, a page with pictures of offenders for people."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from puzzlenet.errors import PuzzleNetError
from puzzlenet.files import pretty_json, write_atomically
from puzzlenet.quality.checks import Finding, Limits, Offender, check_all
from puzzlenet.quality.measure import Facts, thumbnail
from puzzlenet.quality.noise import Opinion

_SHOWN = 12


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """What the gate says about a batch of pictures."""

    title: str
    images: int
    findings: tuple[Finding, ...]

    @property
    def passed(self) -> bool:
        """Whether anything may be trained on them."""
        return all(finding.status != "fail" for finding in self.findings)

    @property
    def sentence(self) -> str:
        """The failures, or that there are none."""
        failed = [f"{finding.check}: {finding.sentence}" for finding in self.findings if finding.status == "fail"]
        warned = [finding.check for finding in self.findings if finding.status == "warn"]
        if failed:
            return "; ".join(failed)
        return f"{self.images} pictures passed" + (f", with warnings about {', '.join(warned)}" if warned else "")

    def to_dict(self) -> dict[str, Any]:
        """``quality.json``."""
        return {
            "schema": 1,
            "title": self.title,
            "images": self.images,
            "passed": self.passed,
            "checks": [
                {
                    "check": finding.check,
                    "status": finding.status,
                    "sentence": finding.sentence,
                    "value": finding.value,
                    "limit": finding.limit,
                    "offenders": [
                        {"image": offender.facts.image, "source": offender.facts.sample.source, "note": offender.note}
                        for offender in finding.offenders[:200]
                    ],
                }
                for finding in self.findings
            ],
        }

    def write(self, folder: Path) -> None:
        """Write quality.json and quality.html into a folder. Raises PuzzleNetError when it cannot be made."""
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise PuzzleNetError(f"--out {folder} cannot be made: {exc.strerror}") from exc
        write_atomically(folder / "quality.json", pretty_json(self.to_dict()))
        write_atomically(folder / "quality.html", self.to_html().encode())

    def to_html(self) -> str:
        """``quality.html``: one file, no script, nothing fetched."""
        verdict = "passed" if self.passed else "refused"
        sections = "".join(_section(finding) for finding in self.findings)
        return _PAGE.format(title=escape(self.title), verdict=verdict, images=self.images, sections=sections)


def judge(
    title: str,
    new: Sequence[Facts],
    reference: Sequence[Facts],
    limits: Limits,
    noise: Sequence[Opinion] = (),
) -> Quality:
    """Run every check."""
    return Quality(title=title, images=len(new), findings=tuple(check_all(new, reference, limits, noise)))


def _section(finding: Finding) -> str:
    pictures = "".join(_picture(offender) for offender in finding.offenders[:_SHOWN])
    more = len(finding.offenders) - _SHOWN
    rest = f"<p>and {more} more, listed in quality.json</p>" if more > 0 else ""
    return (
        f'<section><h2><span class="{finding.status}">{finding.status}</span> {escape(finding.check)}</h2>'
        f"<p>{escape(finding.sentence)}</p><div>{pictures}</div>{rest}</section>"
    )


def _picture(offender: Offender) -> str:
    small = thumbnail(offender.facts.sample.data)
    name, note = escape(offender.facts.sample.source), escape(offender.note)
    if small is None:
        shown = '<span class="none">no picture</span>'
    else:
        shown = f'<img alt="{name}" src="data:image/jpeg;base64,{base64.b64encode(small).decode()}">'
    return f'<figure title="{name}">{shown}<figcaption>{note}</figcaption></figure>'


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; style-src 'unsafe-inline'">
<style>
body {{ font: 15px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; color: #222 }}
h2 {{ font-size: 1.05rem; margin: 1.6rem 0 .2rem }} p {{ margin: .2rem 0 .6rem }}
h2 span {{ display: inline-block; min-width: 4.5rem; text-align: center; border-radius: 3px; color: #fff }}
h2 span {{ font-size: .8rem }}
.pass {{ background: #2e7d32 }} .warn {{ background: #b26a00 }}
.fail {{ background: #c62828 }} .unknown {{ background: #666 }}
figure {{ display: inline-block; width: 100px; margin: 0 .5rem .5rem 0; vertical-align: top; font-size: .75rem }}
.none {{ display: block; height: 60px; background: #eee; text-align: center; line-height: 60px }}
</style></head><body>
<h1>{title}</h1><p>{images} pictures: <strong>{verdict}</strong></p>
{sections}
</body></html>
"""
