"""What becomes of a robot when a part of it fails: survived, told truthfully, moved afterwards.

A simulated robot, the servers of its tools, a model server and the node run as processes of their
own. Each fault is injected in the middle of a command, some times over; then the part is brought
back. A fault is *survived* if the next command is obeyed, *told truthfully* if what the person
was told agrees with what the physics and the servers themselves recorded, and nothing may have
*moved afterwards*. ::

    . scripts/env.bash
    PYTHONPATH=test/fixtures python bench/faults.py
    PYTHONPATH=test/fixtures python bench/faults.py --times 20 --only 'action server hangs'

Exit code 1 unless every row is N of N, N of N, and 0 of N.
"""

from __future__ import annotations

import argparse
import re
import resource
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ros_domain import take_domain
from whole_robot import Told, WholeRobot, wait_until, whole_robot

TIMES = 2
SPEED_MPS = 0.2
TOLERANCE_M = 0.08
"""Between what was asked of the base and where it is: it speeds up and slows down."""
WATCHDOG_S = 0.5
"""The simulated base's own: without a velocity for so long, it stops."""
NOTICE_S = 0.5
"""Beside it, for the base to slow down and to be asked."""
SHORT_S = 1.5
"""The time of a command that has to run out of it."""
GARBAGE = ('garbage', 'a list', 'what is not UTF-8', 'breaks off', 'a line of 10 MB')

RECORD = re.compile(r'ready|(switch|count) \w+')
"""What the servers of the tools say of themselves."""

Robot = WholeRobot


class StillMovesError(AssertionError):
    """The base went on when nothing told it to any more."""


def nothing(robot: Robot) -> None:
    """Repair nothing."""


@dataclass(frozen=True)
class Fault:
    """One way to hurt the robot, and what may truthfully be told about it.

    :param inject: hurts it amid a command, for the so-manieth time; returns what was told.
    :param told: the statuses of the command that are true.
    :param calls: the statuses of its calls that are true.
    :param recorded: what the servers of the tools must have said, in order; None: whatever.
    :param repair: brings the part back.
    :param obeys: commands that must be obeyed then.
    """

    inject: Callable[[Robot, int], Told]
    told: tuple[str, ...]
    calls: tuple[str, ...] = ()
    recorded: tuple[str, ...] | None = None
    repair: Callable[[Robot], None] = nothing
    obeys: tuple[str, ...] = ('drive a little',)
    keeps_place: bool = True


# The model server


def model_again(robot: Robot) -> None:
    """Have a model server as it should be."""
    robot.model.end()
    robot.start_model()


def model_killed(robot: Robot, number: int) -> Told:
    return robot.amid('think for long', lambda: robot.has_asked_the_model(False), robot.model.kill)


def model_killed_after(robot: Robot, number: int) -> Told:
    return robot.amid('drive a little', robot.drives, lambda: held_then_killed(robot))


def held_then_killed(robot: Robot) -> None:
    """Hold the model server until it is asked again, and kill it then: it can't answer before."""
    robot.model.hold()
    wait_until(lambda: robot.has_asked_the_model(True), 10.0, 'the model is not asked again')
    robot.model.kill()


def model_hangs(robot: Robot, number: int) -> Told:
    robot.model.hold()
    return robot.send('drive a little', SHORT_S)


def model_slow(robot: Robot, number: int) -> Told:
    return robot.send('think for long', SHORT_S)


def model_babbles(robot: Robot, number: int) -> Told:
    robot.model.end()
    robot.start_model(GARBAGE[number % len(GARBAGE)])
    return robot.send('drive on')


# The servers of tools


def tools_again(robot: Robot) -> None:
    """Have servers as they should be."""
    robot.tools.end()
    robot.tools.start()
    robot.find_tools()


def with_servers(robot: Robot, found_by: str, *options: object) -> None:
    """Have servers one of which does what it should not; by the other one they are found."""
    robot.tools.end()
    robot.tools.start(*options)
    robot.find_tools(found_by)


def heard(robot: Robot, line: str) -> Callable[[], bool]:
    return lambda: line in robot.tools.said()


def service_killed(robot: Robot, number: int) -> Told:
    with_servers(robot, 'count', '--silent-s', 5)
    return robot.amid('switch on', heard(robot, 'switch asked'), robot.tools.kill)


def service_hangs(robot: Robot, number: int) -> Told:
    robot.tools.hold()
    return robot.send('switch on')


