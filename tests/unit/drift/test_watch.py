"""The fold of records, its report and its state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from puzzle_drift.core.alarm import Phase
from puzzle_drift.core.harm import Harmful, Labels
from puzzle_drift.core.mmd import Builtin
from puzzle_drift.core.packing import pack, unpack
from puzzle_drift.core.records import Record, Refused, reference_of
from puzzle_drift.core.report import refusal, report
from puzzle_drift.core.wanted import DriftSettings, Key, fingerprint, parse_model
from puzzle_drift.core.watch import Watch, begin, resume
from tests.unit.drift.streams import AT, records, reference, without_embedding

V1, V2 = "sha256:" + "1" * 64, "sha256:" + "2" * 64
REFERENCE = reference(300)


def start(images: int = 200, confirm: int = 3) -> Watch:
    wanted = DriftSettings("builtin", "MMDOnline", images, confirm)
    return begin(wanted, REFERENCE, Builtin(), 1 << 30, seed=5)


def message(watch: Watch, labels: Labels | None = None) -> str:
    return report(V1, watch, labels or Labels()).message


def test_messages_are_sentences_with_numbers() -> None:
    watch = start()
    watch.fold(records(5))
    assert message(watch) == "15 more looks fill the first window of 20 after 5 images."
    watch.fold(records(45, first=6, seed=8))
    assert message(watch).startswith("No drift after 50 images: MMD ")
    assert " is not over its threshold " in message(watch)
    drifted = records(100, first=51, seed=9, shift=3.0)
    while watch.alarm.phase is not Phase.SUSPECTED:
        watch.fold([drifted.pop(0)])
    assert f"1 of 3 windows without overlap are over the threshold since {AT}, the next ends in 20 images." in message(
        watch
    )
    assert "Whether it does harm is not known: no image since then has a label yet." in message(watch)
    watch.fold(drifted)
    told = message(watch, Labels(40, 26))
    assert told.startswith(f"Drift since {AT}, confirmed by 3 windows without overlap within 41 images: MMD ")
    assert "It does harm: accuracy of the 40 labelled images since then is 0.350, the reference's 0.9" in told
    assert "It does no harm: " in message(watch, Labels(100, 1))


def test_a_report_has_what_the_monitor_wants_and_json_can_say() -> None:
    watch = start()
    watch.fold(records(30))
    document = report(V1, watch, Labels()).document()
    names = "version detector backend images score threshold p_value phase harmful since message"
    assert list(document) == names.split()
    assert (document["version"], document["images"], document["phase"]) == (V1, 30, "None")
    assert document["harmful"] == Harmful.UNKNOWN and document["since"] is None
    assert refusal(V1, "KS", "builtin", "no").document()["message"] == "Drift is not watched: no."


def test_long_runs_are_explained() -> None:
    watch = start(images=86_000)
    watch.fold(records(100))
    assert watch.plan.stride == 43
    assert watch.tally.looked == 2
    assert "Every 43rd image is looked at: neighbours are alike, and thresholds from 300 references" in message(watch)
    assert "86,000 images between false alarms." in message(watch)


def test_an_unusable_image_passes_its_turn_on() -> None:
    watch = start(images=20_000)
    stride = watch.plan.stride
    assert stride == 10
    stream = records(30)
    stream[9] = without_embedding(stream[9])
    watch.fold(stream)
    assert watch.tally.looked == 2
    assert watch.detector.arrays()["window"][-2] == pytest.approx(np.array(stream[10].embedding))
    assert message(watch).endswith("1 image had nothing that MMDOnline can look at.")


def test_confidence_is_summed_from_the_alarm_on() -> None:
    watch = start(confirm=1)
    watch.fold(records(30))
    assert watch.tally.images_since == 0
    watch.fold(replace(record, confidence=0.5) for record in records(100, shift=4.0, first=31))
    assert watch.tally.images_since == watch.tally.images - watch.alarm.since_images + 1
    assert watch.tally.confidence_since == pytest.approx(0.5 * watch.tally.images_since)
    assert watch.verdict(Labels()).harmful is Harmful.YES


def test_a_state_of_something_else_is_refused_rather_than_guessed() -> None:
    watch = start()
    state = watch.state()
    document, arrays = unpack(state)
    wanted = watch.wanted
    for broken in (
        b"",
        b"\x80\x04nonsense",
        state[: len(state) // 2],
        pack({**document, "schema": 99}, arrays),
        pack({**document, "plan": {"references": 1}}, arrays),
        pack(document, {name: array for name, array in arrays.items() if name != "window"}),
        pack(document, {**arrays, "window": arrays["window"][:, :3]}),
    ):
        with pytest.raises(ValueError, match="state"):
            resume(wanted, REFERENCE, Builtin(), broken)


def test_another_configuration_has_another_fingerprint() -> None:
    wanted, key = DriftSettings(), Key("lyon", "line-1", V1)
    same = fingerprint(wanted, key, V1, "ab")
    assert fingerprint(wanted, key, V1, "ab") == same
    others = {
        fingerprint(replace(wanted, confirm_windows=4), key, V1, "ab"),
        fingerprint(replace(wanted, expected_run_images=4_000), key, V1, "ab"),
        fingerprint(wanted, key, V2, "ab"),
        fingerprint(wanted, key, V1, "cd"),
        fingerprint(wanted, replace(key, version=V2), V1, "ab"),
    }
    assert len(others | {same}) == 6


def test_models_are_read_as_the_monitor_lists_them() -> None:
    raw: dict[str, Any] = {
        "namespace": "lyon",
        "name": "line-1",
        "settings": {
            "line": "line-1",
            "champion": V1,
            "challenger": V2,
            "drift": {
                "backend": "builtin",
                "detector": "MMDOnline",
                "expected_run_images": 5_000,
                "confirm_windows": 2,
            },
            "storage": {"endpoint": "minio:9000", "bucket": "puzzlenet", "secure": False},
        },
    }
    model = parse_model(raw)
    assert [key.version for key in model.keys] == [V1, V2]
    assert model.drift == DriftSettings("builtin", "MMDOnline", 5_000, 2)
    assert parse_model({**raw, "settings": {**raw["settings"], "challenger": V1}}).keys == model.keys[:1]
    assert parse_model({**raw, "settings": {**raw["settings"], "drift": None}}).keys == ()
    for name, value in (("backend", "own"), ("detector", "PSI"), ("expected_run_images", 0), ("confirm_windows", 0)):
        bad = {**raw["settings"], "drift": {**raw["settings"]["drift"], name: value}}
        with pytest.raises(ValueError, match=rf"drift\.{name} is"):
            parse_model({**raw, "settings": bad})


def test_records_are_read_with_named_or_listed_probabilities() -> None:
    raw: dict[str, Any] = {"seq": 7, "id": "a", "at": AT, "revision": "r", "label": "ok", "confidence": 0.9}
    named = Record.parse({**raw, "truth": None, "probabilities": {"ok": 0.9, "bent": 0.1}, "embedding": None})
    assert named == Record.parse({**raw, "probabilities": [0.9, 0.1]})
    assert named.probabilities == (0.9, 0.1)
    with pytest.raises(ValueError, match="could not convert"):
        Record.parse({**raw, "embedding": ["x"]})


def test_references_that_make_no_sense_are_refused_by_name() -> None:
    good: dict[str, np.ndarray[Any, Any]] = {
        "embeddings": np.ones((4, 2), np.float32),
        "probabilities": np.ones((4, 3), np.float32),
        "correct": np.array([1, 0, 1, 1], np.uint8),
    }
    assert reference_of(good, "x").correct.tolist() == [True, False, True, True]
    for change, said in (
        ({"correct": np.ones(3)}, "do not fit each other"),
        ({"embeddings": np.ones(4)}, "'embeddings' of reference.safetensors has 1 dimensions, not 2"),
        ({"probabilities": np.full((4, 3), np.nan)}, "not finite"),
    ):
        with pytest.raises(Refused, match=said):
            reference_of({**good, **change}, "x")
    with pytest.raises(Refused, match="has no 'correct': package the version again"):
        reference_of({name: good[name] for name in ("embeddings", "probabilities")}, "x")
