"""From a run's context to a report that is stored and sent."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from zoneinfo import ZoneInfo

from psycopg import Connection
from pydantic import SecretStr

from scheduler_daemon.extension import JobContext, JobResult
from scheduler_web.analytics.run import refresh
from scheduler_web.reports import activity, chart, figures, traffic
from scheduler_web.reports.delivery import Slot, deliver, store
from scheduler_web.reports.discord import DiscordError, Patience, Picture, send
from scheduler_web.reports.embeds import Embed, readable
from scheduler_web.reports.period import Moment
from scheduler_web.reports.settings import ReportsConfig

NO_WEBHOOK = "not sent: no webhook configured"


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    """A report, ready to be kept and sent. `note`: what else the run should say of it."""

    slot: Slot
    data: Mapping[str, Any]
    embed: Embed
    picture: Picture | None
    webhook: SecretStr | None
    note: str = ""


def run(ctx: JobContext, report: Literal["traffic", "activity"]) -> JobResult:
    """Compute the report, keep it, and send it once."""
    config = ctx.config
    moment = Moment(
        ctx.scheduled_for or datetime.now(UTC), ZoneInfo(config.analytics.timezone or ctx.timezone)
    )
    with ctx.sync_db() as connection:
        make = _traffic if report == "traffic" else _activity
        message = make(ctx, connection, moment)
        connection.commit()
        if ctx.parameters.dry_run:
            return _print(ctx, message)
        with ctx.step("store"):
            store(connection, message.slot, message.data)
        return _deliver(ctx, connection, message)


def _traffic(ctx: JobContext, connection: Connection[Any], moment: Moment) -> Message:
    with ctx.step("aggregate"):
        refresh(ctx, connection)
        connection.commit()
    with ctx.step("figures"):
        found = figures.read(connection, moment)
    picture, note = None, "without a chart: matplotlib is not installed (the extra charts of scheduler-web)"
    if chart.available():
        with ctx.step("chart"):
            note = f"today until {moment.local:%H:%M}"
            content = chart.draw(found.chart, note, ctx.state_dir / "matplotlib")
        picture, note = (
            Picture(name=traffic.PICTURE, content=content, description=traffic.description(found)),
            "",
        )
    return Message(
        slot=_slot(ctx, "traffic", moment, moment.period),
        data=found.data(),
        embed=traffic.embed(found, ctx.config.site.base_url, picture=picture is not None),
        picture=picture,
        webhook=ctx.config.reports.discord_webhook,
        note=note,
    )


def _activity(ctx: JobContext, connection: Connection[Any], moment: Moment) -> Message:
    settings: ReportsConfig = ctx.config.reports
    with ctx.step("figures"):
        found = activity.read(connection, moment, settings.late_after_s * 1000)
    missing = f"not there: {', '.join(found.missing)}" if found.missing else ""
    return Message(
        slot=_slot(ctx, "activity", moment, "day"),
        data=found.data(),
        embed=activity.embed(found),
        picture=None,
        webhook=settings.for_activity,
        note=missing,
    )


def _slot(ctx: JobContext, report: str, moment: Moment, period: str) -> Slot:
    planned = ctx.scheduled_for is not None
    return Slot(report=report, day=moment.today, period=period, until=moment.at, planned=planned)


def _print(ctx: JobContext, message: Message) -> JobResult:
    for line in _lines(message.embed):
        ctx.logger.info(line)
    return (
        JobResult.success()
        .with_stats(1, 0)
        .with_message(_joined("printed, not kept, not sent", message.note))
    )


def _lines(embed: Embed) -> list[str]:
    """As a terminal shows it best: without the marks that Discord makes bold letters of."""
    lines = [embed["title"], *readable(embed["description"]).split("\n")]
    for part in embed["fields"]:
        lines += [f"{part['name']}:", *(f"  {line}" for line in readable(part["value"]).split("\n"))]
    return [*lines, embed["footer"]["text"]]


def _deliver(ctx: JobContext, connection: Connection[Any], message: Message) -> JobResult:
    webhook = message.webhook
    if webhook is None:
        return JobResult.success().with_stats(1, 0).with_message(_joined("stored", NO_WEBHOOK, message.note))
    patience = Patience(give_up_after_s=ctx.config.reports.give_up_after_s, cancelled=lambda: ctx.cancelled)
    try:
        with ctx.step("send"):
            told = deliver(
                connection,
                message.slot,
                ctx.run_id,
                lambda: send(webhook, [message.embed], message.picture, patience),
                again=ctx.parameters.resend,
            )
    except DiscordError as exc:
        failure = JobResult.failure(_joined(f"stored, not sent: {exc}", message.note))
        return failure.with_stats(0, 1)
    return JobResult.success().with_stats(1, 0).with_message(_joined("stored", told, message.note))


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