def service_slow(robot: Robot, number: int) -> Told:
    with_servers(robot, 'count', '--silent-s', 2.5)
    told = robot.send('switch on')
    wait_until(heard(robot, 'switch done'), 5.0, 'the service has not done it after all')
    return told


def service_fails(robot: Robot, number: int) -> Told:
    return robot.send('switch off')


def anew(robot: Robot) -> None:
    """Kill the servers of the tools, and start others in their place."""
    robot.tools.kill()
    robot.tools.start()
    wait_until(heard(robot, 'ready'), 10.0, 'the servers do not start')


def service_anew(robot: Robot, number: int) -> Told:
    with_servers(robot, 'count', '--silent-s', 5)
    return robot.amid('switch on', heard(robot, 'switch asked'), lambda: anew(robot))


def action_killed(robot: Robot, number: int) -> Told:
    return robot.amid('count far', heard(robot, 'count asked'), robot.tools.kill, SHORT_S)


def action_hangs(robot: Robot, number: int) -> Told:
    return robot.amid('count far', heard(robot, 'count asked'), robot.tools.hold, SHORT_S)


def action_slow(robot: Robot, number: int) -> Told:
    return robot.send('count far', SHORT_S)


def action_aborts(robot: Robot, number: int) -> Told:
    with_servers(robot, 'switch', '--count', 'abort')
    return robot.send('count a little')


def action_anew(robot: Robot, number: int) -> Told:
    return robot.amid('count far', heard(robot, 'count asked'), lambda: anew(robot), SHORT_S)


# The robot itself


def robot_killed(robot: Robot, number: int) -> Told:
    return robot.amid('drive until there', robot.drives, robot.sim.kill)


def robot_again(robot: Robot) -> None:
    robot.sim.start()
    robot.truth()


def robot_hangs(robot: Robot, number: int) -> Told:
    return robot.amid('drive until there', robot.drives, robot.sim.hold)


# Time


def clock_jumps(by_s: float) -> Callable[[Robot, int], Told]:
    """Return what has the simulated time jump while it drives."""

    def inject(robot: Robot, number: int) -> Told:
        robot.node.end()
        robot.start_node(use_sim_time=True)
        wait_until(robot.clock.is_heard, 10.0, 'the node does not hear the clock')
        robot.reset()
        return robot.amid('drive on', robot.drives, lambda: robot.clock.jump(by_s))

    return inject


def node_again(robot: Robot) -> None:
    """Have a node as it should be."""
    robot.node.end()
    robot.start_node()


# The node


def disk_full(robot: Robot, number: int) -> Told:
    """No byte more for any file: a limit, which ends a write as a full disk does."""
    assert robot.node.child is not None
    pid = robot.node.child.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, before[1]))
    told = robot.send('drive a little')
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    wait_until(
        lambda: any('can not be written' in line for line in robot.node.said()),
        5.0,
        'the trace was lost without a word',
    )
    return told


def another_of_its_name(robot: Robot, number: int) -> Told:
    def start_another() -> None:
        lines = len(robot.node.said_ever())
        other = robot.node.another()
        assert other.wait(20.0) == 1, 'the second node runs'
        said = robot.node.said_ever()[lines:]
        assert any('runs on this machine already' in line for line in said), said

    return robot.amid('drive on', robot.drives, start_another)


def at_rest(robot: Robot, within_s: float) -> None:
    """Hold the base to it that it comes to rest.

    :raise StillMovesError: if it does not, in time.
    """
    took_s = robot.rests_after_s()
    if took_s > within_s:
        raise StillMovesError(f'the base moved for {took_s:.1f} s')


def node_killed(robot: Robot, number: int) -> Told:
    def kill() -> None:
        robot.node.kill()
        at_rest(robot, WATCHDOG_S + NOTICE_S)
        robot.start_node()

    return robot.amid('drive far', robot.drives, kill)


def node_told_to_end(how: signal.Signals) -> Callable[[Robot, int], Told]:
    """Return what ends the node in order while it drives."""

    def inject(robot: Robot, number: int) -> Told:
        def end() -> None:
            assert robot.node.child is not None
            robot.node.signal(how)
            assert robot.node.child.wait(5.0) == 0, 'the exit code is not 0'
            speeds = robot.said_to_base.speeds
            wait_until(lambda: speeds[-1:] == [0.0], 1.0, 'no closing message was sent')
            at_rest(robot, NOTICE_S)

        return robot.amid('drive far', robot.drives, end)

    return inject


