"""The grammar, the canonical text, and what an error says."""

import copy
import pickle
from datetime import UTC, datetime

import pytest

from scheduler_daemon.cron import CronError, CronExpression


def matches(pattern: str, moment: str) -> bool:
    return CronExpression.parse(pattern).matches(datetime.fromisoformat(moment).replace(tzinfo=UTC), UTC)


# What the specification's own conformance vectors ask, by the section that asks it (OCPS 1.0-1.4).
@pytest.mark.parametrize(
    ("pattern", "yes", "no"),
    [
        ("15 10 * * *", ["2025-03-10 10:15"], ["2025-03-10 10:14"]),
        ("30 8 * jan Mon", ["2025-01-06 08:30"], ["2025-02-03 08:30"]),
        ("5-59/15 9 * * *", [f"2025-03-10 09:{m}" for m in ("05", "20", "35", "50")], ["2025-03-10 09:15"]),
        ("0 12 1 * MON", ["2025-10-01 12:00", "2025-10-06 12:00"], ["2025-10-07 12:00"]),
        ("0 12 * * MON", ["2025-10-06 12:00"], ["2025-10-07 12:00"]),
        ("0 12 1-31 * MON", ["2025-10-06 12:00", "2025-10-07 12:00"], ["2025-10-08 11:00"]),
        ("0 12 *,1 * MON", ["2025-10-06 12:00"], ["2025-10-01 12:00"]),
        ("0 12 1,* * MON", ["2025-10-06 12:00", "2025-10-07 12:00"], []),
        ("@yearly", ["2026-01-01 00:00"], ["2026-01-02 00:00"]),
        ("@monthly", ["2026-02-01 00:00"], ["2026-02-02 00:00"]),
        ("@weekly", ["2025-10-05 00:00"], ["2025-10-06 00:00"]),
        ("@daily", ["2025-10-07 00:00"], ["2025-10-07 00:01"]),
        ("@hourly", ["2025-10-07 10:00"], ["2025-10-07 10:01"]),
        ("15 10 * * *", ["2025-03-10 10:15:00"], ["2025-03-10 10:15:30"]),
        ("30 15 10 * * *", ["2025-03-10 10:15:30"], ["2025-03-10 10:15:29"]),
        ("0 15 10 * * * 2025", ["2025-03-10 10:15:00"], ["2026-03-10 10:15:00"]),
        ("0 0 0 1 1 * 1970-2199/2", ["2026-01-01"], ["2025-01-01"]),
        ("0 0 0 1 1 * */2", ["2026-01-01"], ["2025-01-01"]),
        ("0 0 L * *", ["2025-02-28", "2024-02-29"], ["2025-02-27", "2024-02-28"]),
        ("0 0 * * FRI#L", ["2025-02-28"], ["2025-02-21"]),
        ("0 0 * * 5L", ["2025-02-28"], ["2025-02-21"]),
        ("0 0 * * TUE#3", ["2025-06-17"], ["2025-06-10"]),
        ("0 0 * * 7#1", ["2025-06-01"], ["2025-06-08"]),
        ("0 12 15W * *", ["2025-06-16 12:00", "2025-02-14 12:00", "2025-01-15 12:00"], ["2025-06-15 12:00"]),
        ("0 12 1W * *", ["2025-02-03 12:00", "2025-06-02 12:00"], ["2025-02-01 12:00", "2025-01-31 12:00"]),
        ("0 12 31W * *", ["2025-08-29 12:00"], ["2025-09-01 12:00", "2025-06-30 12:00", "2025-04-30 12:00"]),
        ("0 12 1 * +MON", ["2025-09-01 12:00"], ["2025-09-08 12:00", "2025-10-01 12:00"]),
        ("0 12 ? * ?", ["2025-09-01 12:00"], ["2025-09-01 13:00"]),
        ("0 0 * * 5-7", ["2025-06-06", "2025-06-07", "2025-06-08"], ["2025-06-09"]),
        ("0 0 */2 * +SUN", ["2025-06-01", "2025-06-15"], ["2025-06-08", "2025-06-03"]),
    ],
)
def test_what_a_pattern_matches(pattern: str, yes: list[str], no: list[str]) -> None:
    assert [moment for moment in yes if not matches(pattern, moment)] == []
    assert [moment for moment in no if matches(pattern, moment)] == []


