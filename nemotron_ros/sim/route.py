"""A route through the flat: A* on a grid that keeps the robot's width from everything known."""

from __future__ import annotations

import heapq
import math

from nemotron_ros.sim.world import ROBOT_RADIUS_M, Pose, World

CELL_M = 0.1
MARGIN_M = 0.12
NEAR_M = 0.35
"""A robot that stands closer to something than the margin begins at a free cell so near."""

Cell = tuple[int, int]


def plan(world: World, start: Pose, goal: Pose) -> list[tuple[float, float]]:
    """Return way points from ``start`` to ``goal``; empty if there is no way."""
    if not is_free(world, goal.x, goal.y, MARGIN_M / 2):
        return []
    first, end = _nearest_free(world, start), _nearest_free(world, goal)
    if first is None or end is None:
        return []
    queue: list[tuple[float, Cell]] = [(0.0, first)]
    cost: dict[Cell, float] = {first: 0.0}
    came: dict[Cell, Cell] = {}
    while queue:
        _, cell = heapq.heappop(queue)
        if cell == end:
            return _straightened(world, _walk_back(came, first, end), start, goal)
        for dx in (-1, 0, 1):
            for dy in (-1, 0, 1):
                near = (cell[0] + dx, cell[1] + dy)
                new_cost = cost[cell] + math.hypot(dx, dy)
                if new_cost < cost.get(near, math.inf) and _free(world, near):
                    cost[near] = new_cost
                    came[near] = cell
                    left = math.hypot(end[0] - near[0], end[1] - near[1])
                    heapq.heappush(queue, (new_cost + left, near))
    return []


def is_free(world: World, x: float, y: float, margin_m: float = MARGIN_M) -> bool:
    """Whether the robot could stand at a position with so much air around it."""
    gap_m = ROBOT_RADIUS_M + margin_m
    if abs(x) > world.half_x - gap_m or abs(y) > world.half_y - gap_m:
        return False
    return all(box.distance_m(x, y) > gap_m for box in world.standing)


def _free(world: World, cell: Cell) -> bool:
    return is_free(world, cell[0] * CELL_M, cell[1] * CELL_M)


def _nearest_free(world: World, pose: Pose) -> Cell | None:
    column, row, reach = round(pose.x / CELL_M), round(pose.y / CELL_M), round(NEAR_M / CELL_M)
    cells = [
        (column + dx, row + dy)
        for dx in range(-reach, reach + 1)
        for dy in range(-reach, reach + 1)
    ]

    def away_m(cell: Cell) -> float:
        return math.hypot(cell[0] * CELL_M - pose.x, cell[1] * CELL_M - pose.y)

    return next((cell for cell in sorted(cells, key=away_m) if _free(world, cell)), None)


def _walk_back(came: dict[Cell, Cell], first: Cell, end: Cell) -> list[tuple[float, float]]:
    cells = [end]
    while cells[-1] != first:
        cells.append(came[cells[-1]])
    return [(x * CELL_M, y * CELL_M) for x, y in reversed(cells)]


def _straightened(
    world: World, points: list[tuple[float, float]], start: Pose, goal: Pose
) -> list[tuple[float, float]]:
    """Leave out every point that a straight line can pass by."""
    points = [(start.x, start.y), *points, (goal.x, goal.y)]
    kept = [points[0]]
    index = 0
    while index < len(points) - 1:
        reach = len(points) - 1
        while reach > index + 1 and not _clear(world, points[index], points[reach]):
            reach -= 1
        kept.append(points[reach])
        index = reach
    return kept[1:]


def _clear(world: World, a: tuple[float, float], b: tuple[float, float]) -> bool:
    steps = max(1, int(math.hypot(b[0] - a[0], b[1] - a[1]) / (CELL_M / 2)))
    return all(
        is_free(
            world, a[0] + (b[0] - a[0]) * i / steps, a[1] + (b[1] - a[1]) * i / steps, MARGIN_M / 2
        )
        for i in range(1, steps + 1)
    )
