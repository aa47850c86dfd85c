"""Bodies, cursors, tokens, durations: what is read, and the words of what is refused."""

from __future__ import annotations

import json
import math
import tracemalloc
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from puzzle_monitor.core import cursor
from puzzle_monitor.core.faults import Refused, path
from puzzle_monitor.core.limits import Bucket
from puzzle_monitor.core.parse import parse_feedback, parse_feedback_csv, parse_records
from puzzle_monitor.core.records import MAX_FEEDBACK, pack, unpack
from puzzle_monitor.core.stored import Order
from puzzle_monitor.core.times import micros, moment
from puzzle_monitor.core.tokens import Role, find, parse_tokens

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
RECORD: dict[str, Any] = {
    "id": "p-1",
    "at": "2026-11-23T12:00:00+01:00",
    "namespace": "lyon",
    "model": "line-1",
    "line": "line-1",
    "revision": "r-1",
    "version": "sha256:ab",
    "label": "petite éraflure",
    "probabilities": {"ok": 0.25, "petite éraflure": 0.75},
    "confidence": 0.75,
    "image": {
        "format": "png",
        "width": 8,
        "height": 8,
        "bytes": 99,
        "brightness": 0.5,
        "blur": 3,
        "colour": [0, 0.5, 1],
    },
}
CSV = "prediction_id,label,who,at,note\np-1,ok,Ana,2026-11-23T08:00:00Z,\np-2,stain,Ana,2026-11-23T09:00:00Z,a; b\n"


def body(*records: dict[str, Any]) -> bytes:
    return json.dumps({"records": records}).encode()


def test_a_record_is_read() -> None:
    (one,) = parse_records(body(RECORD), NOW)
    assert one.label == "petite éraflure" and one.at == datetime(2026, 11, 23, 11, tzinfo=UTC)
    assert one.image.colour == (0, 0.5, 1) and one.embedding is None


