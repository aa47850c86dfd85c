"""Settings from the environment: every kind, every refusal, and no password in what is shown."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated

import pytest
from pydantic import Field

from puzzle_common.settings import (
    Bytes,
    ConfigurationError,
    HttpUrl,
    LogLevel,
    Port,
    Seconds,
    Span,
    Words,
    list_settings,
    read_settings,
    without_passwords,
)


@dataclass(frozen=True, slots=True)
class Example:
    """One of each kind."""

    name: str = "plain"
    url: HttpUrl = ""
    port: Port = 80
    many: Annotated[int, Field(ge=10)] = 10
    level: LogLevel = "info"
    wait: Span = timedelta(days=90)
    pause: Seconds = 1.5
    memory: Bytes = 0
    words: Words = ()


def read(**given: str) -> Example:
    return read_settings(Example, "EX_", {f"EX_{field.upper()}": text for field, text in given.items()})


def test_nothing_is_the_defaults_and_blank_is_nothing() -> None:
    assert read() == Example() == read(port=" ", name="", wait="\n")
    assert read_settings(Example, "EX_", {"ex_port": "1", "PORT": "1", "OTHER": "x"}) == Example()


def test_every_kind_is_read() -> None:
    found = read(
        name="1", url="https://a.b:1/c", port=" 0 ", many="12", level="error", wait="1h30m", pause="2m", memory="1.5Gi"
    )
    assert found == Example("1", "https://a.b:1/c", 0, 12, "error", timedelta(minutes=90), 120.0, 3 << 29)
    assert read(pause="0.5").pause == 0.5 and read(words="lyon, metz,").words == ("lyon", "metz")


@pytest.mark.parametrize(
    ("field", "value", "fix"),
    [
        ("port", "http", "it must be a whole number"),
        ("port", "1.5", "it must be a whole number"),
        ("port", "70000", "it must be at most 65535"),
        ("port", "-1", "it must be at least 0"),
        ("many", "9", "it must be at least 10"),
        ("level", "INFO", "it must be debug, info, warning or error"),
        ("wait", "90", "it must be a number and a unit, above zero, such as 30s, 15m or 90d"),
        ("wait", "0s", "it must be a number and a unit, above zero, such as 30s, 15m or 90d"),
        ("pause", "0", "it must be a number of seconds above 0, or such as 10s"),
        ("pause", "nan", "it must be a number of seconds above 0, or such as 10s"),
        ("memory", "much", "it must be a number of bytes such as 512Mi"),
        ("url", "monitor:8090", "write http://… or https://…"),
        ("url", "http://[", "write http://… or https://…"),
    ],
)
def test_a_refusal_names_the_variable_the_value_and_the_fix(field: str, value: str, fix: str) -> None:
    with pytest.raises(ConfigurationError) as found:
        read(**{field: value})
    assert str(found.value) == f"EX_{field.upper()} is '{value}': {fix}"


def test_every_variable_is_listed_with_its_value() -> None:
    environment = {"EX_WAIT": "0.5s", "EX_WORDS": "a,b", "EX_NAME": " "}
    assert list_settings(read_settings(Example, "EX_", environment), "EX_", environment).splitlines() == [
        "EX_NAME    plain  (default)",
        "EX_URL       (default)",
        "EX_PORT    80  (default)",
        "EX_MANY    10  (default)",
        "EX_LEVEL   info  (default)",
        "EX_WAIT    0.5s",
        "EX_PAUSE   1.5  (default)",
        "EX_MEMORY  0  (default)",
        "EX_WORDS   a,b",
    ]
    assert "EX_WAIT    90d  (default)" in list_settings(Example(), "EX_", {})


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("postgresql://u:secret@h/x", "postgresql://u:***@h/x"),
        ("postgresql://u:se/cr@et@h/x", "postgresql://u:***@h/x"),
        ("postgresql://h/x?user=u&password=secret&a=b", "postgresql://h/x?user=u&password=***&a=b"),
        ("http://:secret@h", "http://:***@h"),
        ("ftp://u:secret@h", "ftp://u:***@h"),
        ("sqlite:////var/lib/a@b:c.db", "sqlite:////var/lib/a@b:c.db"),
        ("http://h:80/a", "http://h:80/a"),
    ],
)
def test_passwords_are_shown_neither_in_lists_nor_in_refusals(address: str, shown: str) -> None:
    assert without_passwords(address) == shown
    assert f"EX_NAME    {shown}\n" in list_settings(Example(name=address), "EX_", {"EX_NAME": address})
    if not address.startswith("http"):
        with pytest.raises(ConfigurationError) as found:
            read(url=address)
        assert "secret" not in str(found.value)
