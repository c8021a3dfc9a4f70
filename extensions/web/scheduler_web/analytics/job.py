"""The job content_analytics_aggregation."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from pydantic import BaseModel, ConfigDict, Field

from scheduler_daemon.extension import Extension, Job, JobContext, JobResult

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
                f"{len(report.kept)} days keep their numbers: their events or sessions are gone ({days})"
            )
        done = report.events if report.mode != "incremental" else report.sessions
        return JobResult.success().with_stats(done, 0).with_message(summary(report))


def summary(report: Report) -> str:
    """The pass in a line or two, for the run's history."""
    if report.mode == "incremental":
        parts = [
            f"{report.sessions:,} sessions counted again: {report.views:+,} views on {report.pages:,} pages"
        ]
    else:
        scope = "all days" if report.mode == "full" else "the open days"
        parts = [f"{scope} computed anew ({report.reason}): {report.events:,} events"]
    if report.kept:
        parts.append(f"{len(report.kept):,} days kept as they were, their events are gone")
    if report.closed:
        parts.append(f"{report.closed:,} days closed")
    if report.too_late:
        parts.append(f"{report.too_late:,} events came too late for their day (-p full=true counts them)")
    if report.other:
        pages, views = report.other[0][:2]
        top = ", ".join(f"{path} {count:,}" for _, _, path, count in report.other)
        parts.append(f"in 30 days {views:,} views of {pages:,} addresses are of no content, most: {top}")
    return "; ".join(parts)


def register(extension: Extension) -> None:
    """Add the job to the extension."""
    extension.submit_job(ContentAnalyticsAggregation)