@pytest.mark.parametrize(
    ("change", "field", "words"),
    [
        ({"label": "a\nb"}, "records[1].label", "string should match pattern"),
        ({"label": ""}, "records[1].label", "string should match"),
        ({"confidence": 1.5}, "records[1].confidence", "less than or equal to 1; it is 1.5"),
        ({"confidence": True}, "records[1].confidence", "valid number"),
        ({"id": "x" * 129}, "records[1].id", "…"),
        ({"at": 0}, "records[1].at", "datetime"),
        ({"at": "2026-11-23T12:10:01Z"}, "records[1].at", "lies in the future"),
        ({"probabilities": {}}, "records[1].probabilities", "has 0 entries"),
        ({"embedding": []}, "records[1].embedding", "has 0 entries"),
        ({"image": {**RECORD["image"], "width": 0}}, "records[1].image.width", "greater than or equal to 1; it is 0"),
        ({"image": None}, "records[1].image", "should be an object; it is None"),
    ],
)
def test_a_wrong_record_is_named_by_its_field(change: dict[str, Any], field: str, words: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_records(body(RECORD, RECORD | change), NOW)
    assert refused.value.status == 422 and refused.value.faults[0].field == field
    assert words in refused.value.faults[0].message


def test_only_the_first_ten_faults_are_told() -> None:
    with pytest.raises(Refused, match="and 12 more") as refused:
        parse_records(body({f"field-{n}-{'x' * 100}": n for n in range(11)}), NOW)
    assert len(refused.value.faults) == 10
    with pytest.raises(Refused) as refused:
        parse_records(body(RECORD | {"x" * 100: 1}), NOW)
    assert refused.value.faults[0].field == f"records[0].{'x' * 60}…"


FILL = 500_000
OBJECTS, KEYS = ",".join(["{}"] * FILL), ",".join(f'"{n}":2' for n in range(FILL))


@pytest.mark.parametrize(
    ("template", "filling", "words"),
    [
        ('{"records":[@]}', OBJECTS, "records: has 500,000 entries"),
        ('{"records":[@]}', OBJECTS[:2999], "records[0]: has 0 entries"),
        ('{"records":[{@}]}', KEYS, "records[0]: has 500,000 entries"),
        ('{"records":[{"probabilities":{@}}]}', KEYS, "records[0].probabilities: has 500,000 entries"),
        ('{"records":[{"embedding":[@]}]}', OBJECTS, "records[0].embedding: has 500,000 entries"),
        ('{"records":@', "[" * FILL, "recursion limit"),
        ('{"records":[{"confidence":@}]}', "1" * FILL, "number out of range"),
    ],
    ids=["records", "empty records", "fields", "classes", "embedding", "depth", "digits"],
)
def test_a_flood_is_refused_before_its_faults_are_gathered(template: str, filling: str, words: str) -> None:
    """pydantic gathers all the faults of a value: a few megabytes of these bodies made gigabytes of them."""
    data = template.replace("@", filling).encode()
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as refused:
            parse_records(data, NOW)
        assert tracemalloc.get_traced_memory()[1] < 250 * 2**20
    finally:
        tracemalloc.stop()
    assert words in refused.value.detail


def test_a_flood_of_feedback_is_refused_as_well() -> None:
    with pytest.raises(Refused, match="has 500,000 entries"):
        parse_feedback(f"[{OBJECTS}]".encode(), NOW)
    with pytest.raises(Refused, match="has more lines"):
        parse_feedback_csv(b"prediction_id,label,who,at\n" + b"a\n" * FILL, NOW)


def test_feedback_as_object_list_and_table() -> None:
    one = {"prediction_id": "p-1", "label": "ok", "who": "Ana", "at": "2026-11-23T08:00:00Z"}
    single = parse_feedback(json.dumps(one).encode(), NOW)
    assert parse_feedback(b"  " + json.dumps([one]).encode(), NOW) == single
    table = parse_feedback_csv(CSV.encode(), NOW)
    assert table[0] == single[0] and table[1].note == "a; b"
    assert parse_feedback_csv(b"\xef\xbb\xbf" + CSV.replace("a; b", "").replace(",", ";").encode(), NOW)[0] == single[0]


@pytest.mark.parametrize(
    ("text", "status", "words"),
    [
        ("", 400, "the CSV is empty"),
        ("a,a\n", 422, "this column is missing"),
        ("prediction_id,label,who,at,at\n", 422, "prediction_id,label,who,at"),
        (CSV + "p-3,ok,Ana\n", 422, "line 4: has 3 columns, the header 5"),
        (CSV + "p-3,ok,,2026-11-23T08:00:00Z,\n", 422, "line 4.who"),
        (CSV + "p-3,ok,Ana,2027-11-23T08:00:00Z,\n", 422, "line 4.at: lies in the future"),
        (CSV + 'p-3,"ok,Ana\n', 400, "the body is not CSV"),
        (
            "prediction_id,label,who,at\n" + "p,ok,A,2026-11-23T08:00:00Z\n" * (MAX_FEEDBACK + 1),
            422,
            "send 1 to 10,000",
        ),
    ],
)
def test_a_wrong_table_is_named_by_its_line(text: str, status: int, words: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_feedback_csv(text.encode(), NOW)
    assert refused.value.status == status
    if words != "prediction_id,label,who,at":
        assert words in refused.value.detail


def test_paths_are_written_as_people_do() -> None:
    assert path("", ("records", 3, "image", "width")) == "records[3].image.width"
    assert path("line 4", ("at",)) == "line 4.at" and path("", ()) == "body"


@given(st.lists(st.floats(-1e9, 1e9, width=32), min_size=1, max_size=50))
def test_embeddings_come_back(values: list[float]) -> None:
    assert unpack(pack(values)) == values and len(pack(values) or b"") == 4 * len(values)
    assert pack(None) is None and unpack(None) is None


@given(st.integers(0, 10**18 - 1), st.integers(0, 10**18 - 1))
def test_cursors_come_back(at: int, seq: int) -> None:
    assert cursor.decode(cursor.encode((at, seq)), Order.NEWEST) == (at, seq)


@given(st.floats(0, 1), st.integers(0, 10**18 - 1))
def test_cursors_of_confidence_come_back_and_go_with_their_order_only(confidence: float, seq: int) -> None:
    text = cursor.encode((confidence, seq))
    assert cursor.decode(text, Order.UNCERTAIN) == (confidence, seq)
    with pytest.raises(Refused):
        cursor.decode(text, Order.NEWEST)


@given(st.text("AZaz09-_=. \n\0é", max_size=30))
def test_no_other_text_is_a_cursor_that_does_harm(text: str) -> None:
    try:
        assert all(0 <= number < 10**18 for order in Order for number in cursor.decode(text, order))
    except Refused as refused:
        assert refused.status == 422


@given(st.datetimes(timezones=st.just(UTC)))
def test_moments_come_back_exactly(at: datetime) -> None:
    assert moment(micros(at)) == at


def test_a_bucket_saves_up_to_its_burst_and_says_how_long_to_wait() -> None:
    bucket = Bucket(rate=10, burst=20, now=0.0)
    assert bucket.take(20, 0.0) == 0.0
    assert bucket.take(5, 0.0) == pytest.approx(0.5)
    assert bucket.take(5, 0.5) == 0.0
    assert bucket.take(20, 1000.0) == 0.0 and bucket.take(1, 1000.0) > 0
    assert bucket.take(1, 900.0) > 0, "a clock that goes back gives nothing"
    assert bucket.take(21, 2000.0) == math.inf
    with pytest.raises(ValueError, match="above 0"):
        Bucket(0, 1, 0)


@given(st.lists(st.tuples(st.floats(0, 3), st.integers(1, 30)), max_size=60))
def test_no_pattern_of_requests_gets_more_than_the_rate_and_one_burst(requests: list[tuple[float, int]]) -> None:
    bucket, now, got = Bucket(rate=10, burst=30, now=0.0), 0.0, 0
    for pause, cost in requests:
        now += pause
        got += cost if bucket.take(cost, now) == 0.0 else 0
    assert got <= 30 + 10 * now + 1e-6


def test_tokens_are_found_by_their_text_alone() -> None:
    text = f"# who\n\nhandler ingest {'a' * 20}\nboth feedback,read {'b' * 20}\n"
    tokens = parse_tokens(text)
    assert [token.name for token in tokens] == ["handler", "both"] and tokens[1].roles == {Role.FEEDBACK, Role.READ}
    assert find(tokens, "b" * 20) is tokens[1] and find(tokens, "b" * 19) is None and find(tokens, "\udcff") is None
    assert "a" * 20 not in repr(tokens)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "there is no token in it"),
        ("handler ingest", "line 1 has 2 words"),
        (f"handler write {'a' * 20}", "there is no role 'write'"),
        ("handler ingest short", "at least 20"),
        (f"ha/ndler ingest {'a' * 20}", "a name is made of"),
        (f"a read {'a' * 20}\nb read {'a' * 20}", "is there twice"),
        (f"a read {'a' * 20}\na read {'b' * 20}", "is there twice"),
    ],
)
def test_a_wrong_file_of_tokens_is_explained_without_telling_one(text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as error:
        parse_tokens(text)
    assert "aaaa" not in str(error.value)
