"""What is said about a schedule: its description, and the warnings of the configuration check."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler_daemon.cron import CronError, CronExpression, lint
from scheduler_daemon.model import DstGap, DstOverlap, DstPolicy

NOW = datetime(2026, 11, 22, tzinfo=UTC)
NEW_YORK = ZoneInfo("America/New_York")


@pytest.mark.parametrize(
    ("text", "english"),
    [
        ("0 0 * * * *", "Every hour at :00"),
        ("0 */15 * * * *", "Every 15 minutes"),
        ("0 */30 * * * *", "Every 30 minutes"),
        ("0 0 3 * * *", "At 03:00, every day"),
        ("0 0 7,19 * * *", "At 07:00 and 19:00, every day"),
        ("0 0 18 * * *", "At 18:00, every day"),
        ("0 0 0 * * 0", "At 00:00, every Sunday"),
        ("0 0 0 1 * *", "At 00:00, on the 1st of the month"),
        ("* * * * * *", "Every second"),
        ("*/10 * * * * *", "Every 10 seconds"),
        ("0 * * * * *", "Every minute"),
        ("30 */5 * * * *", "Every 5 minutes, at second 30"),
        ("30 15 3 * * *", "At 03:15:30, every day"),
        ("0 */7 * * * *", "Every 7 minutes from :00 to :56 of every hour"),
        ("0 0-29 * * * *", "Every minute from :00 to :29 of every hour"),
        ("0 5,35 * * * *", "Every hour at :05 and :35"),
        ("0 5,35 9-17 * * *", "Every hour from 09:00 to 17:59 at :05 and :35, every day"),
        ("0 */15 9-17 * * MON-FRI", "Every 15 minutes from 09:00 to 17:45, Monday to Friday"),
        ("0 0 9-17 * * *", "Every hour from 09:00 to 17:00, every day"),
        ("0 30 */2 * * *", "Every 2 hours from 00:30 to 22:30, every day"),
        ("0 * 7,19 * * *", "Every minute of the hours 7 and 19, every day"),
        ("* 0,30 * * * *", "Every second of minutes :00 and :30 of every hour"),
        ("* * 9 * * *", "Every second from 09:00 to 09:59, every day"),
        ("0 0 0 1,15 * *", "At 00:00, on the 1st and 15th of the month"),
        ("0 0 0 29 2 *", "At 00:00, on the 29th of February"),
        ("0 0 0 31 2 *", "At 00:00, on the 31st of February (never)"),
        ("0 0 0 1 1,4,7,10 *", "At 00:00, on the 1st of January, April, July and October"),
        ("0 0 0 L * *", "At 00:00, on the last day of the month"),
        ("0 0 0 15W * *", "At 00:00, on the working day nearest to the 15th of the month"),
        ("0 0 0 */2 * *", "At 00:00, every 2nd day from the 1st to the 31st of the month"),
        ("0 0 0 2-10 * *", "At 00:00, every day from the 2nd to the 10th of the month"),
        ("0 0 0 * * 1,3,5", "At 00:00, every Monday, Wednesday and Friday"),
        ("0 0 0 * * 5-7", "At 00:00, every Friday to Sunday"),
        ("0 0 0 * * SAT,SUN", "At 00:00, every Saturday and Sunday"),
        ("0 0 0 * * FRI#2", "At 00:00, on the second Friday of the month"),
        ("0 0 0 * * 5L", "At 00:00, on the last Friday of the month"),
        ("0 0 0 * * 1,5L", "At 00:00, every Monday and on the last Friday of the month"),
        ("0 0 0 * 2 SUN#2", "At 00:00, on the second Sunday of February"),
        ("0 0 0 * 6-8 *", "At 00:00, every day in June, July and August"),
        ("0 */5 * * 5-9 *", "Every 5 minutes, in May to September"),
        ("0 0 0 13 * FRI", "At 00:00, on the 13th of the month, and also every Friday"),
        ("0 0 0 13 * +FRI", "At 00:00, on the 13th of the month, if that is a Friday"),
        ("0 0 0 1-31 * MON", "At 00:00, every day"),
        ("0 0 3 * * * 2030", "At 03:00, every day, in 2030"),
        ("0 0 3 * * * 2026-2030", "At 03:00, every day, from 2026 to 2030"),
        ("@yearly", "At 00:00, on the 1st of January"),
        ("@reboot", "When the daemon starts"),
    ],
)
def test_the_description(text: str, english: str) -> None:
    assert CronExpression.parse(text).describe() == english


WORDS = ("*/2", "0", "7", "1-5", "3,9", "L", "15W", "5L", "2#3", "?", "JAN", "fri", "+1", "2030", "1,2,5,11")


@given(st.lists(st.sampled_from(WORDS), min_size=6, max_size=7))
def test_whatever_parses_has_a_description_of_one_line(words: list[str]) -> None:
    try:
        expression = CronExpression.parse(" ".join(words))
    except CronError:
        return
    english = expression.describe()
    assert english[0].isupper()
    assert "\n" not in english
    assert "  " not in english


def warnings(text: str, zone: ZoneInfo = NEW_YORK, **policy: DstGap | DstOverlap) -> tuple[str, ...]:
    return lint(CronExpression.parse(text), zone, DstPolicy(**policy), NOW)  # type: ignore[arg-type]  # two enums


def test_nothing_is_said_of_a_plain_schedule() -> None:
    for text in ("0 0 3 * * *", "0 */15 * * * *", "0 0 * * * *", "0 0 0 1 * +MON", "@daily"):
        assert warnings(text) == ()
    assert warnings("0 30 2 * * *", ZoneInfo("UTC")) == ()


def test_a_schedule_that_never_fires() -> None:
    assert warnings("0 0 0 31 2 *") == ("never fires: no date from 1970 to 2199 matches",)
    assert warnings("0 0 0 1 1 * 2020") == (
        "never fires again: the last instant was 2020-01-01 05:00:00 UTC",
    )


def test_a_schedule_whose_only_time_is_in_a_gap() -> None:
    assert warnings("0 30 2 14 3 * 2027", gap=DstGap.SKIP) == (
        "never fires: America/New_York's clock jumps over the only time that matches",
    )


def test_both_day_fields_restricted() -> None:
    (warning,) = warnings("0 0 12 13 * FRI")
    assert "matches the day of month or the day of week" in warning
    assert '"0 0 12 13 * +5"' in warning
    assert CronExpression.parse("0 0 12 13 * +5") == CronExpression.parse("0 0 12 13 * +FRI")


def test_every_second() -> None:
    assert warnings("* * * * * *") == ('fires every second; for once a minute write "0 * * * * *"',)
    assert warnings("* 0 3 * * *") == (
        'fires 60 times in each minute that matches; for once a minute write "0 0 3 * * *"',
    )


@pytest.mark.parametrize(
    ("gap", "what"), [(DstGap.AFTER, "fires once at 03:00 instead"), (DstGap.SKIP, "does not fire then")]
)
def test_a_fixed_time_in_a_gap(gap: DstGap, what: str) -> None:
    assert warnings("0 30 2 * * *", gap=gap) == (
        f"on 2027-03-14 America/New_York's clock goes from 02:00 to 03:00, past 02:30: {what}",
    )


def test_many_times_in_one_gap_are_one_warning() -> None:
    (warning,) = warnings("15 */10,5 2 * * *".replace("*/10", "0,10,20,30,40,50"))
    assert "past 02:00:15, 02:05:15, 02:10:15 and 4 more: fires once at 03:00 instead" in warning


@pytest.mark.parametrize(
    ("overlap", "what"),
    [
        (DstOverlap.FIRST, "fires the first time only"),
        (DstOverlap.SECOND, "fires the second time only"),
        (DstOverlap.BOTH, "fires both times"),
    ],
)
def test_a_fixed_time_in_an_overlap(overlap: DstOverlap, what: str) -> None:
    assert warnings("0 30 1 * * *", overlap=overlap) == (
        f"on 2027-11-07 America/New_York's clock goes back from 02:00 to 01:00, repeating 01:30: {what}",
    )


def test_a_gap_beyond_twelve_months_or_on_another_day_is_not_mentioned() -> None:
    assert warnings("0 30 2 * * MON") == ()
    assert warnings("0 30 2 * * * 2028-2030") == ()