FAULTS = {
    'model server killed': Fault(model_killed, ('engine_failed',), repair=model_again),
    'model server killed after a call': Fault(
        model_killed_after, ('engine_failed',), ('succeeded',), repair=model_again
    ),
    'model server hangs': Fault(model_hangs, ('timed_out',), repair=lambda r: r.model.let_go()),
    'model server slow': Fault(model_slow, ('timed_out',)),
    'model server sends garbage': Fault(model_babbles, ('engine_failed',), repair=model_again),
    'service killed': Fault(
        service_killed, ('not_done',), ('unknown',), ('switch asked',), tools_again,
        ('drive a little', 'switch on'),
    ),
    'service hangs': Fault(
        service_hangs, ('not_done',), ('unknown',), None, lambda r: r.tools.let_go(),
        ('drive a little', 'switch on'),
    ),
    'service slow': Fault(
        service_slow, ('not_done',), ('unknown',), ('switch asked', 'switch done'), tools_again,
        ('drive a little', 'switch on'),
    ),
    'service fails': Fault(
        service_fails, ('not_done',), ('failed',), ('switch asked', 'switch failed'),
    ),
    'service started anew amid a call': Fault(
        service_anew, ('not_done',), ('unknown',), ('ready',), tools_again,
        ('drive a little', 'switch on'),
    ),
    'action server killed': Fault(
        action_killed, ('timed_out', 'not_done'), ('unknown',), ('count asked',), tools_again,
        ('drive a little', 'count a little'),
    ),
    'action server hangs': Fault(
        action_hangs, ('timed_out', 'not_done'), ('unknown',), ('count asked',), tools_again,
        ('drive a little', 'count a little'),
    ),
    'action server slow': Fault(
        action_slow, ('timed_out',), ('timed_out',), ('count asked', 'count canceled'),
    ),
    'action server aborts': Fault(
        action_aborts, ('not_done',), ('failed',), ('count asked', 'count failed'), tools_again,
        ('drive a little', 'count a little'),
    ),
    'action server started anew amid a goal': Fault(
        action_anew, ('not_done', 'timed_out'), ('unknown',), ('ready',), tools_again,
        ('drive a little', 'count a little'),
    ),
    'robot killed, and back': Fault(
        robot_killed, ('not_done',), ('failed',), repair=robot_again, keeps_place=False,
    ),
    'robot hangs, and goes on': Fault(
        robot_hangs, ('not_done',), ('failed',), repair=lambda r: r.sim.let_go(),
    ),
    'simulated clock jumps forward': Fault(
        clock_jumps(1000.0), ('succeeded',), ('succeeded',), repair=node_again
    ),
    'simulated clock jumps back': Fault(
        clock_jumps(-1000.0), ('succeeded',), ('succeeded',), repair=node_again
    ),
    'disk full for the trace': Fault(disk_full, ('succeeded',), ('succeeded',)),
    'two nodes of one name': Fault(another_of_its_name, ('succeeded',), ('succeeded',)),
    'node killed (SIGKILL)': Fault(node_killed, ('not known',)),
    'node told to end (SIGINT)': Fault(
        node_told_to_end(signal.SIGINT), ('stopped', 'not known'), ('canceled',),
        repair=node_again,
    ),
    'node told to end (SIGTERM)': Fault(
        node_told_to_end(signal.SIGTERM), ('stopped', 'not known'), ('canceled',),
        repair=node_again,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """What became of the robot, once; ``wrong`` says in words what should not have been."""

    survived: bool
    truthful: bool
    moved: bool
    told: Told
    wrong: tuple[str, ...] = ()


@dataclass
class Row:
    """What became of it every time."""

    name: str
    seen: list[Seen]

    @property
    def good(self) -> bool:
        """Whether it survived and told the truth each time, and never moved afterwards."""
        return all(s.survived and s.truthful and not s.moved for s in self.seen)

    def line(self) -> str:
        """Return the row of the table."""
        n = len(self.seen)
        survived = sum(s.survived for s in self.seen)
        truthful = sum(s.truthful for s in self.seen)
        moved = sum(s.moved for s in self.seen)
        told = ', '.join(sorted({_told(s.told) for s in self.seen}))
        return f'| {self.name} | {survived}/{n} | {truthful}/{n} | {moved}/{n} | {told} |'


HEAD = (
    '| fault | survived | told truthfully | moved afterwards | what was told |\n'
    '|---|---|---|---|---|'
)


def _told(told: Told) -> str:
    calls = ', '.join(f'{name} {status}' for name, _, status in told.calls)
    return f'{told.status} ({calls})' if calls else told.status


def injected(robot: Robot, fault: Fault, number: int) -> Seen:
    """Inject a fault, bring the part back, and judge."""
    robot.reset()
    robot.tools.forget()
    before = robot.truth()
    wrong: list[str] = []
    told, moved = Told('not judged'), False
    try:
        told = fault.inject(robot, number)
    except AssertionError as error:
        wrong.append(str(error))
        moved = isinstance(error, StillMovesError)
    wrong += _untrue(robot, fault, told)
    fault.repair(robot)
    moved |= not robot.rests()
    if fault.keeps_place:
        wrong += _misplaced(told, robot.moved_m(before))
    truthful = not wrong
    lost = _not_obeyed(robot, fault)
    wrong += lost
    return Seen(not lost, truthful, moved, told, tuple(wrong))


def _untrue(robot: Robot, fault: Fault, told: Told) -> list[str]:
    """Return where what was told is not what the fault makes true, or what the servers say."""
    wrong = []
    if told.status not in fault.told:
        wrong.append(f'told: {told.status} ({told.error}), expected {" or ".join(fault.told)}')
    if told.status != 'not known' and told.statuses != fault.calls:
        wrong.append(f'calls: told {told.statuses}, expected {fault.calls}')
    # Not what DDS says there, of shared memory that it could not have.
    recorded = tuple(line for line in robot.tools.said() if RECORD.fullmatch(line))
    if fault.recorded not in (None, recorded):
        wrong.append(f'the servers say {recorded}, expected {fault.recorded}')
    return wrong


def _misplaced(told: Told, moved_m: float) -> list[str]:
    """Return where the calls, as told, and the place of the base contradict each other."""
    ways = [
        (arguments['seconds'] * SPEED_MPS, status)
        for name, arguments, status in told.calls
        if name == 'drive'
    ]
    least_m = sum(way_m for way_m, status in ways if status == 'succeeded')
    most_m = sum(way_m for way_m, status in ways if status not in ('denied', 'not_run'))
    if told.status == 'not known' or 'drive_until' in (name for name, _, _ in told.calls):
        most_m = float('inf')
    if least_m - TOLERANCE_M <= moved_m <= most_m + TOLERANCE_M:
        return []
    return [f'it moved {moved_m:.2f} m, and from {least_m:.2f} to {most_m:.2f} m were told']


def _not_obeyed(robot: Robot, fault: Fault) -> list[str]:
    """Return what is not obeyed once the part is back."""
    wrong = [f'{part.name} has ended' for part in robot.parts if not part.alive()]
    for command in () if wrong else fault.obeys:
        told = robot.send(command)
        if told.status != 'succeeded':
            wrong.append(f'then: {command}: {told}')
    return wrong


def run(times: int, names: Sequence[str], tell: Callable[[str], None] = print) -> list[Row]:
    """Inject the faults; return what was seen, and tell each row as it is known."""
    rows = []
    with tempfile.TemporaryDirectory() as folder, whole_robot(Path(folder)) as robot:
        for name in names:
            row = Row(name, [injected(robot, FAULTS[name], number) for number in range(times)])
            rows.append(row)
            tell(row.line())
            for line in (line for seen in row.seen for line in seen.wrong):
                tell(f'WRONG: {line}')
    return rows


def main() -> int:
    """Run, print, judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or '').partition('\n')[0])
    parser.add_argument('--times', type=int, default=TIMES, help='how often each is injected')
    parser.add_argument('--only', action='append', choices=FAULTS, help='this one alone')
    arguments = parser.parse_args()
    began_s = time.monotonic()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # which ends every part
    print(HEAD)
    with take_domain():
        rows = run(max(1, arguments.times), arguments.only or list(FAULTS), _print)
    took_s = time.monotonic() - began_s
    print(f'\n{len(rows)} faults, {sum(len(row.seen) for row in rows)} injections, {took_s:.0f} s')
    return 0 if all(row.good for row in rows) else 1


def _print(line: str) -> None:
    print(line, flush=True)


if __name__ == '__main__':
    sys.exit(main())
