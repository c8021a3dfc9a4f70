"""What an operator may want to do about the schema: told in the result, never done unasked."""

from __future__ import annotations

from collections.abc import Iterable

from scheduler_core.schema import Reference
from scheduler_core.target import Evidence

WORTH_AN_INDEX = 128 * 1024
"""Bytes: a smaller table is read whole as fast as through an index."""


def missing_indexes(references: Iterable[Reference], evidence: Iterable[Evidence] = ()) -> tuple[str, ...]:
    """Columns without an index that each removal has to look up: foreign keys first, then evidence."""
    keys = [
        (reference.as_table(), reference.column, "each removed row reads that table from end to end")
        for reference in references
        if not reference.indexed
    ]
    keys += [
        (item.table, item.column, "every run reads that table from end to end, more than once")
        for item in evidence
        if not item.indexed
    ]
    advice = {
        f"CREATE INDEX CONCURRENTLY ON {table.label} ({column})": why
        for table, column, why in reversed(keys)
        if table.size >= WORTH_AN_INDEX
    }
    return tuple(f"{statement}: {why}" for statement, why in reversed(advice.items()))
