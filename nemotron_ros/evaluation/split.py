"""Which scenarios prompts may be tuned on, and which are kept for the measurement."""

from __future__ import annotations

import hashlib

TUNING = 'tuning'
PARTS = (TUNING, 'heldout')


def part_of(scenario_id: str) -> str:
    """Return the part that a scenario belongs to: about half of them each.

    It depends on the id alone: scenarios that are added later move none of the others, and
    all ways to say one thing are on the same side.
    """
    return PARTS[hashlib.sha256(scenario_id.encode()).digest()[0] % 2]
