"""The flat as an occupancy map, as ``map_server`` of Nav2 reads it."""

from __future__ import annotations

from pathlib import Path

import yaml

from nemotron_ros.sim.world import World

CELL_M = 0.05
FREE, TAKEN = 254, 0


def write_map(folder: Path, world: World) -> Path:
    """Write ``map.pgm`` and ``map.yaml`` into a folder; return the path of the latter.

    :raise OSError: if it can't be written.
    """
    width, height, cells = grid(world)
    (folder / 'map.pgm').write_bytes(f'P5\n{width} {height}\n255\n'.encode() + cells)
    about = {
        'image': 'map.pgm',
        'mode': 'trinary',
        'resolution': CELL_M,
        'origin': [-world.half_x - CELL_M, -world.half_y - CELL_M, 0.0],
        'negate': 0,
        'occupied_thresh': 0.65,
        'free_thresh': 0.25,
    }
    path = folder / 'map.yaml'
    path.write_text(yaml.safe_dump(about, sort_keys=False))
    return path


def grid(world: World) -> tuple[int, int, bytes]:
    """Return width, height and cells of the map, from its upper left corner on.

    One cell beyond the flat on each side, so that the outer walls are in it.
    """
    width = round(2 * world.half_x / CELL_M) + 2
    height = round(2 * world.half_y / CELL_M) + 2
    cells = bytearray()
    for row in range(height):
        y = world.half_y + CELL_M - (row + 0.5) * CELL_M
        for column in range(width):
            x = -world.half_x - CELL_M + (column + 0.5) * CELL_M
            taken = any(box.distance_m(x, y) == 0 for box in (*world.walls, *world.furniture))
            cells.append(TAKEN if taken else FREE)
    return width, height, bytes(cells)
