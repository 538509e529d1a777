"""Makes the rigs that the conformance suite works on."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import pytest
from asking import WARM
from engines import SUBJECTS, Model, Rig, Unavailable, Workshop


class Bench:
    """Makes rigs of one engine; those that are only looked at are made once.

    Example::

        engine = bench.opened('talker').engine
    """

    def __init__(self, subject: str, folder: Path, shared: Path) -> None:
        self._subject = subject
        self._folder = folder
        self._shared = shared
        self._opened: dict[str, Rig] = {}
        self._stack = ExitStack()
        self._made = 0

    def fresh(self, model: Model) -> Rig:
        """Return a rig of the test's own, not open yet."""
        self._made += 1
        folder = self._folder / str(self._made)
        folder.mkdir()
        try:
            rig = SUBJECTS[self._subject](Workshop(folder, self._shared), model)
        except Unavailable as error:
            pytest.skip(f'unavailable: {error}')
        self._stack.callback(rig.put_away)
        self._stack.callback(rig.engine.close)
        return rig

    def opened(self, model: Model) -> Rig:
        """Return the open rig that the tests share."""
        if model not in self._opened:
            rig = self.fresh(model)
            rig.engine.open(WARM, lambda _part, _text: None)
            self._opened[model] = rig
        return self._opened[model]

    def put_away(self) -> None:
        """Close everything."""
        self._stack.close()
