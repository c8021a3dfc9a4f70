"""Who asks: the process on the other end of the socket."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Depends, Request

from scheduler_daemon.control.peers import user_name
from scheduler_daemon.ledger.history import Actor


async def caller(request: Request) -> Actor:
    peer = request.state.peer
    name = await asyncio.to_thread(user_name, peer.uid)
    return Actor(uid=peer.uid, user_name=name, pid=peer.pid)


Caller = Annotated[Actor, Depends(caller)]
