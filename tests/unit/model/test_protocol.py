"""Requests and answers of protocol v1 and v2, and a sentence with a 4xx for everything else."""

import base64
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from puzzlenet.errors import BadImageError
from puzzlenet.predictor import Prediction
from puzzlenet.protocol import MAX_IMAGES, answer, parse_request

Picture = Callable[..., bytes]
B64 = base64.b64encode(b"\x89PNG\r\n\x1a\n...").decode()
PREDICTION = Prediction("ok", (0.75, 0.25))


def _v2(data: Any, **extra: Any) -> dict[str, Any]:
    tensor = {"name": "image", "shape": [len(data)], "datatype": "BYTES", "data": data}
    return {"inputs": [{**tensor, **extra}]}


def _answer(body: Any) -> dict[str, Any]:
    request = parse_request(body)
    predictions = [PREDICTION] * len(request.pictures)
    return answer(request, predictions, classes=("ok", "bad"), version="sha256:1", fallback_id="made-up")


def test_a_v2_answer_carries_label_probabilities_version_and_the_request_s_id() -> None:
    assert _answer({**_v2([B64, B64]), "id": "piece-7"}) == {
        "id": "piece-7",
        "model_name": "puzzlenet",
        "model_version": "sha256:1",
        "outputs": [
            {"name": "label", "datatype": "BYTES", "shape": [2], "data": ["ok", "ok"]},
            {"name": "probabilities", "datatype": "FP32", "shape": [2, 2], "data": [0.75, 0.25, 0.75, 0.25]},
            {"name": "classes", "datatype": "BYTES", "shape": [2], "data": ["ok", "bad"]},
        ],
    }


def test_a_v2_tensor_may_be_nested() -> None:
    assert len(parse_request(_v2([[B64], [B64]], shape=[2, 1])).pictures) == 2


def test_a_v1_answer_carries_each_instance_s_own_id() -> None:
    body = {"instances": [{"image": {"b64": B64}, "id": "left"}, {"image": {"b64": B64}}]}
    first, second = _answer(body)["predictions"]
    assert first == {
        "label": "ok",
        "confidence": 0.75,
        "probabilities": {"ok": 0.75, "bad": 0.25},
        "version": "sha256:1",
        "id": "left",
    }
    assert "id" not in second


def test_without_an_id_the_server_s_own_is_told() -> None:
    assert _answer(_v2([B64]))["id"] == "made-up"
    assert _answer({"instances": [{"b64": B64}]})["id"] == "made-up"


def test_a_plain_picture_is_a_request_too(picture: Picture) -> None:
    reply = _answer(picture())
    assert reply["label"] == "ok" and reply["id"] == "made-up"


@pytest.mark.parametrize(
    ("body", "sentence"),
    [
        (b"", "empty"),
        (b"{", "neither valid JSON nor"),
        (b"[" * 100_000, "neither valid JSON nor"),
        (b"[1]", "must be a JSON object"),
        ({}, "'inputs'"),
        ({"inputs": []}, "exactly one tensor"),
        ({"inputs": [1]}, "exactly one tensor"),
        (_v2([B64], datatype="FP32"), r"inputs\[0\]\.datatype is 'FP32'"),
        (_v2("x"), "must be a list"),
        (_v2([B64], shape=[2]), "does not fit the 1 strings"),
        (_v2([B64], shape=[True]), "whole numbers"),
        (_v2([B64], shape=["1"]), "whole numbers"),
        (_v2([]), "is empty"),
        (_v2([7]), r"inputs\[0\]\.data\[0\] must be a base64 string"),
        (_v2(["&&&"]), "not valid base64"),
        ({**_v2([B64]), "id": 7}, "'id' must be a string"),
        ({**_v2([B64]), "id": "x" * 300}, "'id' must be a string"),
        ({"instances": 1}, "'instances' must be a list"),
        ({"instances": [1]}, r"instances\[0\] must be an object"),
        ({"instances": [{}]}, r"instances\[0\]\.image\.b64 must be"),
        ({"instances": [{"image": {"b64": None}}]}, r"instances\[0\]\.image\.b64 must be"),
    ],
)
def test_a_bad_request_is_named_in_one_sentence(body: Any, sentence: str) -> None:
    with pytest.raises(BadImageError, match=sentence) as refused:
        parse_request(body)
    assert refused.value.status == 400


def test_more_images_than_the_bound_are_refused() -> None:
    with pytest.raises(BadImageError, match="at most 32") as refused:
        parse_request(_v2([B64] * (MAX_IMAGES + 1)))
    assert refused.value.status == 413


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["inputs", "instances", "image", "b64", "data", "shape", "datatype", "id"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(_json)
def test_no_json_crashes_the_parser(body: Any) -> None:
    try:
        assert parse_request(json.dumps(body).encode()).pictures
    except BadImageError as refused:
        assert 400 <= refused.status < 500
