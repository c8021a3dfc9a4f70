"""Who may come in, and who makes room."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from scheduler_daemon.control.door import MAX_CONNECTIONS, MAX_PER_UID, Door, Manners
from scheduler_daemon.control.peers import Access, Peer, Rules
from scheduler_daemon.errors import ConfigurationError
from scheduler_daemon.model import ControlSettings

RULES = Rules(owner=500, controllers=37, readers=frozenset({50}))


@dataclass(eq=False)
class Guest:
    doing: Manners = Manners.SILENT
    gone: bool = False

    def manners(self) -> Manners:
        return self.doing

    def leave(self) -> None:
        self.gone = True


def peer(uid: int, *groups: int, gid: int = 1000) -> Peer:
    return Peer(uid=uid, gid=gid, pid=1, groups=frozenset(groups))


@pytest.mark.parametrize(
    ("who", "access"),
    [
        (peer(0), Access.CONTROL),
        (peer(500), Access.CONTROL),
        (peer(1000, 37), Access.CONTROL),
        (peer(1000, gid=37), Access.CONTROL),
        (peer(1000, 50), Access.LOOK),
        (peer(1000, 50, 37), Access.CONTROL),
        (peer(1000), Access.NOTHING),
    ],
)
def test_the_daemons_user_root_and_the_group_control_and_readers_look(who: Peer, access: Access) -> None:
    assert RULES.access(who) is access


def test_without_a_group_nobody_else_may_anything() -> None:
    assert Rules(owner=500).access(peer(1000, 0, 37)) is Access.NOTHING


def test_an_unknown_group_is_an_error_of_the_configuration(tmp_path: object) -> None:
    with pytest.raises(ConfigurationError, match=r'control\.readers: this machine has no group "no-such"'):
        Rules.of(ControlSettings(socket=None, readers=("no-such",)))  # type: ignore[arg-type]


def test_the_oldest_silent_guest_of_a_user_makes_room_then_a_stalling_one() -> None:
    door = Door(RULES)
    guests = [Guest(Manners.BUSY) for _ in range(MAX_PER_UID)]
    guests[3].doing = Manners.STALLING
    guests[5].doing = guests[9].doing = Manners.SILENT
    other = Guest()
    assert door.enter(other, peer(1001))
    assert all(door.enter(one, peer(1000)) for one in guests)
    for number in (5, 9, 3):
        assert door.enter(Guest(Manners.BUSY), peer(1000))
        assert guests[number].gone
    assert not door.enter(Guest(), peer(1000))
    assert not other.gone
    door.left(guests[0])
    assert door.enter(Guest(), peer(1000))


def test_for_whoever_controls_a_reader_makes_room_where_all_are_busy() -> None:
    door = Door(RULES)
    readers = [Guest(Manners.BUSY) for _ in range(MAX_CONNECTIONS)]
    for number, one in enumerate(readers):
        assert door.enter(one, peer(2000 + number // MAX_PER_UID, 50))
    assert not door.enter(Guest(Manners.BUSY), peer(3000, 50))
    assert door.enter(Guest(Manners.BUSY), peer(0))
    assert [one.gone for one in readers].count(True) == 1
    assert readers[0].gone


def test_leaving_twice_counts_once() -> None:
    door = Door(RULES)
    first = Guest(Manners.BUSY)
    door.enter(first, peer(1000))
    door.left(first)
    door.left(first)
    assert all(door.enter(Guest(Manners.BUSY), peer(1000)) for _ in range(MAX_PER_UID))
    assert not door.enter(Guest(Manners.BUSY), peer(1000))
