"""A model of parameters, told in words."""

from __future__ import annotations

from datetime import date
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import BaseModel, Field, SecretStr, TypeAdapter

from scheduler_daemon.cli.parameters import rows


class Mood(StrEnum):
    CALM = "calm"
    WILD = "wild"


class Place(BaseModel):
    city: str


class Wish(BaseModel):
    who: str = Field(min_length=1, description="Whom\n to greet")
    times: int = Field(default=1, ge=1, le=100)
    share: Annotated[float, Field(gt=0, lt=1)] | None = None
    mood: Mood = Mood.CALM
    tone: Literal["soft", "loud"] = "soft"
    on: list[date] = []
    where: Place | None = None
    token: SecretStr = SecretStr("hush")
    extra: dict[str, int] = {}


def test_every_parameter_has_its_kind_default_and_meaning() -> None:
    assert list(rows(TypeAdapter(Wish).json_schema())) == [
        ("who", "string, length ≥ 1", "required", "Whom to greet"),
        ("times", "integer, ≥ 1, ≤ 100", "1", ""),
        ("share", "number, > 0, < 1 or null", "null", ""),
        ("mood", "calm | wild", '"calm"', ""),
        ("tone", "soft | loud", '"soft"', ""),
        ("on", "list of date", "[]", ""),
        ("where", "object or null", "null", ""),
        ("token", "password", "***", ""),
        ("extra", "object", "{}", ""),
    ]


def test_without_a_model_there_is_nothing_to_tell() -> None:
    assert list(rows(None)) == []
    assert list(rows({"type": "object"})) == []
