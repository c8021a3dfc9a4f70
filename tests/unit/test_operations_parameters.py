"""Parameters by hand, against the schema of a job's model."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Any, Literal

import pytest
from pydantic import BaseModel, Field, SecretStr

from scheduler_daemon.errors import InvalidParametersError
from scheduler_daemon.operations.parameters import checked, hidden, masked


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Account(BaseModel):
    user: str
    password: SecretStr


class Model(BaseModel):
    number: int = Field(default=1, ge=0, le=10)
    share: float = 0.5
    on: bool = False
    name: str = ""
    maybe: int | None = None
    kind: Literal["a", "b"] = "a"
    colour: Colour = Colour.RED
    many: list[int] = []
    table: dict[str, int] = {}
    wait: timedelta = timedelta(0)
    token: SecretStr | None = None
    accounts: list[Account] = []


SCHEMA: dict[str, Any] = Model.model_json_schema()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("number", "3", 3), ("share", "0.25", 0.25), ("share", "1", 1), ("on", "yes", True),
        ("on", "false", False), ("name", "3", "3"), ("maybe", "4", 4), ("maybe", "null", None),
        ("kind", "b", "b"), ("colour", "blue", "blue"), ("many", "[1, 2]", [1, 2]),
        ("table", '{"a": 1}', {"a": 1}), ("wait", "PT5S", "PT5S"),
    ],
)  # fmt: skip
def test_texts_are_read_as_the_model_wants_them(name: str, text: str, value: Any) -> None:
    assert checked("job", {name: text}, SCHEMA) == {name: value}
    Model.model_validate({name: value})


@pytest.mark.parametrize(
    ("given", "mistake"),
    [
        ({"numbr": 1}, 'has no parameter "numbr"; did you mean number?'),
        ({"number": "three"}, 'number: "three" is not an integer'),
        ({"number": 1.5}, "number: 1.5 is not an integer"),
        ({"number": 11}, "number: 11 is more than 10"),
        ({"number": -1}, "number: -1 is less than 0"),
        ({"number": True}, "number: true is not an integer"),
        ({"on": "perhaps"}, 'on: "perhaps" is not a boolean'),
        ({"kind": "c"}, 'kind: "c" is not one of a, b'),
        ({"colour": "green"}, 'colour: "green" is not one of red, blue'),
        ({"many": "1"}, "many: 1 is not an array"),
    ],
)
def test_mistakes_are_named(given: dict[str, Any], mistake: str) -> None:
    with pytest.raises(InvalidParametersError) as caught:
        checked("job", given, SCHEMA)
    assert mistake in str(caught.value)


def test_all_mistakes_at_once_and_none_without_a_model() -> None:
    with pytest.raises(InvalidParametersError, match=r"on: .*; kind: "):
        checked("job", {"on": "x", "kind": "x"}, SCHEMA)
    assert checked("job", {"anything": "goes"}, None) == {"anything": "goes"}
    assert checked("job", {"more": 1}, {"properties": {}, "additionalProperties": True}) == {"more": 1}


def test_secrets_are_masked_wherever_the_model_has_them() -> None:
    given = {"token": "x", "accounts": [{"user": "u", "password": "p"}], "name": "n"}
    assert masked(given, SCHEMA) == {"token": "***", "accounts": "***", "name": "n"}
    assert hidden({"a": 1}) == {"a": "***"}
