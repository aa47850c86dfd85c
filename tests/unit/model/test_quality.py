"""The data quality gate: clean data passes, each kind of bad data is named, and poisoned labels are caught."""

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from puzzlenet.errors import PuzzleNetError
from puzzlenet.quality.checks import Finding, Limits
from puzzlenet.quality.measure import Facts, Sample, measure, near_duplicates
from puzzlenet.quality.noise import Evidence, Opinion, familiar, opinions
from puzzlenet.quality.report import Quality, judge

LABELS = ("ok", "scratch", "bent_tab")
LIMITS = Limits(min_images=20)


def _picture(seed: int, *, size: int = 64, light: float = 0.5, quality: int | None = None) -> bytes:
    noise = np.random.default_rng(seed).random((8, 8, 3)) * 0.4 + light - 0.2
    image = Image.fromarray((noise.clip(0, 1) * 255).astype(np.uint8)).resize((size, size), Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, "PNG") if quality is None else image.save(out, "JPEG", quality=quality)
    return out.getvalue()


def _facts(count: int = 60, start: int = 0, **options: float) -> list[Facts]:
    return [
        measure(Sample(data=_picture(start + i, **options), label=LABELS[i % 3], source=f"p{i}", late_s=1.0))  # type: ignore[arg-type]
        for i in range(count)
    ]


def _finding(quality: Quality, check: str) -> Finding:
    return next(finding for finding in quality.findings if finding.check == check)


def _judged(new: list[Facts], limits: Limits = LIMITS, noise: tuple[Opinion, ...] = ()) -> Quality:
    return judge("test", new, _facts(start=5000), limits, noise)


def test_clean_pictures_pass() -> None:
    quality = _judged(_facts())
    assert quality.passed and {finding.status for finding in quality.findings} <= {"pass", "unknown"}


def _changed(facts: list[Facts], share: float, **changes: object) -> list[Facts]:
    """The same with a share of them sampled anew with changes."""
    count = round(share * len(facts))
    options = {"data": None, "late_s": 1.0} | changes
    made = []
    for index, one in enumerate(facts):
        data = options["data"] if options["data"] is not None and index < count else one.sample.data
        late = options["late_s"] if index < count else 1.0
        made.append(measure(Sample(data=data, label=one.sample.label, source=one.sample.source, late_s=late)))  # type: ignore[arg-type]
    return made


@pytest.mark.parametrize(
    ("check", "new", "limits"),
    [
        ("volume", _facts(10), LIMITS),
        ("corrupt", _changed(_facts(), 0.1, data=b"\x89PNG\r\n\x1a\nno"), LIMITS),
        ("lateness", _changed(_facts(), 0.3, late_s=5000.0), LIMITS),
        ("duplicates", _changed(_facts(), 0.3, data=_picture(1)), LIMITS),
        ("contradictions", _changed(_facts(), 0.1, data=_picture(1)), LIMITS),
        ("size", _facts(size=48), Limits(min_images=20, size=(64, 64))),
        ("brightness", _facts(light=0.2), Limits(min_images=20, brightness=(0.4, 0.9))),
    ],
)
def test_bad_data_is_refused_by_the_check_that_is_about_it(check: str, new: list[Facts], limits: Limits) -> None:
    quality = _judged(new, limits)
    assert not quality.passed and _finding(quality, check).status == "fail"
    assert check in quality.sentence


def test_one_label_only_is_refused() -> None:
    same = [measure(Sample(data=one.sample.data, label="ok", source=one.sample.source)) for one in _facts()]
    assert _finding(_judged(same), "class balance").status == "fail"


def test_a_new_product_looks_different_and_that_only_warns() -> None:
    quality = _judged(_facts(light=0.3))
    assert quality.passed and _finding(quality, "colour shift").status == "warn"


def test_a_picture_compressed_again_is_a_near_duplicate_and_another_piece_is_not() -> None:
    hashes = [measure(Sample(data=_picture(seed, quality=q), label="ok", source="x")).hash for seed, q in
              ((1, None), (1, 60), (2, None), (3, None))]  # fmt: skip
    assert near_duplicates(hashes, 12).tolist() == [False, True, False, False]


