"""Names of ROS types: what they lead to, and what the errors say."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from geometry_msgs.msg import Twist
from std_srvs.srv import SetBool
from test_msgs.action import Fibonacci

from nemotron_ros.bridge.interfaces import (
    InterfaceError,
    load_action,
    load_message,
    load_service,
)

MESSAGE_FORM = 'expected the name of a message type, package/msg/Type, got '


@pytest.mark.parametrize(
    ('load', 'name', 'expected'),
    [
        (load_message, 'geometry_msgs/msg/Twist', Twist),
        (load_message, 'geometry_msgs/Twist', Twist),
        (load_service, 'std_srvs/srv/SetBool', SetBool),
        (load_service, 'std_srvs/SetBool', SetBool),
        (load_action, 'test_msgs/action/Fibonacci', Fibonacci),
        (load_action, 'test_msgs/Fibonacci', Fibonacci),
    ],
)
def test_names_lead_to_classes(load: Callable[[str], Any], name: str, expected: Any) -> None:
    assert load(name) is expected


@pytest.mark.parametrize(
    'name',
    [
        '',
        'Twist',
        'geometry_msgs',
        'geometry_msgs/msg/',
        'geometry_msgs/msg/Twist/',
        'geometry_msgs/msg/Twist\n',
        ' geometry_msgs/msg/Twist',
        '/geometry_msgs/msg/Twist',
        'geometry_msgs.msg/Twist',
        'geometry_msgs/msg/Twist.linear',
        'geometry_msgs/msg/__doc__',
        'geometry_msgs/msg/Twist_Request',
        'geometry__msgs/msg/Twist',
        'Geometry_msgs/msg/Twist',
        '../msg/Twist',
        'std_srvs/srv/Empty',
        'test_msgs/action/Fibonacci',
        'geometry_msgs/idl/Twist',
        None,
        3,
    ],
)
def test_ill_formed_names_are_refused(name: Any) -> None:
    with pytest.raises(InterfaceError) as caught:
        load_message(name)
    assert str(caught.value) == f'{MESSAGE_FORM}{name!r}'


def test_each_kind_names_its_own_form() -> None:
    with pytest.raises(InterfaceError, match='of a service type, package/srv/Type, got'):
        load_service('geometry_msgs/msg/Twist')
    with pytest.raises(InterfaceError, match='of an action type, package/action/Type, got'):
        load_action('std_srvs/srv/Empty')


@pytest.mark.parametrize(
    ('load', 'name', 'error'),
    [
        (load_message, 'absent_msgs/msg/Twist', 'the package absent_msgs is not there; '
         'install it, or source the workspace that has it'),
        (load_message, 'std_srvs/Empty', 'the package std_srvs has no message types'),
        (load_action, 'geometry_msgs/Twist', 'the package geometry_msgs has no action types'),
        (load_message, 'geometry_msgs/msg/Twits', 'the package geometry_msgs has no message '
         'type Twits; did you mean Twist?'),
        (load_message, 'geometry_msgs/msg/twist', 'the package geometry_msgs has no message '
         'type twist; did you mean Twist?'),
        (load_message, 'geometry_msgs/msg/Zzz', 'the package geometry_msgs has no message '
         'type Zzz'),
        (load_service, 'std_srvs/srv/SetBol', 'the package std_srvs has no service type '
         'SetBol; did you mean SetBool?'),
        (load_action, 'test_msgs/action/Fibonaci', 'the package test_msgs has no action type '
         'Fibonaci; did you mean Fibonacci?'),
    ],
)  # fmt: skip
def test_what_is_not_there_is_told(load: Callable[[str], Any], name: str, error: str) -> None:
    with pytest.raises(InterfaceError) as caught:
        load(name)
    assert str(caught.value) == error


@pytest.mark.parametrize('package', ['this', 'antigravity', 'idlelib'])
def test_other_modules_are_not_imported(package: str) -> None:
    sys.modules.pop(package, None)
    with pytest.raises(InterfaceError, match=f'the package {package} has no message types'):
        load_message(f'{package}/msg/Thing')
    assert package not in sys.modules


def test_a_broken_package_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / 'broken_msgs'
    (broken / 'msg').mkdir(parents=True)
    (broken / '__init__.py').touch()
    (broken / 'msg' / '__init__.py').write_text('import an_absent_module\n')
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.invalidate_caches()
    with pytest.raises(InterfaceError) as caught:
        load_message('broken_msgs/msg/Thing')
    assert str(caught.value) == (
        'the message types of the package broken_msgs cannot be loaded: '
        "No module named 'an_absent_module'"
    )


def test_a_package_may_come_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(InterfaceError, match='is not there'):
        load_message('late_msgs/msg/Thing')
    (tmp_path / 'late_msgs' / 'msg').mkdir(parents=True)
    (tmp_path / 'late_msgs' / '__init__.py').touch()
    (tmp_path / 'late_msgs' / 'msg' / '__init__.py').write_text(
        'from geometry_msgs.msg import Twist as Thing\n'
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    assert load_message('late_msgs/msg/Thing') is Twist
