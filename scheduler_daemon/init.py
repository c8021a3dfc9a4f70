"""The first process of a container: somebody must bury the orphans, and hand on the signals."""

from __future__ import annotations

import os
import signal
from types import FrameType

HANDED_ON = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2)


def first_process() -> bool:
    return os.getpid() == 1


def be_init() -> None:
    """Return in a child, which is the daemon; stay behind as its init, and exit as it does.

    Call it before there are threads. The kernel kills whoever is left when the first process exits.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, HANDED_ON)
    child = os.fork()
    if child == 0:
        os.setsid()  # a terminal's Ctrl-C comes through us, and not twice
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return

    def hand_on(number: int, frame: FrameType | None) -> None:
        del frame
        os.kill(child, number)

    for number in HANDED_ON:
        signal.signal(number, hand_on)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    while True:
        pid, status = os.wait()
        if pid == child:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
