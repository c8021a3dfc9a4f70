"""Questions that take more than a look: why, the timeline, what a reload would change."""

from __future__ import annotations

from datetime import datetime, timedelta

from scheduler_daemon.ledger.history import Row
from scheduler_daemon.operations.explain import explain
from scheduler_daemon.operations.house import House
from scheduler_daemon.operations.preview import Preview
from scheduler_daemon.operations.reports import Neighbour, ReloadPlan, Timeline, Why
from scheduler_daemon.operations.scheduler import revision_view
from scheduler_daemon.operations.timeline import timeline
from scheduler_daemon.operations.views import describe, run_view
from scheduler_daemon.operations.why import Detective


class Answers:
    def __init__(self, house: House) -> None:
        self._house = house

    async def why(self, job: str, at: str | None = None) -> Why:
        """Why the job ran, or did not, at a time (a text in its own zone), or when it was last due.

        Raises UnknownJobError, RequestError for a text that is no time.
        """
        case = await Detective(self._house).case(job, at)
        told, plan = explain(case), case.plan
        spec = plan.spec if plan else None
        return Why(
            job=job,
            asked=case.asked.text,
            moment=case.asked.start,
            instant=case.instant,
            verdict=told.verdict,
            answer=told.answer,
            evidence=told.evidence,
            advice=told.advice,
            previous=_neighbour(case.before),
            following=_neighbour(case.after),
            run=run_view(case.row) if case.row else None,
            revision=revision_view(case.stretch.at) if case.stretch.at else None,
            schedule=spec.schedule if spec else None,
            schedule_text=describe(spec.schedule) if spec else None,
            timezone=case.zone.key,
            enabled_in_file=plan.scheduler_enabled and plan.spec.enabled if plan else None,
            dst=f"gap {spec.dst.gap}, overlap {spec.dst.overlap}" if spec else None,
            now=case.now,
        )

    async def timeline(self, *, reach: timedelta, buckets: int, job: str | None = None) -> Timeline:
        """From `reach` ago to `reach` ahead. Raises UnknownJobError."""
        return await timeline(self._house, reach=reach, buckets=buckets, job=job)

    async def reload_plan(self) -> ReloadPlan:
        """What a reload would change. Raises ConfigurationError where it would be refused."""
        return await Preview(self._house).plan()


def _neighbour(found: tuple[datetime, Row | None] | None) -> Neighbour | None:
    if found is None:
        return None
    instant, row = found
    return Neighbour(
        instant=instant,
        status=row["status"] if row else None,
        run=str(row["id"]) if row else None,
    )
