"""Boards: what is read of the system, and which profile is chosen."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import boards
import pytest

from nemotron_ros.device import detect
from nemotron_ros.device.detect import Board, available_bytes, choose
from nemotron_ros.device.profile import Profile

GIB = 1 << 30


@pytest.fixture(autouse=True)
def arch(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect.platform, 'machine', lambda: 'x86_64')


def seen(system: boards.System, root: Path) -> Board:
    return detect.detect(system.write(root), system.run)


@pytest.mark.parametrize(
    ('system', 'expected', 'reason'),
    [
        (boards.THOR, 'jetson_thor', "the board tells 'AGX Thor'"),
        (boards.AGX_ORIN, 'jetson_agx_orin', "'AGX Orin'"),
        (boards.ORIN_NX, 'jetson_orin_nx', "'Orin NX'"),
        (boards.ORIN_NX_8, 'jetson_orin_nano', 'jetson_orin_nx needs 9.0 GiB and it has 7.4'),
        (boards.ORIN_NX_CARRIER, 'jetson_orin_nx', "'p3767-0000'"),
        (boards.ORIN_NANO, 'jetson_orin_nano', "'Orin Nano'"),
        (boards.SPARK, 'dgx_spark', "'DGX Spark'"),
        (boards.SPARK_OF_ANOTHER_MAKER, 'dgx_spark', "'GB10'"),
        (boards.RTX, 'rtx', 'the GPU is NVIDIA GeForce RTX 5090'),
        (boards.RTX_AMPERE, 'cpu', 'has compute capability 8.6, 8.9 is needed'),
        (boards.RTX_SMALL, 'cpu', 'RTX 4050 has 6.0 GiB, 8.3 are needed'),
        (boards.PLAIN, 'cpu', 'no NVIDIA GPU is found'),
    ],
)
def test_each_board_gets_its_profile(
    tmp_path: Path,
    profiles: Mapping[str, Profile],
    system: boards.System,
    expected: str,
    reason: str,
) -> None:
    choice = choose(seen(system, tmp_path), profiles)
    assert choice.profile.name == expected
    assert reason in choice.reason


def test_a_gpu_beside_another_processor_is_not_taken_for_a_pc(
    tmp_path: Path, profiles: Mapping[str, Profile], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(detect.platform, 'machine', lambda: 'aarch64')
    choice = choose(seen(boards.RTX, tmp_path), profiles)
    assert (choice.profile.name, choice.reason) == ('cpu', 'not rtx: it is for x86_64')


def test_a_jetson_tells_everything(tmp_path: Path) -> None:
    board = seen(boards.THOR, tmp_path)
    assert board.model == 'NVIDIA Jetson AGX Thor Developer Kit'
    assert board.compatible == 'nvidia,p3971-0050+p3834-0008 nvidia,tegra'
    assert (board.l4t, board.jetpack, board.driver) == ('R39.2.0', '7.2', '610.10')
    assert board.gpu == detect.Gpu('NVIDIA Thor', '11.0')
    assert board.ram_total_bytes / GIB == pytest.approx(122.8)
    assert available_bytes(board, 'unified') / GIB == pytest.approx(120.8)


@pytest.mark.parametrize(
    ('text', 'l4t', 'jetpack'),
    [
        ('# R36 (release), REVISION: 4.3, GCID: 38968081, BOARD: generic', 'R36.4.3', '6.2'),
        ('# R36 (release), REVISION: 4.0, GCID: 1', 'R36.4.0', '6.1'),
        ('# R38 (release), REVISION: 2.1, GCID: 1', 'R38.2.1', '7.0'),
        ('# R99 (release), REVISION: 1.0, GCID: 1', 'R99.1.0', ''),
        ('nonsense', '', ''),
    ],
)
def test_jetson_linux_tells_the_jetpack(tmp_path: Path, text: str, l4t: str, jetpack: str) -> None:
    board = seen(boards.System({'etc/nv_tegra_release': text}), tmp_path)
    assert (board.l4t, board.jetpack) == (l4t, jetpack)


@pytest.mark.parametrize(
    ('text', 'expected'),
    [
        ('UNIX x86_64 Kernel Module  550.54.14  Thu Feb 22\nGCC version: 12', '550.54.14'),
        ('UNIX Open Kernel Module for aarch64  580.00  Release Build\n', '580.00'),
        ('something else', ''),
    ],
)
def test_the_kernel_tells_the_driver_where_nvidia_smi_does_not(
    tmp_path: Path, text: str, expected: str
) -> None:
    assert (
        seen(
            boards.System({'proc/driver/nvidia/version': f'NVRM version: NVIDIA {text}'}), tmp_path
        ).driver
        == expected
    )


def test_the_memory_of_a_gpu_is_its_own(tmp_path: Path) -> None:
    board = seen(boards.RTX, tmp_path)
    assert available_bytes(board, 'gpu') == 31000 << 20
    assert available_bytes(board, 'ram') == 20 * GIB
    assert available_bytes(seen(boards.PLAIN, tmp_path), 'gpu') == 0


@pytest.mark.parametrize('text', ['', 'No devices were found', 'a, b', 'x, y, z, ?, 3 MiB\n'])
def test_what_nvidia_smi_says_wrong_is_no_gpu_with_memory(tmp_path: Path, text: str) -> None:
    gpu = seen(boards.System({}, {'nvidia-smi': text}), tmp_path).gpu
    assert gpu is None or gpu.total_bytes == gpu.free_bytes == 0


def test_a_computer_that_tells_nothing_is_taken(
    tmp_path: Path, profiles: Mapping[str, Profile]
) -> None:
    board = seen(boards.System(), tmp_path)
    assert (board.ram_total_bytes, board.ram_available_bytes) == (0, 0)
    assert choose(board, profiles).profile.name == 'cpu'


# Control groups: a container with less memory than the computer.


def grouped(files: Mapping[str, str]) -> boards.System:
    return boards.System({'proc/meminfo': boards.meminfo(32, 30), **files})


def test_the_limit_of_a_control_group_counts(tmp_path: Path) -> None:
    board = seen(
        grouped(
            {
                'proc/self/cgroup': '0::/robot/node\n',
                'sys/fs/cgroup/robot/node/memory.max': 'max\n',
                'sys/fs/cgroup/robot/node/memory.current': '5\n',
                'sys/fs/cgroup/robot/memory.max': f'{8 * GIB}\n',
                'sys/fs/cgroup/robot/memory.current': f'{3 * GIB}\n',
                'sys/fs/cgroup/robot/memory.stat': f'anon 1\ninactive_file {GIB}\n',
            }
        ),
        tmp_path,
    )
    assert (board.ram_total_bytes, board.ram_available_bytes) == (8 * GIB, 6 * GIB)


def test_the_limit_of_the_first_version_of_control_groups_counts(tmp_path: Path) -> None:
    board = seen(
        grouped(
            {
                'proc/self/cgroup': '3:cpu,cpuacct:/x\n2:memory:/box\n',
                'sys/fs/cgroup/memory/box/memory.limit_in_bytes': f'{4 * GIB}\n',
                'sys/fs/cgroup/memory/box/memory.usage_in_bytes': f'{GIB}\n',
                'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
                'sys/fs/cgroup/memory/memory.usage_in_bytes': f'{9 * GIB}\n',
            }
        ),
        tmp_path,
    )
    assert (board.ram_total_bytes, board.ram_available_bytes) == (4 * GIB, 3 * GIB)


def test_a_group_that_is_full_leaves_nothing(tmp_path: Path) -> None:
    board = seen(
        grouped(
            {
                'proc/self/cgroup': '0::/\n',
                'sys/fs/cgroup/memory.max': f'{GIB}\n',
                'sys/fs/cgroup/memory.current': f'{GIB + 4096}\n',
            }
        ),
        tmp_path,
    )
    assert board.ram_available_bytes == 0


# Tools of the system


def test_a_tool_that_is_absent_or_fails_says_nothing() -> None:
    assert detect.run_tool(['/nonexistent/tool']) == ''
    assert detect.run_tool(['/bin/sh', '-c', 'echo half; exit 3']) == ''
    assert detect.run_tool(['/bin/sh', '-c', 'echo whole']) == 'whole\n'


def test_a_tool_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(detect, 'TOOL_S', 0.2)
    began_s = time.monotonic()
    assert detect.run_tool(['/bin/sleep', '30']) == ''
    assert time.monotonic() - began_s < 5


def test_this_computer_is_looked_at() -> None:
    board = detect.detect()
    assert 0 < board.ram_available_bytes <= board.ram_total_bytes
