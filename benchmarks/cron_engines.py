"""What one `next` and one parse cost: our cron engine beside CronSim, croniter, APScheduler and cronexpr.

    python3 -m venv /tmp/cron-peers && /tmp/cron-peers/bin/pip install -r benchmarks/requirements-cron.txt
    /tmp/cron-peers/bin/python benchmarks/cron_engines.py [--calls N] [--check]

One process; the garbage collector is off; engines take turns, in ten rounds for each expression.
`next`: every engine walks the same chain of instants from the same moment, each call is timed, the median
counts. `parse`: the median of as many constructions. CronSim is an iterator over one parsed expression, which
is its best case; cronexpr parses again at every call and knows UTC only. Prints a Markdown table; with
--check, exit code 1 if a bar of the design is missed.
"""

from __future__ import annotations

import argparse
import gc
import os
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, tzinfo
from functools import partial
from importlib.metadata import version
from pathlib import Path
from statistics import median
from time import perf_counter_ns, process_time
from zoneinfo import ZoneInfo

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import cronexpr  # type: ignore[import-not-found]  # peers live in a throw-away environment
from apscheduler.triggers.cron import CronTrigger
from croniter import croniter  # type: ignore[import-untyped]  # likewise
from cronsim import CronSim

from scheduler_daemon.cron import CronExpression

EXPRESSIONS = (
    "* * * * * *",
    "0 */15 * * * *",
    "0 0 7,19 * * *",
    "0 0 3 * * *",
    "0 0 0 * * 0",
    "0 0 0 1 * *",
    "0 0 0 29 2 *",
)
ZONES: dict[str, tzinfo] = {"America/New_York": ZoneInfo("America/New_York"), "UTC": UTC}
START = datetime(2026, 1, 15, 12, 34, 56, tzinfo=UTC)
ROUNDS = 10
NEXT_BAR_US, LEAP_BAR_US, PARSE_BAR_US, RATE_BAR = 6.0, 20.0, 40.0, 100_000

Step = Callable[[datetime], datetime]
Engine = Callable[[str, tzinfo], Step]


def ours(expression: str, zone: tzinfo) -> Step:
    parsed = CronExpression.parse(expression)
    return lambda moment: parsed.next_after(moment, zone) or START


def cronsim(expression: str, zone: tzinfo) -> Step:
    steps = CronSim(expression, START.astimezone(zone))
    return lambda _: next(steps)


def croniter_(expression: str, zone: tzinfo) -> Step:
    steps = croniter(_seconds_last(expression), START.astimezone(zone), ret_type=datetime)
    return lambda _: steps.get_next()


def apscheduler(expression: str, zone: tzinfo) -> Step:
    trigger = _apscheduler_trigger(expression, zone)
    return lambda moment: trigger.get_next_fire_time(moment, moment)


def cronexpr_(expression: str, zone: tzinfo) -> Step:
    if zone is not UTC:
        raise NotImplementedError("cronexpr knows UTC only")
    return lambda moment: cronexpr.next_fire(expression, moment)


def _seconds_last(expression: str) -> str:
    second, rest = expression.split(" ", 1)
    return f"{rest} {second}"


def _apscheduler_trigger(expression: str, zone: tzinfo) -> CronTrigger:
    second, minute, hour, day, month, weekday = expression.split()
    return CronTrigger(
        second=second,
        minute=minute,
        hour=hour,
        day=day,
        month=month,
        day_of_week="sun" if weekday == "0" else weekday,
        timezone=zone,
    )


NEXT: dict[str, Engine] = {
    "ours": ours,
    "CronSim": cronsim,
    "croniter": croniter_,
    "APScheduler": apscheduler,
    "cronexpr": cronexpr_,
}
PARSE: dict[str, Callable[[str], object]] = {
    "ours": CronExpression.parse,
    "CronSim": lambda expression: CronSim(expression, START),
    "croniter": lambda expression: croniter(_seconds_last(expression), START),
    "APScheduler": lambda expression: _apscheduler_trigger(expression, UTC),
}