def test_an_impossible_date_parses_and_never_fires() -> None:
    expression = CronExpression.parse("0 0 0 31 2 *")
    assert expression.never
    assert expression.next_after(datetime(2026, 1, 1, tzinfo=UTC), UTC) is None
    assert expression.previous_before(datetime(2026, 1, 1, tzinfo=UTC), UTC) is None
    assert not CronExpression.parse("0 0 0 29 2 *").never


def test_reboot_parses_and_has_no_instant() -> None:
    expression = CronExpression.parse(" @reboot ")
    assert expression.reboot
    assert expression.never
    assert str(expression) == "@reboot"
    assert expression.next_after(datetime(2026, 1, 1, tzinfo=UTC), UTC) is None
    assert expression.describe() == "When the daemon starts"


def test_white_space_is_spaces_and_tabs_in_any_number() -> None:
    assert CronExpression.parse("\t 0  0\t\t3 * *   * ") == CronExpression.parse("0 0 3 * * *")


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("0 3 * * *", "0 0 3 * * *"),
        ("@yearly", "0 0 0 1 1 *"),
        ("@annually", "0 0 0 1 1 *"),
        ("@midnight", "0 0 0 * * *"),
        ("00 00 07,19 ? * ?", "0 0 7,19 * * *"),
        ("0 0 19,7,7 * * *", "0 0 7,19 * * *"),
        ("0 0,15,30,45 * * * *", "0 0-45/15 * * * *"),
        ("0,15,30,45 0 * * * *", "*/15 0 * * * *"),
        ("0 */15,7 * * * *", "0 */15,7 * * * *"),
        ("0 */90 * * * *", "0 */60 * * * *"),
        ("0 0-59 0-23 1-31 1-12 *", "0 0-59 0-23 * * *"),
        ("0 0 0 * jan-Mar,DEC mon-FRI", "0 0 0 * 1-3,12 1-5"),
        ("0 0 0 1-31 * MON", "0 0 0 1-31 * 1"),
        ("0 0 0 1 * 0-7", "0 0 0 1 * 0-6"),
        ("0 0 0 1 * +*", "0 0 0 1 * *"),
        ("0 0 0 * * +7", "0 0 0 * * 0"),
        ("0 0 0 L,1 * +FRI", "0 0 0 1,L * +5"),
        ("0 0 0 ? * 5L,MON#1,3", "0 0 0 * * 3,1#1,5#L"),
        ("0 0 0 15W * ? *", "0 0 0 15W * *"),
        ("0 0 0 * * * 2030,2026-2028", "0 0 0 * * * 2026-2028,2030"),
        ("0 0 0 1 1,4,7,10 *", "0 0 0 1 */3 *"),
        ("0 0 0 * * FRI,MON,WED", "0 0 0 * * 1,3,5"),
    ],
)
def test_the_canonical_text(text: str, canonical: str) -> None:
    expression = CronExpression.parse(text)
    assert str(expression) == canonical
    assert repr(expression) == f"CronExpression.parse('{canonical}')"
    assert expression == CronExpression.parse(canonical)
    assert hash(expression) == hash(CronExpression.parse(canonical))
    assert str(CronExpression.parse(canonical)) == canonical


def test_expressions_that_mean_different_things_differ() -> None:
    assert CronExpression.parse("0 */15 * * * *") != CronExpression.parse("0 0-45/15 * * * *")
    assert CronExpression.parse("0 0 0 1 * MON") != CronExpression.parse("0 0 0 1 * +MON")
    assert CronExpression.parse("0 0 3 * * *") != "0 0 3 * * *"


def test_copies_and_pickles_are_equal() -> None:
    expression = CronExpression.parse("0 0 0 15W * +MON-FRI 2026")
    assert copy.deepcopy(expression) == expression
    assert pickle.loads(pickle.dumps(expression)) == expression


@pytest.mark.parametrize(
    ("text", "fixed"),
    [
        ("0 0 3 * * *", True),
        ("* 0 3 * * *", True),
        ("0 */15 3 * * *", False),
        ("0 0 */2 * * *", False),
        ("0 0 * * * *", False),
        ("0 0-59 0-23 * * *", True),
        ("0 1,* 3 * * *", True),
        ("@daily", True),
        ("@hourly", False),
    ],
)
def test_fixed_time_is_a_minute_and_an_hour_that_do_not_start_with_a_star(text: str, fixed: bool) -> None:
    assert CronExpression.parse(text).fixed_time is fixed


