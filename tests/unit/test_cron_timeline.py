"""The stretches of constant offset, against the transitions that the TZif files list (RFC 9636).

VERIFY_CRON=full: every zone instead of a seeded sample.
"""

import os
import struct
from datetime import UTC, datetime, timedelta, timezone
from importlib import resources
from itertools import pairwise
from random import Random
from zoneinfo import ZoneInfo, available_timezones

import pytest

from scheduler_daemon.cron.timeline import Timeline, timeline

FULL = os.environ.get("VERIFY_CRON") == "full"
ALL_ZONES = sorted(available_timezones() - {"localtime"})
KNOWN_ODD = [
    "Africa/Monrovia",
    "Asia/Hong_Kong",
    "America/Boa_Vista",
    "Pacific/Apia",
    "Asia/Gaza",
    "Africa/El_Aaiun",
    "UTC",
]
ZONES = ALL_ZONES if FULL else [*KNOWN_ODD, *Random(3).sample(ALL_ZONES, 20)]
START, END, FAR_AHEAD = (int(datetime(year, 1, 1, tzinfo=UTC).timestamp()) for year in (1970, 2100, 2200))


def zone_and_changes(name: str) -> tuple[ZoneInfo, list[tuple[int, int, int]]]:
    """The zone of the tzdata package, and its (instant, offset before, offset after) as the file has them."""
    file = resources.files("tzdata.zoneinfo").joinpath(name)
    with file.open("rb") as opened:
        zone = ZoneInfo.from_file(opened, key=name)
    return zone, changes(file.read_bytes())


def changes(data: bytes) -> list[tuple[int, int, int]]:
    """From the 64-bit block, which follows the 32-bit one."""
    isut, isstd, leap, times, types, characters = struct.unpack(">6l", data[20:44])
    start = 44 + times * 5 + types * 6 + characters + leap * 8 + isstd + isut
    _, _, _, times, types, _ = struct.unpack(">6l", data[start + 20 : start + 44])
    start += 44
    instants = struct.unpack(f">{times}q", data[start : start + 8 * times])
    indexes = data[start + 8 * times : start + 9 * times]
    start += 9 * times
    offsets = [struct.unpack(">l", data[start + 6 * n : start + 6 * n + 4])[0] for n in range(types)]
    known = [(instant, offsets[index]) for instant, index in zip(instants, indexes, strict=True)]
    pairs = pairwise(known)
    return [(at, before, after) for (_, before), (at, after) in pairs if before != after and START < at < END]


@pytest.mark.parametrize("name", ZONES)
def test_no_transition_is_missed_and_none_invented(name: str) -> None:
    zone, expected = zone_and_changes(name)
    last = expected[-1][0] if expected else START
    found = [
        (stretch.start, stretch.before, stretch.offset)
        for begin, stretch in Timeline(zone).between(START, last + 1)
        if begin == stretch.start and stretch.before != stretch.offset
    ]
    assert found == expected


@pytest.mark.parametrize("name", ZONES)
def test_the_offset_is_the_zones_at_any_instant_also_by_rule_far_ahead(name: str) -> None:
    zone, random = ZoneInfo(name), Random(name)
    line = Timeline(zone)
    for _ in range(200 if FULL else 20):
        instant = random.randrange(START, FAR_AHEAD)
        expected = datetime.fromtimestamp(instant, zone).utcoffset()
        assert timedelta(seconds=line.at(instant).offset) == expected


def test_stretches_follow_on_each_other() -> None:
    stretches = [stretch for _, stretch in Timeline(ZoneInfo("America/New_York")).between(START, END)]
    assert all(left.end == right.start for left, right in pairwise(stretches))
    assert all(left.after == right.offset for left, right in pairwise(stretches))


@pytest.mark.parametrize("zone", [UTC, ZoneInfo("UTC"), timezone(timedelta(hours=5, minutes=45))])
def test_a_fixed_zone_is_one_stretch(zone: timezone | ZoneInfo) -> None:
    assert len(list(Timeline(zone).between(START, END))) == 1


def test_rules_that_were_read_again_get_a_timeline_of_their_own() -> None:
    assert timeline(ZoneInfo("Europe/Paris")) is timeline(ZoneInfo("Europe/Paris"))
    assert timeline(ZoneInfo("Europe/Paris")) is not timeline(ZoneInfo.no_cache("Europe/Paris"))
