"""Nav2 in the flat: what its bring-up is started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nemotron_ros.sim.floor_map import write_map
from nemotron_ros.sim.world import flat

THEIR_PARAMETERS = Path('params/nav2_params.yaml')
"""In the share folder of nav2_bringup: what fits its release."""


@dataclass(frozen=True)
class Navigation:
    """The files that Nav2 is started with."""

    map: Path
    parameters: Path

    def arguments(self, use_sim_time: bool) -> dict[str, str]:
        """Return the arguments of nav2_bringup's ``bringup_launch.py``.

        Those that a release does not know it passes over. Spelled as Python spells them: it
        evaluates some.
        """
        return {
            'map': str(self.map),
            'params_file': str(self.parameters),
            'use_sim_time': str(use_sim_time),
            'autostart': 'True',
            'slam': 'False',
            'use_composition': 'False',
            'use_keepout_zones': 'False',  # since Kilted, with masks of its own
            'use_speed_zones': 'False',
        }


def write(folder: Path, nav2_bringup: Path, ours: Path) -> Navigation:
    """Write the map and the parameters into a folder.

    :param nav2_bringup: the share folder of the package of that name.
    :param ours: the parameters that are laid over its own.
    :raise OSError: if something can't be read or written.
    """
    theirs = yaml.safe_load((nav2_bringup / THEIR_PARAMETERS).read_text())
    parameters = laid_over(theirs, yaml.safe_load(ours.read_text()))
    path = folder / 'nav2.yaml'
    path.write_text(yaml.safe_dump(parameters, sort_keys=False))
    return Navigation(write_map(folder, flat()), path)


def laid_over(theirs: Mapping[str, Any], ours: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with others over them.

    An entry that names a plugin takes the place of theirs: what they say is of another plugin.
    """
    both = dict(theirs)
    for name, value in ours.items():
        under = both.get(name)
        if isinstance(value, Mapping) and isinstance(under, Mapping) and 'plugin' not in value:
            both[name] = laid_over(under, value)
        else:
            both[name] = value
    return both
