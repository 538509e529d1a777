"""Nav2 in the flat: its map against the flat, its parameters against the robot and Nav2's own.

Nav2 itself is not run: what it is given is looked at.
"""

from __future__ import annotations

import math
import re
import runpy
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from launch_arguments import Made, parts, stand_ins

from nemotron_ros.sim.floor_map import CELL_M, FREE, TAKEN, write_map
from nemotron_ros.sim.navigation import laid_over, write
from nemotron_ros.sim.velocity import MAX_SPEED_MPS, MAX_TURN_RADPS
from nemotron_ros.sim.world import ROBOT_RADIUS_M, flat

ROOT = Path(__file__).resolve().parents[2]
OURS = ROOT / 'config/nav2/flat.yaml'
TOOLS = yaml.safe_load((ROOT / 'config/tools/headless_robot_nav2.yaml').read_text())
KNOWN = yaml.safe_load((ROOT / 'test/fixtures/nav2_parameters.yaml').read_text())
# What a release has no word of, and passes over.
LATER = {'humble': {'enable_stamped_cmd_vel'}}
BOXES = (*flat().walls, *flat().furniture)
COSTMAPS = ('local_costmap', 'global_costmap')


@dataclass(frozen=True)
class Map:
    """A map as Nav2's map_server reads it."""

    width: int
    height: int
    cells: bytes
    resolution: float
    origin: tuple[float, float]

    @classmethod
    def read(cls, path: Path) -> Map:
        about = yaml.safe_load(path.read_text())
        image = (path.parent / about['image']).read_bytes()
        header = re.match(rb'P5\s(\d+) (\d+)\s255\s', image)
        assert header
        width, height = int(header[1]), int(header[2])
        cells = image[header.end() :]
        assert len(cells) == width * height
        assert (about['mode'], about['negate']) == ('trinary', 0)
        x, y, yaw = about['origin']
        assert yaw == 0
        # A cell is taken if (255 - cell) / 255 is over the one, free if under the other.
        assert about['occupied_thresh'] < (255 - TAKEN) / 255
        assert about['free_thresh'] > (255 - FREE) / 255
        return cls(width, height, cells, about['resolution'], (x, y))

    def centre(self, column: int, row: int) -> tuple[float, float]:
        """Return where a cell is; the image begins in the upper left corner, the map below."""
        x, y = self.origin
        return x + (column + 0.5) * self.resolution, y + (
            self.height - row - 0.5
        ) * self.resolution

    def column_row(self, x: float, y: float) -> tuple[int, int]:
        left, bottom = self.origin
        row = self.height - 1 - math.floor((y - bottom) / self.resolution)
        return math.floor((x - left) / self.resolution), row

    def is_free(self, column: int, row: int) -> bool:
        return self.cells[row * self.width + column] == FREE


@pytest.fixture(scope='module')
def floor(tmp_path_factory: pytest.TempPathFactory) -> Map:
    return Map.read(write_map(tmp_path_factory.mktemp('map'), flat()))


def ours(node: str) -> dict[str, Any]:
    """Return what we say of a node."""
    entry = yaml.safe_load(OURS.read_text())[node]
    parameters: dict[str, Any] = entry.get(node, entry)['ros__parameters']
    return parameters


# The map


def test_each_cell_is_taken_where_something_stands(floor: Map) -> None:
    for row in range(floor.height):
        for column in range(floor.width):
            x, y = floor.centre(column, row)
            stands = any(abs(x - b.x) <= b.half_x and abs(y - b.y) <= b.half_y for b in BOXES)
            assert floor.is_free(column, row) != stands, (x, y)


def test_the_walls_close_it(floor: Map) -> None:
    edge = [(c, r) for c in range(floor.width) for r in (0, 1, floor.height - 2, floor.height - 1)]
    edge += [(c, r) for c in (0, 1, floor.width - 2, floor.width - 1) for r in range(floor.height)]
    assert not any(floor.is_free(*cell) for cell in edge)


