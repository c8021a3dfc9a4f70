"""What a job may do, and what the daemon hears of it."""

from __future__ import annotations

from typing import Any


async def test_a_run_says_started_before_its_outcome(demo: Any) -> None:
    _, worker = await demo(
        """
        @extension.job(name="hello", schedule="0 0 * * * *")
        async def hello(ctx):
            ctx.logger.info("hello", to=ctx.parameters["to"])
            async with ctx.step("greet"):
                pass
            ctx.progress(1, 2, "half")
            return JobResult.success().with_stats(2, 1).with_message("greeted")
        """
    )
    await worker.message("ready")
    worker.run("hello", parameters={"to": "you"})

    outcome = await worker.outcome()

    assert outcome["status"] == "succeeded"
    assert (outcome["items_processed"], outcome["items_failed"], outcome["message"]) == (2, 1, "greeted")
    assert [step["name"] for step in outcome["steps"]] == ["greet"]
    assert outcome["started_at"] <= outcome["finished_at"]
    (log,) = worker.all("log")
    assert (log["message"], log["level"], log["fields"]) == ("hello", "info", {"to": "you"})
    kinds = [m["t"] for m in worker.messages]
    assert kinds[:2] == ["ready", "started"]
    assert kinds[-1] == "outcome"
