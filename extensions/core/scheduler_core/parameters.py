"""What an operator may set, with units and defaults; `jobs show` prints these."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

MAX_DAYS = 36_500
MAX_HOURS = MAX_DAYS * 24


def days(default: int, description: str) -> int:
    field: int = Field(
        default, ge=1, le=MAX_DAYS, description=description, json_schema_extra={"unit": "days"}
    )
    return field


def hours(default: int, description: str) -> int:
    field: int = Field(
        default, ge=1, le=MAX_HOURS, description=description, json_schema_extra={"unit": "hours"}
    )
    return field


class Pace(BaseModel):
    """How a job goes about its rows; the same for every job that removes any."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    enforce: bool = Field(default=True, description="false: only count, and say what would have been removed")
    batch_size: int = Field(
        default=1_000,
        ge=1,
        le=100_000,
        description="rows in one transaction, about; fewer where a batch takes over 10 ms",
        json_schema_extra={"unit": "rows"},
    )
    max_rows: Annotated[int, Field(ge=1)] | None = Field(
        default=1_000_000,
        description="brake: most rows of a kind in one run, the next run carries on; null: no limit",
        json_schema_extra={"unit": "rows"},
    )
    pause_percent: int = Field(
        default=10,
        ge=0,
        le=10_000,
        description="rest after each batch, as a share of the time that it took",
        json_schema_extra={"unit": "percent"},
    )


class SessionParameters(Pace):
    idle_hours: int = hours(1, "a session without activity for longer is ended")
    retention_days: int = days(90, "a session that ended longer ago is removed")


class AnonymousUserParameters(Pace):
    retention_days: int = days(30, "an anonymous account that was created longer ago is removed")


class ContextParameters(Pace):
    retention_hours: int = hours(24, "an empty context that was created longer ago is removed")


class LogParameters(Pace):
    retention_days: int = days(30, "a line of public.logs that is older is removed")


class DatabaseParameters(Pace):
    log_retention_days: int = days(30, "a line of public.logs that is older is removed")
    expired_grace_minutes: int = Field(
        default=5,
        ge=0,
        le=MAX_DAYS * 24 * 60,
        description="an OAuth or MCP row is removed so long after it expired: others' clocks may be behind",
        json_schema_extra={"unit": "minutes"},
    )
    dead_rows: int = Field(
        default=1_000,
        ge=0,
        description="a table is vacuumed that has more dead rows, and more than dead_percent",
        json_schema_extra={"unit": "rows"},
    )
    dead_percent: int = Field(
        default=10,
        ge=0,
        le=1_000,
        description="dead rows that a table may have, as a share of its live ones",
        json_schema_extra={"unit": "percent"},
    )
    budget_minutes: int = Field(
        default=30,
        ge=1,
        le=24 * 60,
        description="what VACUUM and the rebuilding of indexes may take together; the next run carries on",
        json_schema_extra={"unit": "minutes"},
    )
    max_reindex: int = Field(
        default=3, ge=0, description="most indexes rebuilt in one run", json_schema_extra={"unit": "indexes"}
    )
    bloat_percent: int = Field(
        default=50,
        ge=10,
        le=99,
        description="an index whose pages are emptier on average is rebuilt, where there is pgstattuple",
        json_schema_extra={"unit": "percent"},
    )
