"""The InferenceService against KServe's own types: a field that KServe does not know would be dropped in silence."""

from __future__ import annotations

import pytest
from kserve import (
    V1beta1InferenceService,
    V1beta1InferenceServiceSpec,
    V1beta1ModelFormat,
    V1beta1ModelSpec,
    V1beta1PredictorSpec,
)

from puzzle_operator.core.traffic import Plan
from puzzle_operator.manifests.inference_service import Recording, inference_service
from tests.builders import V2, a_model


@pytest.mark.parametrize(
    ("path", "kserve_type"),
    [
        ((), V1beta1InferenceService),
        (("spec",), V1beta1InferenceServiceSpec),
        (("spec", "predictor"), V1beta1PredictorSpec),
        (("spec", "predictor", "model"), V1beta1ModelSpec),
        (("spec", "predictor", "model", "modelFormat"), V1beta1ModelFormat),
    ],
    ids=lambda value: ".".join(value) or "top" if isinstance(value, tuple) else "",
)
def test_kserve_knows_every_field_that_is_set(path: tuple[str, ...], kserve_type: type) -> None:
    part = inference_service(a_model().build(), Plan(V2, 10), Recording("http://monitor:8090", "token"))
    for name in path:
        part = part[name]
    known = set(getattr(kserve_type, "attribute_map").values())  # noqa: B009 - the SDK has no types
    assert part, "nothing is set here: the test looks in the wrong place"
    assert set(part) <= known, f"KServe has no field {sorted(set(part) - known)}"
