"""What an operator can do. Called by the control API and, for signals, by the daemon."""

from scheduler_daemon.operations.answers import Answers
from scheduler_daemon.operations.house import House
from scheduler_daemon.operations.jobs import JobOperations, Switch
from scheduler_daemon.operations.logs import LogOperations
from scheduler_daemon.operations.scheduler import SchedulerOperations

__all__ = ["Answers", "House", "JobOperations", "Operations", "SchedulerOperations", "Switch"]


class Operations:
    """All of them, by what they concern."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.jobs = JobOperations(house)
        self.logs = LogOperations(house)
        self.scheduler = SchedulerOperations(house)
        self.answers = Answers(house)