def test_there_is_a_way_to_every_place_for_a_robot_as_wide_as_nav2_is_told(floor: Map) -> None:
    radius_m = ours('local_costmap')['robot_radius']
    room = {
        (column, row)
        for row in range(floor.height)
        for column in range(floor.width)
        if min(box.distance_m(*floor.centre(column, row)) for box in BOXES) > radius_m
    }
    start = floor.column_row(flat().start.x, flat().start.y)
    assert start in room
    reached, waiting = {start}, [start]
    while waiting:
        column, row = waiting.pop()
        beside = {(column + 1, row), (column - 1, row), (column, row + 1), (column, row - 1)}
        for cell in (beside & room) - reached:
            reached.add(cell)
            waiting.append(cell)
    for name, place in TOOLS['tables']['places'].items():
        assert floor.column_row(place['x'], place['y']) in reached, name


# The parameters


def leaves(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from leaves(inner, (*path, name))
    else:
        yield path


@pytest.mark.parametrize('release', KNOWN)
def test_each_parameter_is_one_that_nav2_has(release: str) -> None:
    for node, entry in yaml.safe_load(OURS.read_text()).items():
        if node in KNOWN[release]:
            known = {*KNOWN[release][node], *LATER.get(release, ())}
            names = {'.'.join(path) for path in leaves(entry.get(node, entry)['ros__parameters'])}
            assert names <= known, node
        else:
            assert (release, node) == ('humble', 'docking_server')


def test_the_robot_is_as_it_is_simulated() -> None:
    pytest.importorskip('mujoco', reason='mujoco is not here')
    from nemotron_ros.sim.robot import MAX_RANGE_M

    amcl = ours('amcl')
    start = flat().start
    told = amcl['initial_pose']
    assert amcl['set_initial_pose'] is True
    assert amcl['laser_max_range'] == MAX_RANGE_M
    assert (told['x'], told['y'], told['yaw']) == (start.x, start.y, start.yaw)
    for costmap in COSTMAPS:
        assert ROBOT_RADIUS_M <= ours(costmap)['robot_radius'] < ROBOT_RADIUS_M + CELL_M
    way = ours('controller_server')['FollowPath']
    smooth = ours('velocity_smoother')
    most_mps = TOOLS['limits']['max_linear_mps']
    assert way['desired_linear_vel'] <= smooth['max_velocity'][0] <= most_mps <= MAX_SPEED_MPS
    fastest = (way['rotate_to_heading_angular_vel'], ours('behavior_server')['max_rotational_vel'])
    assert max(fastest) <= smooth['max_velocity'][2] <= MAX_TURN_RADPS
    assert TOOLS['tables']['speed']['drive_mps'] <= smooth['max_velocity'][0]


def test_places_are_the_flats() -> None:
    places = {name: (p['x'], p['y'], p['yaw']) for name, p in TOOLS['tables']['places'].items()}
    for name, pose in flat().places.items():
        assert places.pop(name) == pytest.approx((pose.x, pose.y, pose.yaw), abs=1e-3)
    assert places == {}


def test_frames_and_topics_are_the_robots() -> None:
    rclpy = pytest.importorskip('rclpy', reason='ROS is not here')
    pytest.importorskip('mujoco', reason='mujoco is not here')
    from nav_msgs.msg import Odometry
    from rclpy.wait_for_message import wait_for_message

    from nemotron_ros.sim.node import HeadlessRobot

    context = rclpy.Context()
    context.init(args=None)
    robot = HeadlessRobot(context=context)
    listener = rclpy.create_node('listener', context=context)
    try:
        there = dict(robot.get_topic_names_and_types())
        heard, odometry = wait_for_message(Odometry, listener, 'odom', time_to_wait=10.0)
    finally:
        listener.destroy_node()
        robot.destroy_node()
        context.try_shutdown()
    assert heard
    assert ours('amcl')['odom_frame_id'] == odometry.header.frame_id
    bases = {ours('amcl')['base_frame_id'], ours('bt_navigator')['robot_base_frame']}
    bases |= {ours(costmap)['robot_base_frame'] for costmap in COSTMAPS}
    assert bases == {odometry.child_frame_id}
    # In a costmap's namespace a relative name would lead elsewhere.
    seen = {
        ours(costmap)[layer]['scan']['topic']
        for costmap in COSTMAPS
        for layer in ('obstacle_layer', 'voxel_layer')
    }
    assert seen == {'/scan'}
    assert ours('amcl')['scan_topic'] == ours('collision_monitor')['scan']['topic'] == 'scan'
    assert there['/scan'] == ['sensor_msgs/msg/LaserScan']
    assert {ours(node)['odom_topic'] for node in ('bt_navigator', 'velocity_smoother')} == {'odom'}
    assert there['/odom'] == ['nav_msgs/msg/Odometry']
    # Twist, and not TwistStamped, which Nav2 sends since Kilted if it is not told otherwise.
    assert there['/cmd_vel'] == ['geometry_msgs/msg/Twist']
    moves = ('controller_server', 'behavior_server', 'velocity_smoother', 'collision_monitor')
    assert not any(ours(node)['enable_stamped_cmd_vel'] for node in (*moves, 'docking_server'))


THEIRS = {
    'humble': """
        controller_server: {ros__parameters: {progress_checker_plugin: progress_checker,
          FollowPath: {plugin: 'dwb_core::DWBLocalPlanner', max_vel_x: 0.26}}}
        behavior_server: {ros__parameters: {spin: {plugin: nav2_behaviors/Spin}}}
    """,
    'kilted': """
        controller_server: {ros__parameters: {progress_checker_plugins: [progress_checker],
          FollowPath: {plugin: 'nav2_mppi_controller::MPPIController', vx_max: 0.5}}}
        behavior_server: {ros__parameters: {spin: {plugin: 'nav2_behaviors::Spin'}}}
        local_costmap: {local_costmap: {ros__parameters: {
          keepout_filter: {enabled: KEEPOUT_ZONE_ENABLED}, robot_radius: 0.3}}}
    """,
}


@pytest.fixture(params=THEIRS)
def nav2_bringup(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """Give the share folder of a nav2_bringup, with the names that its release has."""
    share = tmp_path / 'prefix/share/nav2_bringup'
    (share / 'params').mkdir(parents=True)
    (share / 'params/nav2_params.yaml').write_text(THEIRS[request.param])
    index = tmp_path / 'prefix/share/ament_index/resource_index/packages/nav2_bringup'
    index.parent.mkdir(parents=True)
    index.touch()
    return share


def test_ours_is_laid_over_theirs(nav2_bringup: Path, tmp_path: Path) -> None:
    theirs = yaml.safe_load((nav2_bringup / 'params/nav2_params.yaml').read_text())
    both = yaml.safe_load(write(tmp_path, nav2_bringup, OURS).parameters.read_text())
    assert both == laid_over(theirs, yaml.safe_load(OURS.read_text()))
    controller = both['controller_server']['ros__parameters']
    names = ('progress_checker_plugin', 'progress_checker_plugins')
    given = theirs['controller_server']['ros__parameters']
    assert [controller.get(name) for name in names] == [given.get(name) for name in names]
    assert (
        both['behavior_server']['ros__parameters']['spin']
        == (theirs['behavior_server']['ros__parameters']['spin'])
    )
    # Another plugin has other parameters: none of theirs is left.
    assert controller['FollowPath'] == ours('controller_server')['FollowPath']
    costmap = both['local_costmap']['local_costmap']['ros__parameters']
    assert costmap['robot_radius'] == 0.22
    before = theirs.get('local_costmap', {}).get('local_costmap', {}).get('ros__parameters', {})
    assert costmap.get('keepout_filter') == before.get('keepout_filter')


# The launch files


def begin(file: str, function: str, **arguments: str) -> list[Any]:
    """Do what a launch file does once its arguments are known."""
    with stand_ins():
        found = runpy.run_path(str(ROOT / 'launch' / file))
        context = {name: setting.default for name, setting in found['SETTINGS'].items()}
        made: list[Any] = found[function](defaultdict(str, {**context, **arguments}))
        return made


def one(kind: str, made: object) -> Made:
    (found,) = [part for part in parts(made) if part.kind == kind]
    return found


@pytest.mark.parametrize('nav2_bringup', ['kilted'], indirect=True)
def test_nav2_is_started_with_what_is_made_for_it(
    nav2_bringup: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path / 'prefix'))
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    made = begin('navigation.launch.py', '_navigation', use_sim_time='false')
    source = one('PythonLaunchDescriptionSource', made)
    assert source.arguments == (str(nav2_bringup / 'launch/bringup_launch.py'),)
    group = one('GroupAction', made)
    assert group.named == {'forwarding': False}, 'our arguments have names that Nav2 has as well'
    arguments = dict(one('IncludeLaunchDescription', group).named['launch_arguments'])
    assert arguments['use_sim_time'] == 'False'
    parameters = yaml.safe_load(Path(arguments['params_file']).read_text())
    assert parameters['amcl']['ros__parameters']['base_frame_id'] == 'base_link'
    Map.read(Path(arguments['map']))
    one('OnShutdown', made).named['on_shutdown']()
    assert not Path(arguments['map']).exists(), 'nothing is left behind'


def test_without_nav2_nothing_starts(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r'^navigation: .*nav2_bringup is not there; inst'):
        begin('navigation.launch.py', '_navigation')
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ('file', 'function', 'arguments', 'message'),
    [
        (
            'navigation.launch.py',
            '_navigation',
            {'nav2_params_file': '/nowhere.yaml'},
            'nav2_params_file: there is no /nowhere.yaml',
        ),
        (
            'navigation.launch.py',
            '_navigation',
            {'use_sim_time': 'maybe'},
            "use_sim_time: expected true or false, got 'maybe'",
        ),
        (
            'gazebo.launch.py',
            '_simulation',
            {'navigation': 'nav1'},
            "navigation: expected own or nav2, got 'nav1'",
        ),
        (
            'gazebo.launch.py',
            '_simulation',
            {'navigation': 'nav2', 'namespace': 'lab'},
            'namespace: expected none with navigation:=nav2, .* got .lab.',
        ),
    ],
)
def test_a_bad_argument_is_named(
    file: str, function: str, arguments: Mapping[str, str], message: str
) -> None:
    with pytest.raises((ValueError, FileNotFoundError), match=f'^{message}$'):
        begin(file, function, **arguments)