@pytest.mark.parametrize(
    ("text", "field", "piece", "column", "says"),
    [
        ("60 * * * * *", "second", "60", 1, "allowed are 0-59; what comes after 59 is 0"),
        ("0 0,15,75 * * * *", "minute", "75", 8, "allowed are 0-59"),
        ("0 0 24 * * *", "hour", "24", 5, "what comes after 23 is 0"),
        ("0 0 0 32 * *", "day of month", "32", 7, "1-31, L for the last day"),
        ("0 0 0 0 * *", "day of month", "0", 7, "1-31"),
        ("0 0 0 * 13 *", "month", "13", 9, "allowed are 1-12 or JAN-DEC"),
        ("0 0 0 * * 8", "day of week", "8", 11, "0-7 (0 and 7 are Sunday) or SUN-SAT"),
        ("0 0 0 * * * 1969", "year", "1969", 13, "1970-2199"),
        ("* * 0 8", "expression", "* * 0 8", 1, 'four fields; a schedule has six, "second minute hour'),
        ("", "expression", "", 1, "no fields"),
        ("0 0 0 * * * * *", "expression", "0 0 0 * * * * *", 1, "8 fields"),
        ("0 0 8 * 8", "day of week", "8", 9, "0-7"),
        ("0 0/15 * * * *", "minute", "0/15", 3, 'a step needs "*" or a range before it; write "*/15"'),
        ("0 10/10 * * * *", "minute", "10/10", 3, 'write "10-59/10"'),
        ("0 /30 * * * *", "minute", "/30", 3, 'write "*/30"'),
        ("0 0 0 * JAN/2 *", "month", "JAN/2", 9, 'write "*/2"'),
        ("0 0 0 * * MON/2", "day of week", "MON/2", 11, 'write "MON-6/2"'),
        ("0 */0 * * * *", "minute", "*/0", 3, "a step is a whole number from 1 on"),
        ("0 */-5 * * * *", "minute", "*/-5", 3, "a step is a whole number from 1 on"),
        ("0 */1/2 * * * *", "minute", "*/1/2", 3, "a step is a whole number from 1 on"),
        ("0 0 22-2 * * *", "hour", "22-2", 5, 'a range runs upwards; write "22-23,0-2"'),
        ("0 0 22-2/2 * * *", "hour", "22-2/2", 5, "a range runs upwards"),
        ("0 0 0 * * MON-SUN", "day of week", "MON-SUN", 11, 'a range runs upwards; write "1-7"'),
        ("0 0 0 * * 7-0", "day of week", "7-0", 11, 'a range runs upwards; write "7"'),
        ("0 0 0 * * FRI-MON", "day of week", "FRI-MON", 11, 'write "FRI-SAT,SUN-MON"'),
        ("0 0 0 * DEC-FEB *", "month", "DEC-FEB", 9, 'write "DEC,JAN-FEB"'),
        ("0 50-70 * * * *", "minute", "70", 6, "allowed are 0-59"),
        ("0 70-80 * * * *", "minute", "70", 3, "allowed are 0-59"),
        ("0 5- * * * *", "minute", "5-", 3, 'a range is written "a-b"'),
        ("0 -5 * * * *", "minute", "-5", 3, 'a range is written "a-b"'),
        ("0 1–5 * * * *", "minute", "–", 4, "a plain hyphen"),
        ("0 1,,2 * * * *", "minute", "1,,2", 3, "an item of the list is missing"),
        ("0 0 0 LW * *", "day of month", "LW", 7, "L is its last day"),
        ("0 0 0 L-3 * *", "day of month", "L-3", 7, "no counting back"),
        ("0 0 0 1W,15W * *", "day of month", "1W", 7, "W takes a single day and stands alone"),
        ("0 0 0 1-15W * *", "day of month", "1-15W", 7, "W takes a single day and stands alone"),
        ("0 0 0 32W * *", "day of month", "32W", 7, "1-31"),
        ("0 0 0 15w * *", "day of month", "15w", 7, 'write "15W"'),
        ("0 0 0 * * fri#l", "day of week", "fri#l", 11, 'write "FRI#L"'),
        ("0 0 0 * * L", "day of week", "L", 11, '"6L" is the last Saturday'),
        ("0 0 0 * * 5#6", "day of week", "5#6", 11, "1-5 or L for the last"),
        ("0 0 0 * * 1-5#2", "day of week", "1-5#2", 11, "one weekday"),
        ("0 0 0 * * 5W", "day of week", "5W", 11, "W belongs in the day of month"),
        ("0 0 0 MON#2 * *", "day of month", "MON#2", 7, "weekdays belong in the day of week"),
        ("0 0 0 * * MONDAY", "day of week", "MONDAY", 11, 'write "MON"'),
        ("0 0 0 * September *", "month", "September", 9, 'write "SEP"'),
        ("0 0 0 * MON *", "month", "MON", 9, "belongs in the day of week"),
        ("0 0 0 * * JAN", "day of week", "JAN", 11, "belongs in the month"),
        ("0 0 L * * *", "hour", "L", 5, "L, W and # belong in the day fields"),
        ("0 H * * * *", "minute", "H", 3, "no times by hash"),
        ("0 0~30 * * * *", "minute", "~", 4, "no random times"),
        ("0 *15 * * * *", "minute", "*15", 3, 'write "*/15"'),
        ("? 0 0 * * *", "second", "?", 1, 'only the two day fields take "?"; write "*"'),
        ("0 0 0 +1 * *", "day of month", "+", 7, "first character of the day of week"),
        ("0 0 0 * * 1+", "day of week", "+", 12, "first character of the day of week"),
        ("0 0 0 * * +", "day of week", "+", 11, 'must follow "+"'),
        ("0 0 0 * * *\n", "day of week", "\n", 12, "only spaces and tabs may stand between fields"),
        ("0 0\u00a00 * * * *", "minute", "\u00a0", 4, "only spaces and tabs"),
        ("0 ٣ * * * *", "minute", "٣", 3, "no field takes this character"),
        ("0 0 0 * * ſun", "day of week", "ſ", 11, "no field takes this character"),
        ("0 99999999999 * * * *", "minute", "99999999999", 3, "allowed are 0-59"),
        ("@Daily", "expression", "@Daily", 1, 'write "@daily"'),
        (" @daily 0 0 * * *", "expression", "@daily 0 0 * * *", 2, "a nickname stands alone"),
        ("@every 5m", "expression", "@every 5m", 1, 'write "0 */5 * * * *"'),
        ("@every 90m", "expression", "@every 90m", 1, "there are @yearly"),
        ("@weekdays", "expression", "@weekdays", 1, "there are @yearly, @annually"),
    ],
)
def test_an_error_names_field_text_and_column_and_says_what_to_write(
    text: str, field: str, piece: str, column: int, says: str
) -> None:
    with pytest.raises(CronError) as caught:
        CronExpression.parse(text)
    error = caught.value
    assert (error.field, error.text, error.column) == (field, piece, column)
    assert says in str(error)
    assert "\n" not in str(error)
    if field != "expression":
        assert str(error).startswith(f"{field} ")
        assert f"(column {column})" in str(error)


def test_a_long_text_is_cut_in_the_message() -> None:
    with pytest.raises(CronError) as caught:
        CronExpression.parse("1" * 5000)
    assert len(str(caught.value)) < 250


def test_a_schedule_of_five_fields_is_refused_with_the_line_to_use() -> None:
    with pytest.raises(CronError) as caught:
        CronExpression.parse_schedule("  0 *  * * *")
    assert str(caught.value) == (
        '"0 *  * * *" has five fields; schedules start with seconds: did you mean "0 0 * * * *"?'
    )
    assert CronExpression.parse("0 * * * *") == CronExpression.parse_schedule("0 0 * * * *")


def test_reboot_as_a_schedule_is_refused_with_a_pointer() -> None:
    with pytest.raises(CronError, match="run_on_startup"):
        CronExpression.parse_schedule("@reboot")


@pytest.mark.parametrize("text", ["0 0 3 * * *", "0 0 3 * * * 2030", "@daily"])
def test_a_schedule_has_six_or_seven_fields_or_is_a_nickname(text: str) -> None:
    assert CronExpression.parse_schedule(text) == CronExpression.parse(text)