def walk(engine: Engine, expression: str, zone: tzinfo, calls: int) -> list[int]:
    """The ns of each step. The chain starts anew before it would leave the 21st century."""
    step, moment, costs = engine(expression, zone), START, []
    for _ in range(calls):
        begin = perf_counter_ns()
        moment = step(moment)
        costs.append(perf_counter_ns() - begin)
        if moment.year > 2080:
            step, moment = engine(expression, zone), START
    return costs


def construct(parse: Callable[[str], object], expression: str, calls: int) -> list[int]:
    costs = []
    for _ in range(calls):
        begin = perf_counter_ns()
        parse(expression)
        costs.append(perf_counter_ns() - begin)
    return costs


def in_turns(measures: Mapping[str, Callable[[int], list[int]]], calls: int) -> dict[str, float]:
    """The median µs of each measure; they take turns, so that a busy moment of the machine hits all alike."""
    costs: dict[str, list[int]] = {name: [] for name in measures}
    for _ in range(ROUNDS):
        for name, measure in measures.items():
            costs[name] += measure(calls // ROUNDS)
    return {name: median(each) / 1000 for name, each in costs.items()}


def rows(calls: int) -> Iterator[tuple[str, str, dict[str, float]]]:
    for zone_name, zone in ZONES.items():
        for expression in EXPRESSIONS:
            engines = {name: engine for name, engine in NEXT.items() if name != "cronexpr" or zone is UTC}
            measures = {name: partial(walk, engine, expression, zone) for name, engine in engines.items()}
            yield f"next, {zone_name}", expression, in_turns(measures, calls)
    for expression in EXPRESSIONS:
        measures = {name: partial(construct, parse, expression) for name, parse in PARSE.items()}
        yield "parse", expression, in_turns(measures, calls)


def a_second() -> float:
    """How many instants `between` yields in a second of processor time, over three years of quarters."""
    expression, zone = CronExpression.parse("0 */15 * * * *"), ZONES["America/New_York"]
    begin = process_time()
    instants = sum(1 for _ in expression.between(START, START.replace(year=START.year + 3), zone))
    return instants / (process_time() - begin)


def missed(group: str, expression: str, costs: dict[str, float]) -> list[str]:
    """Which of the design's bars this row misses."""
    bar = PARSE_BAR_US if group == "parse" else LEAP_BAR_US if "29 2" in expression else NEXT_BAR_US
    wrong = [f"{group} of {expression}: {costs['ours']:.1f} µs, bar {bar:.0f}"] if costs["ours"] > bar else []
    if group == "parse":
        return wrong
    return wrong + [
        f"{group} of {expression}: slower than {name}" for name, cost in costs.items() if cost < costs["ours"]
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description="Cost of one next and one parse, ours beside four others.")
    parser.add_argument("--calls", type=int, default=3000, help="calls per engine, expression and zone")
    parser.add_argument("--check", action="store_true", help="exit 1 if a bar is missed")
    options = parser.parse_args()
    packages = {
        "CronSim": "cronsim",
        "croniter": "croniter",
        "APScheduler": "apscheduler",
        "cronexpr": "cronexpr",
    }
    peers = ", ".join(f"{name} {version(package)}" for name, package in packages.items())
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores; {peers}; median µs (times ours)\n")
    print("| | expression |", " | ".join(NEXT), "|")
    print("|---|---|" + "---|" * len(NEXT))
    wrong: list[str] = []
    gc.disable()
    for group, expression, costs in rows(options.calls):
        cells = (
            f"{costs[name]:.1f}" + ("" if name == "ours" else f" (×{costs[name] / costs['ours']:.1f})")
            if name in costs
            else "–"
            for name in NEXT
        )
        print(f"| {group} | `{expression}` |", " | ".join(cells), "|", flush=True)
        wrong += missed(group, expression, costs)
    rate = a_second()
    print(f"\n`between`, `0 */15 * * * *` in New York: {rate:,.0f} instants a second")
    if rate < RATE_BAR:
        wrong.append(f"{rate:,.0f} instants a second, bar {RATE_BAR:,}")
    for line in wrong:
        print(f"missed: {line}", file=sys.stderr)
    return 1 if options.check and wrong else 0


if __name__ == "__main__":
    sys.exit(main())
