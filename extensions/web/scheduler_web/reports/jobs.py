"""The jobs daily_traffic_report and daily_activity_summary."""

from __future__ import annotations

from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from scheduler_daemon.extension import Extension, Job, JobContext, JobResult


class ReportParameters(BaseModel):
    """`dry_run`: print it, keep and send nothing. `resend`: although it was, or may have been, sent."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    dry_run: bool = Field(default=False, description="print the report; keep and send nothing")
    resend: bool = Field(default=False, description="send it even if it was sent already")


class _ReportJob(Job):
    parameters: ClassVar[type | None] = ReportParameters

    def execute(self, ctx: JobContext) -> JobResult:
        from scheduler_web.reports.run import run  # psycopg, requests: only once a run needs them

        return run(ctx, self._report)

    _report: ClassVar[Any]


class DailyTrafficReport(_ReportJob):
    name = "daily_traffic_report"
    description = "Compiles the traffic of the day so far and posts it to Discord"
    schedule = "0 0 7,19 * * *"
    _report = "traffic"


class DailyActivitySummary(_ReportJob):
    name = "daily_activity_summary"
    description = "Sums up what happened across all services in 24 hours and posts it to Discord"
    schedule = "0 0 18 * * *"
    _report = "activity"


def register(extension: Extension) -> None:
    """Add both jobs to the extension."""
    extension.submit_job(DailyTrafficReport)
    extension.submit_job(DailyActivitySummary)
