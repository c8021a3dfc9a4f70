"""The job content_analytics_aggregation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from scheduler_daemon.extension import Extension, Job, JobContext, JobResult
from scheduler_web.wording import several

if TYPE_CHECKING:
    from scheduler_web.analytics.passes import Report


class AggregationParameters(BaseModel):
    """`full`: compute every day anew from the events, instead of what changed since the last pass."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    full: bool = Field(default=False, description="compute every day anew from the events")


class ContentAnalyticsAggregation(Job):
    name = "content_analytics_aggregation"
    description = "Counts page views, unique visitors and time on page per content and day"
    schedule = "0 */15 * * * *"
    parameters: ClassVar[type | None] = AggregationParameters

    def execute(self, ctx: JobContext) -> JobResult:
        from scheduler_web.analytics.run import run  # psycopg and the rest: only once a run needs them

        report = run(ctx)
        for line in report.missing:
            ctx.logger.warning(f"not there: {line}")
        if report.kept:
            days = f"{report.kept[0]} to {report.kept[-1]}"
            ctx.logger.info(
                f"{several(len(report.kept), 'day')} kept as before: events or sessions are gone ({days})"
            )
        done = report.events if report.mode != "incremental" else report.sessions
        return JobResult.success().with_stats(done, 0).with_message(summary(report))


def summary(report: Report) -> str:
    """The pass in a line or two, for the run's history."""
    if report.mode != "incremental":
        scope = "all days" if report.mode == "full" else "the open days"
        parts = [f"{scope} computed anew ({report.reason}): {several(report.events, 'event')}"]
    elif report.sessions:
        views = several(report.views, "view", sign=True)
        parts = [
            f"{several(report.sessions, 'session')} counted again: {views} of {several(report.pages, 'page')}"
        ]
    else:
        parts = ["nothing new"]
    if report.kept:
        parts.append(f"{several(len(report.kept), 'day')} kept as before: their events are gone")
    if report.closed:
        parts.append(f"{several(report.closed, 'day')} closed")
    if report.too_late:
        late = several(report.too_late, "event")
        parts.append(f"{late} came too late to correct a closed day (-p full=true counts all)")
    if report.other:
        pages, seen = report.other[0][:2]
        top = ", ".join(f"{path} {count:,}" for _, _, path, count in report.other)
        parts.append(
            f"of no content in 30 days: {several(seen, 'view')} of "
            f"{several(pages, 'address', 'addresses')}, most of {top}"
        )
    return "; ".join(parts)


def register(extension: Extension) -> None:
    """Add the job to the extension."""
    extension.submit_job(ContentAnalyticsAggregation)
