"""Which tools are in force, and when those before them are let go."""

from __future__ import annotations

from recorder import ROBOT, Recorder, dispatcher

from nemotron_ros.agent.toolset import InForce, Toolset


def toolset(name: str, gone: list[str]) -> Toolset:
    return Toolset(ROBOT, dispatcher(Recorder()), (), (), lambda: gone.append(name))


def test_tools_are_let_go_when_the_last_who_uses_them_has_ended() -> None:
    gone: list[str] = []
    first, second = toolset('first', gone), toolset('second', gone)
    in_force = InForce(first)
    with in_force.use() as mine:
        with in_force.use():
            in_force.replace(second)
            assert mine is first
            assert in_force.current is second
            with in_force.use() as following:
                assert following is second
        assert gone == []
    assert gone == ['first']


def test_tools_that_nobody_uses_are_let_go_at_once_and_those_in_force_never() -> None:
    gone: list[str] = []
    in_force = InForce(toolset('first', gone))
    with in_force.use():
        pass
    assert gone == []
    in_force.replace(toolset('second', gone))
    assert gone == ['first']


def test_who_fails_lets_go_as_well() -> None:
    gone: list[str] = []
    in_force = InForce(toolset('first', gone))
    try:
        with in_force.use():
            in_force.replace(toolset('second', gone))
            raise ValueError('a bug')
    except ValueError:
        assert gone == ['first']