def _evidence(poisoned: float, shift: float = 0.0, signal: float = 4.0) -> Evidence:
    """400 pictures of three classes as points around three centres, a share of the labels permuted."""
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 3, 400)
    centres = rng.normal(size=(3, 64)) * signal / 4
    home_truth = rng.integers(0, 3, 300)
    labels = truth.copy()
    wrong = rng.permutation(400)[: round(poisoned * 400)]
    labels[wrong] = rng.permutation(labels[wrong])
    return Evidence(
        embeddings=centres[truth] + rng.normal(size=(400, 64)) + shift,
        probabilities=np.eye(3)[truth] * 0.97 + 0.01,
        labels=labels,
        reference=centres[home_truth] + rng.normal(size=(300, 64)),
    )


def test_half_of_the_labels_permuted_is_refused_and_clean_labels_are_not() -> None:
    new = _facts(400)
    assert _finding(_judged(new, noise=opinions(_evidence(0.0))), "label noise").status == "pass"
    poisoned = _judged(new, noise=opinions(_evidence(0.5)))
    finding = _finding(poisoned, "label noise")
    assert not poisoned.passed and finding.status == "fail" and 0.2 < (finding.value or 0) < 0.5
    assert len(finding.offenders) > 80


def test_the_neighbours_catch_it_where_the_champion_has_never_been() -> None:
    champion, neighbours = opinions(_evidence(0.5, shift=50.0))
    assert champion.share is None and neighbours.share is not None and neighbours.share > 0.2


def test_neighbours_do_not_overrule_a_champion_that_can_tell() -> None:
    """Of a product that the champion has only begun to learn, the neighbours of good labels are often others."""
    none = np.zeros(400, dtype=bool)
    sure = Opinion(who="champion", share=0.03, judged=90, suspicious=none, reason="3 of 90 labels contradict it")
    others = Opinion(who="neighbours", share=0.25, judged=370, suspicious=~none, reason="92 of 370 contradict them")
    finding = _finding(_judged(_facts(400), noise=(sure, others)), "label noise")
    assert finding.status == "pass" and finding.value == 0.03 and not finding.offenders
    blind = Opinion(who="champion", share=None, judged=3, suspicious=none, reason="only 3 of 400 look familiar")
    assert _finding(_judged(_facts(400), noise=(blind, others)), "label noise").status == "fail"


def test_where_nobody_can_tell_it_says_so_and_refuses_nothing() -> None:
    quality = _judged(_facts(400), noise=opinions(_evidence(0.5, shift=50.0, signal=0.0)))
    finding = _finding(quality, "label noise")
    assert finding.status == "unknown" and quality.passed and "does not tell these classes apart" in finding.sentence


def test_what_is_familiar_is_near_the_reference() -> None:
    evidence = _evidence(0.0)
    assert familiar(evidence.embeddings, evidence.reference).mean() > 0.85
    assert not familiar(evidence.embeddings + 50.0, evidence.reference).any()


def test_the_report_shows_offenders_and_runs_nothing(tmp_path: Path) -> None:
    bad = _changed(_facts(), 0.3, data=_picture(1))
    bad.append(measure(Sample(data=b"no picture", label="ok", source="<script>alert(1)</script>")))
    _judged(bad).write(tmp_path / "report")
    page = (tmp_path / "report" / "quality.html").read_text()
    assert page.count('src="data:image/jpeg;base64,') >= 12 and "<script" not in page
    told = json.loads((tmp_path / "report" / "quality.json").read_text())
    assert told["passed"] is False and told["checks"][0]["check"] == "volume"


@pytest.mark.parametrize("change", [{"min_images": 0}, {"brightness": (0.9, 0.1)}])
def test_a_limit_that_cannot_be_is_named(change: dict[str, object]) -> None:
    with pytest.raises(PuzzleNetError, match="--"):
        Limits(**change)  # type: ignore[arg-type]
