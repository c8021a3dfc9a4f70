"""Synthetic traffic that has what real traffic has; the same plan gives the same traffic.

Sessions with a daily and a weekly rhythm, visitors who come back, contents of very unequal success, robots
(flagged, or known by their agent alone), events that arrive days late or twice, addresses in every odd
spelling, times on page that are absurd.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

_KIT = "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{v}.5"
_CHROME = "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0"
AGENTS = (
    (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {_CHROME} Safari/537.36", "desktop", "Chrome", "Windows"),
    (
        f"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) {_KIT} Safari/604.1",
        "mobile",
        "Safari",
        "iOS",
    ),
    (
        f"Mozilla/5.0 (Linux; Android 15; Pixel 9) {_CHROME} Mobile Safari/537.36",
        "mobile",
        "Chrome",
        "Android",
    ),
    (f"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) {_KIT} Safari/605.1.15", "desktop", "Safari", "macOS"),
    ("Mozilla/5.0 (X11; Linux x86_64; rv:{v}.0) Gecko/20100101 Firefox/{v}.0", "desktop", "Firefox", "Linux"),
    (f"Mozilla/5.0 (iPad; CPU OS 18_5 like Mac OS X) {_KIT} Safari/604.1", "tablet", "Safari", "iPadOS"),
)
AGENT_WEIGHTS = (38, 62, 80, 90, 97, 100)
ROBOTS = (
    ("Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "is_bot"),
    ("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)", "is_bot"),
    ("Mozilla/5.0 (compatible; GPTBot/1.2; +https://openai.com/gptbot)", "is_ai_crawler"),
    ("Mozilla/5.0 (compatible; ClaudeBot/1.0; +claudebot@anthropic.com)", "is_ai_crawler"),
    ("Mozilla/5.0 (compatible; CensysInspect/1.1; +https://about.censys.io/)", "is_scanner"),
    (f"Mozilla/5.0 (X11; Linux x86_64) {_CHROME.format(v=120)} Safari/537.36", "is_behavioral_bot"),
    ("Mozilla/5.0 (compatible; AhrefsBot/7.0; +http://ahrefs.com/robot/)", ""),
    ("python-requests/2.32.3", ""),
    ("meta-externalagent/1.1", ""),
)
FLAGS = ("is_bot", "is_ai_crawler", "is_scanner", "is_behavioral_bot")
COUNTRIES = ("US", "DE", "GB", "IN", "FR", "CH", "NL", "BR", "CA", "PL", "ES", "JP")
COUNTRY_WEIGHTS = (31, 45, 54, 63, 69, 73, 77, 81, 85, 88, 91, 93)
SOURCES = (
    "",
    "google",
    "bing",
    "duckduckgo",
    "news.ycombinator.com",
    "linkedin",
    "newsletter",
    "chatgpt.com",
)
SOURCE_WEIGHTS = (34, 67, 71, 76, 82, 88, 94, 97)
WORDS = (
    "cron", "queue", "ledger", "socket", "worker", "schema", "index", "vacuum", "replica", "backup", "deploy",
    "canary", "metric", "trace", "budget", "cache", "shard", "stream", "parser", "token", "policy", "signal",
    "thread", "kernel", "buffer", "packet", "router", "mirror", "bundle", "module", "plugin", "theme",
)  # fmt: skip
HOURS = (2, 3, 4, 5, 6, 8, 11, 17, 26, 37, 49, 60, 70, 81, 93, 104, 114, 123, 131, 139, 148, 156, 162, 166)
"""How busy the hours of a day are, added up; so are all weights here."""
WEEKDAYS = (1.06, 1.12, 1.14, 1.10, 0.98, 0.66, 0.70)
SESSION_COLUMNS = (
    "session_id", "started_at", "last_activity_at", "request_count", "user_agent", "device_type", "browser",
    "os", "country", "referrer_source", "landing_page", "utm_source",
    "fingerprint_hash", *FLAGS, "session_source",
)  # fmt: skip
EVENT_COLUMNS = (
    "id", "session_id", "user_id", "page_url", "content_id", "event_type", "time_on_page_ms",
    "max_scroll_depth", "click_count", "created_at", "updated_at",
)  # fmt: skip
HOST = "https://example.com"


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """How much traffic: `events` in all, over the `days` that end at `until` (aware)."""

    days: int = 60
    events: int = 100_000
    contents: int = 200
    seed: int = 1
    until: datetime


@dataclass(frozen=True, slots=True)
class Content:
    id: str
    slug: str
    locale: str
    title: str
    source: str

    @property
    def path(self) -> str:
        prefix = "" if self.locale == "en" else f"/{self.locale}"
        return f"{prefix}/{self.source}/{self.slug}/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Visit:
    """A session: its row, and its views (page path, content id or "", milliseconds, when)."""

    row: tuple[Any, ...]
    views: tuple[tuple[str, str, int, datetime], ...]


class Traffic:
    """One reproducible stream of visits."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.random = random.Random(plan.seed)  # noqa: S311  # a reproducible stream, not a secret
        self.contents = [self._content(number) for number in range(plan.contents)]
        ranks = list(range(plan.contents))
        self.random.shuffle(ranks)
        self._popularity = list(itertools.accumulate(1 / (rank + 6) ** 0.85 for rank in ranks))
        self._known: list[str] = []

    def _identifier(self) -> str:
        digits = f"{self.random.getrandbits(128):032x}"
        return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"

    def _content(self, number: int) -> Content:
        words = self.random.sample(WORDS, 3)
        locale = "de" if number % 20 == 19 else "en"
        source = ("blog", "blog", "docs", "guides")[number % 4]
        return Content(
            self._identifier(), f"{'-'.join(words)}-{number}", locale, " ".join(words).capitalize(), source
        )

    def visits(self) -> Iterator[Visit]:
        """Every session, day by day, until the planned number of events is reached."""
        first = self.plan.until - timedelta(days=self.plan.days)
        days = [first + timedelta(days=n) for n in range(self.plan.days)]
        weights = [WEEKDAYS[day.weekday()] * (1 + 0.006 * n) for n, day in enumerate(days)]
        total, due, done = sum(weights), 0.0, 0
        for day, weight in zip(days, weights, strict=True):
            due += self.plan.events * weight / total
            while done < round(due):
                visit = self.visit(self._moment(day), round(due) - done)
                done += len(visit.views)
                yield visit

    def _moment(self, day: datetime) -> datetime:
        """A moment in the 24 hours from `day`, more likely at busy hours."""
        hour = self.random.choices(range(24), cum_weights=HOURS)[0]
        midnight = day.replace(hour=0, minute=0, second=0, microsecond=0)
        moment = midnight + timedelta(hours=hour, milliseconds=self.random.randrange(3_600_000))
        return moment if moment >= day else moment + timedelta(days=1)

    def visit(self, start: datetime, most: int) -> Visit:
        """One session from `start` on, with at most `most` views."""
        robot = self.random.random() < 0.09
        length = self.random.randint(1, 12) if robot else 1 + int(self.random.expovariate(0.62))
        views, moment = [], start
        for _ in range(max(1, min(length, most, 40))):
            path, content = self._page()
            spent = self._spent(robot)
            moment = min(moment + timedelta(milliseconds=max(400, min(spent, 900_000))), self.plan.until)
            views.append((path, content, spent, moment))
        return Visit(row=self._session(start, moment, len(views), robot, views[0][0]), views=tuple(views))

    def _page(self) -> tuple[str, str]:
        if self.random.random() < 0.12:
            return self.random.choice(
                ("/", "/blog/", "/docs/", "/about/", "/tags/cron/", "/no-such-page")
            ), ""
        content = self.random.choices(self.contents, cum_weights=self._popularity)[0]
        return content.path, content.id

    def _spent(self, robot: bool) -> int:
        """Milliseconds on the page, with the absurd ones that real beacons send."""
        chance = self.random.random()
        if chance < 0.18 or robot:
            return 0
        if chance < 0.182:
            return self.random.choice((-1500, 36_000_000, 2_000_000_000))
        return int(1000 * math.exp(self.random.gauss(3.6, 1.1)))

    def _session(
        self, start: datetime, end: datetime, views: int, robot: bool, landing: str
    ) -> tuple[Any, ...]:
        template, device, browser, system = self.random.choices(AGENTS, cum_weights=AGENT_WEIGHTS)[0]
        agent, flag = template.replace("{v}", str(self.random.randint(128, 146))), ""
        if robot:
            agent, flag = self.random.choice(ROBOTS)
        country = self.random.choices(COUNTRIES, cum_weights=COUNTRY_WEIGHTS)[0]
        source = self.random.choices(SOURCES, cum_weights=SOURCE_WEIGHTS)[0]
        campaign = source if source == "newsletter" else None
        flags = tuple(flag == name for name in FLAGS)
        return (
            self._identifier(), start, end, views, agent, device, browser, system, country, source or None,
            landing, campaign, None if robot else self._fingerprint(), *flags, "web",
        )  # fmt: skip

    def _fingerprint(self) -> str | None:
        """A visitor: of 100, 12 hide their fingerprint, 28 have been here before."""
        chance = self.random.random()
        if chance < 0.12:
            return None
        if chance < 0.40 and self._known:
            return self.random.choice(self._known)
        self._known.append(f"{self.random.getrandbits(128):032x}")
        return self._known[-1]

    def events(self, visit: Visit) -> Iterator[tuple[datetime, tuple[Any, ...]]]:
        """(arrival, row) of each event of a visit; some arrive late, some twice under another id."""
        for path, content, spent, moment in visit.views:
            known = content if self.random.random() < 0.7 else None
            row = (
                visit.row[0], "anonymous", self._spelled(path), known or None, "page_exit", spent,
                self.random.randint(0, 100), self.random.randint(0, 4), moment, moment,
            )  # fmt: skip
            chance = self.random.random()
            late = chance < 0.015
            yield moment + timedelta(days=7 * self.random.random() if late else 0), (self._identifier(), *row)
            if chance > 0.995:
                yield moment, (self._identifier(), *row)

    def _spelled(self, path: str) -> str:
        chance = self.random.random()
        if chance < 0.72:
            return HOST + path
        if chance < 0.84:
            return f"{HOST}{path}?utm_source=mail&fbclid={self.random.getrandbits(40):x}"
        odd = (
            HOST + path.rstrip("/"),
            f"{HOST}{path}#part-2",
            f"{HOST}{path}index.html",
            f"HTTPS://WWW.Example.com{path}",
            f"{HOST}/en{path}",
            path,
            HOST + path.replace("-", "%2D", 1),
            HOST + quote(path).replace("/", "//", 1),
        )
        return self.random.choice(odd)