@pytest.mark.parametrize(
    ('arguments', 'tool_file', 'with_nav2'),
    [
        ({}, 'headless_robot.yaml', False),
        ({'navigation': 'nav2'}, 'headless_robot_nav2.yaml', True),
        ({'navigation': 'nav2', 'tool_file': '/of/mine.yaml'}, 'mine.yaml', True),
    ],
)
def test_gazebo_starts_nav2_and_its_tools(
    arguments: dict[str, str],
    tool_file: str,
    with_nav2: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip('mujoco', reason='mujoco is not here')
    (tmp_path / 'gz').write_text('')
    (tmp_path / 'gz').chmod(0o755)
    index = tmp_path / 'share/ament_index/resource_index/packages/ros_gz_bridge'
    index.parent.mkdir(parents=True)
    index.touch()
    monkeypatch.setenv('PATH', str(tmp_path))
    monkeypatch.setenv('AMENT_PREFIX_PATH', str(tmp_path))
    monkeypatch.setattr('tempfile.tempdir', str(tmp_path))
    made = begin('gazebo.launch.py', '_simulation', gazebo='harmonic', **arguments)
    name, path = one('SetLaunchConfiguration', made).arguments
    assert (name, Path(path).name) == ('tool_file', tool_file)
    kinds = [part.kind for part in parts(made)]
    assert ('IncludeLaunchDescription' in kinds) == with_nav2
    if with_nav2:
        assert kinds.index('IncludeLaunchDescription') < kinds.index('ExecuteProcess')
