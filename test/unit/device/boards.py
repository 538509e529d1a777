"""Boards as their systems show themselves: files of /proc, /etc and /sys, and what tools print."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

MEMINFO = 'MemTotal:       {total} kB\nMemFree:        1000 kB\nMemAvailable:   {available} kB\n'


@dataclass(frozen=True)
class System:
    """A computer of the tests: its files by path, and what its tools print by name."""

    files: Mapping[str, str] = field(default_factory=dict)
    tools: Mapping[str, str] = field(default_factory=dict)

    def write(self, root: Path) -> Path:
        """Write its files below ``root``."""
        for name, text in self.files.items():
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return root

    def run(self, command: Sequence[str]) -> str:
        """Print what the tool prints; nothing if there is no such tool."""
        return self.tools.get(command[0], '')


def meminfo(total_gib: float, available_gib: float) -> str:
    return MEMINFO.format(total=int(total_gib * 2**20), available=int(available_gib * 2**20))


def jetson(
    model: str, compatible: str, release: str, revision: str, gib: float, smi: str = ''
) -> System:
    """A Jetson: its model with a zero at the end, as the device tree has it."""
    return System(
        {
            'proc/device-tree/model': f'{model}\0',
            'proc/device-tree/compatible': f'{compatible}\0nvidia,tegra\0',
            'etc/nv_tegra_release': (
                f'# {release} (release), REVISION: {revision}, GCID: 1, BOARD: generic, '
                'EABI: aarch64, DATE: Mon Sep 28 20:00:00 UTC 2026\n'
            ),
            'proc/meminfo': meminfo(gib, gib - 2),
        },
        {'nvidia-smi': smi} if smi else {},
    )


THOR = jetson(
    'NVIDIA Jetson AGX Thor Developer Kit',
    'nvidia,p3971-0050+p3834-0008',
    'R39',
    '2.0',
    122.8,
    'NVIDIA Thor, 610.10, 11.0, [N/A], [N/A]\n',
)
AGX_ORIN = jetson(
    'NVIDIA Jetson AGX Orin Developer Kit', 'nvidia,p3737-0000+p3701-0005', 'R39', '2.0', 61.4
)
ORIN_NX = jetson(
    'NVIDIA Jetson Orin NX Engineering Reference Developer Kit',
    'nvidia,p3768-0000+p3767-0000',
    'R39',
    '2.0',
    15.3,
)
ORIN_NX_8 = jetson(
    'NVIDIA Jetson Orin NX Engineering Reference Developer Kit',
    'nvidia,p3768-0000+p3767-0001',
    'R39',
    '2.0',
    7.4,
)
ORIN_NX_CARRIER = jetson('Somebody Robotics Carrier', 'nvidia,p3767-0000', 'R36', '4.3', 15.3)
ORIN_NANO = jetson(
    'NVIDIA Jetson Orin Nano Engineering Reference Developer Kit Super',
    'nvidia,p3768-0000+p3767-0005-super',
    'R36',
    '4.4',
    7.4,
)
SPARK = System(
    {
        'sys/class/dmi/id/product_name': 'NVIDIA_DGX_Spark\n',
        'proc/meminfo': meminfo(119.7, 100),
    },
    {'nvidia-smi': 'NVIDIA GB10, 580.95.05, 12.1, [N/A], [N/A]\n'},
)
SPARK_OF_ANOTHER_MAKER = System(
    {'sys/class/dmi/id/product_name': 'GX10\n', 'proc/meminfo': meminfo(119.7, 100)},
    {'nvidia-smi': 'NVIDIA GB10, 580.95.05, 12.1, [N/A], [N/A]\n'},
)
PC = {'sys/class/dmi/id/product_name': 'MS-7E06\n', 'proc/meminfo': meminfo(31.2, 20)}
RTX = System(
    PC,
    {
        'nvidia-smi': 'NVIDIA GeForce RTX 5090, 580.95.05, 12.0, 32607, 31000\n'
        'NVIDIA GeForce RTX 4090, 580.95.05, 8.9, 24564, 24000\n'
    },
)
RTX_AMPERE = System(PC, {'nvidia-smi': 'NVIDIA GeForce RTX 3090, 580.95.05, 8.6, 24576, 24000\n'})
RTX_SMALL = System(PC, {'nvidia-smi': 'NVIDIA GeForce RTX 4050, 580.95.05, 8.9, 6141, 5800\n'})
PLAIN = System(PC)
