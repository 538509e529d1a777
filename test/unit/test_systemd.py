"""The unit file: what systemd itself says of it, and what its promises to the node are."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from notify_socket import listening

ROOT = Path(__file__).resolve().parents[2]
UNIT = ROOT / 'config/systemd/nemotron.service'
ENVIRONMENT = ROOT / 'config/systemd/nemotron.env'
FIXTURES = ROOT / 'test/fixtures'
INSTALL = ROOT / 'install'


@pytest.fixture
def service() -> configparser.SectionProxy:
    """Give the section of the service."""
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(UNIT)
    return parser['Service']


def seconds(text: str) -> float:
    """Return a time span of a unit file."""
    number, unit = re.fullmatch(r'(\d+)(min|s)?', text).groups()
    return float(number) * (60 if unit == 'min' else 1)


@pytest.mark.skipif(not shutil.which('systemd-analyze'), reason='systemd is not on this machine')
def test_systemd_finds_no_fault() -> None:
    done = subprocess.run(
        ['systemd-analyze', 'verify', '--man=no', '--recursive-errors=no', str(UNIT)],
        capture_output=True,
        text=True,
        timeout=60,
    )
    about_it = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert (done.returncode, about_it) == (0, []), done.stderr


def test_a_watchdog_that_bites_lets_motion_end(service: configparser.SectionProxy) -> None:
    # The node ends in order by either signal; the default, SIGABRT, would leave a robot moving.
    assert service['WatchdogSignal'] == 'SIGTERM'
    assert service['KillSignal'] == 'SIGINT'
    assert service['KillMode'] == 'mixed', "the engine is the node's to end"
    # At worst: 5 s to give up loading, 6 s to end commands and calls, 10 s to end the engine,
    # 4 s to end callbacks.
    assert seconds(service['TimeoutStopSec']) >= 25
    assert seconds(service['TimeoutAbortSec']) >= 25
    assert service['Restart'] == 'on-failure'
    assert service['NotifyAccess'] == 'main'
    assert service['Type'] == 'notify'


def test_what_the_command_needs_is_in_the_environment_file(
    service: configparser.SectionProxy,
) -> None:
    named = set(re.findall(r'\$\$\{(\w+)\}', service['ExecStart']))
    said = re.findall(r'^(\w+)=', ENVIRONMENT.read_text(), flags=re.MULTILINE)
    assert named <= set(said)
    assert named == {'WORKSPACE', 'PARAMS_FILE'}


@pytest.mark.skipif(
    not (INSTALL / 'nemotron_ros').exists(), reason='the workspace is not built by colcon'
)
def test_the_command_becomes_the_node(service: configparser.SectionProxy, tmp_path: Path) -> None:
    pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')
    parameters = tmp_path / 'nemotron.yaml'
    parameters.write_text(
        f'/**:\n  ros__parameters:\n    engine: scripted\n'
        f'    script: {FIXTURES / "script_bench.yaml"}\n'
        f'    tool_file: {FIXTURES / "tools_bench.yaml"}\n'
    )
    command = shlex.split(service['ExecStart'].replace('$$', '$'))
    with listening(tmp_path) as systemd:
        environ = {
            **os.environ,
            'WORKSPACE': str(INSTALL),
            'PARAMS_FILE': str(parameters),
            'NOTIFY_SOCKET': systemd.address,
            'WATCHDOG_USEC': '500000',
        }
        with subprocess.Popen(command, env=environ, start_new_session=True) as process:
            try:
                assert systemd.hears('READY=1', 30.0)
                assert systemd.hears('WATCHDOG=1', 5.0)
                program = Path(f'/proc/{process.pid}/cmdline').read_bytes()
                assert b'nemotron_node' in program
                assert b'/bin/bash' not in program, 'the shell has become the node'
                process.send_signal(signal.SIGINT)
                assert process.wait(15.0) == 0
            finally:
                process.kill()
        assert 'STOPPING=1' in systemd.told()
