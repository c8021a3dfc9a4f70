"""Whatever a job says is bounded, storable in PostgreSQL, and says what was cut."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, SecretStr, field_validator

from scheduler_daemon.jobplane.sections import MismatchError, build, schema
from scheduler_daemon.jobplane.text import (
    FIELDS_LIMIT,
    MESSAGE_LIMIT,
    TRACEBACK_LIMIT,
    clean,
    clean_fields,
    describe,
    format_traceback,
    place,
    safe_str,
)


class Awkward:
    def __str__(self) -> str:
        raise SystemExit("no")


class NotText:
    def __str__(self) -> str:
        return 3  # type: ignore[return-value]  # the point


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for pair in value.items() for item in pair for text in strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return [value] if isinstance(value, str) else []


@given(text=st.text(st.characters(codec=None), max_size=50))
def test_any_text_becomes_storable(text: str) -> None:
    cleaned = clean(text)

    assert "\x00" not in cleaned
    cleaned.encode()


def test_what_is_cut_is_said() -> None:
    assert clean("x" * 30_000) == "x" * MESSAGE_LIMIT + "… [truncated: 30,000 characters in all]"
    assert clean("x" * MESSAGE_LIMIT) == "x" * MESSAGE_LIMIT


@pytest.mark.parametrize("value", [Awkward(), NotText()])
def test_an_object_that_cannot_be_text_is_named(value: object) -> None:
    assert safe_str(value).startswith(f"<{type(value).__name__} whose str() raised ")


@given(
    fields=st.dictionaries(
        st.text(max_size=5),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers()
            | st.floats()
            | st.text(max_size=20)
            | st.binary(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            ),
        ),
        max_size=6,
    )
)
def test_any_fields_become_json_that_postgresql_takes(fields: dict[str, Any]) -> None:
    cleaned = clean_fields(fields)

    json.dumps(cleaned, allow_nan=False)
    for text in strings(cleaned):
        assert "\x00" not in text
        text.encode()


def test_fields_are_bounded_whatever_their_depth_and_number() -> None:
    endless: list[Any] = []
    endless.append(endless)
    wide = {f"key {n}": "x" * 3_000 for n in range(100)}

    assert len(json.dumps(clean_fields(wide))) < 3 * FIELDS_LIMIT
    assert len(json.dumps(clean_fields({"deep": endless}))) < FIELDS_LIMIT


def test_an_exception_is_told_with_its_type_even_if_it_cannot_speak() -> None:
    class MuteError(Exception):
        __str__ = Awkward.__str__
        __repr__ = Awkward.__str__

    with pytest.raises(MuteError) as caught:
        raise MuteError
    assert describe(caught.value).endswith("MuteError whose str() raised SystemExit>")
    assert "raise MuteError" in format_traceback(caught.value)
    assert describe(KeyError()) == "KeyError"


def test_a_long_traceback_keeps_both_its_ends() -> None:
    with pytest.raises(ValueError, match="begins") as caught:
        raise ValueError("begins" + "x" * 100_000 + "ends")
    text = format_traceback(caught.value)
    assert len(text) < TRACEBACK_LIMIT + 1_000
    assert "Traceback" in text
    assert text.rstrip().endswith("ends")
    assert "characters left out" in text


class Model(BaseModel):
    secret: SecretStr
    times: int = 1

    @field_validator("times")
    @classmethod
    def positive(cls, value: int) -> int:
        if value < 1:
            raise ValueError("must be positive")
        return value


def test_a_mismatch_names_the_place_and_never_the_value() -> None:
    with pytest.raises(MismatchError) as caught:
        build(Model, {"secret": ["hunter2"], "times": 0})

    assert caught.value.problems == [
        (("secret",), "input should be a valid string"),
        (("times",), "value error, must be positive"),
    ]
    assert "hunter2" not in str(caught.value)


def test_without_a_model_a_section_is_a_copy_of_its_own() -> None:
    data = {"a": {"b": 1}}
    built = build(None, data)
    built["a"]["b"] = 2

    assert data == {"a": {"b": 1}}
    assert schema(None) is None


def test_a_model_that_json_cannot_describe_has_no_schema() -> None:
    class Odd(BaseModel, arbitrary_types_allowed=True):
        thing: Awkward

    assert schema(Odd) is None


def test_a_mistake_is_found_by_its_place(tmp_path: Path) -> None:
    broken = tmp_path / "broken.py"
    broken.write_text("x = 1\ny = = 2\n")
    with pytest.raises(SyntaxError) as caught:
        compile(broken.read_text(), str(broken), "exec")
    assert place(caught.value) == f"{broken}:2"
    with pytest.raises(ZeroDivisionError) as divided:
        exec(compile("\n\n1 / 0", str(broken), "exec"))  # our own text
    assert place(divided.value) == f"{broken}:3"
    assert place(ValueError("never raised")) is None
    assert "test_jobplane_text" not in format_traceback(divided.value, ours=(__file__,))
