from __future__ import annotations

from pathlib import Path

from setuptools import find_packages, setup

NAME = 'nemotron_ros'
SHARE = f'share/{NAME}'


def files_under(folder: str) -> list[tuple[str, list[str]]]:
    """Return data_files entries that put the files of a folder into share, as they lie."""
    parents: dict[str, list[str]] = {}
    for path in sorted(Path(folder).rglob('*')):
        if path.is_file() and '__pycache__' not in path.parts:
            parents.setdefault(f'{SHARE}/{path.parent.as_posix()}', []).append(path.as_posix())
    return list(parents.items())


def listed(file: str) -> list[str]:
    """Return the requirements that a file of pip's lists, without its comments."""
    # colcon runs a link to this file in its build folder.
    path = Path(__file__).resolve().parent / file
    lines = path.read_text(encoding='utf-8').splitlines()
    return [line for line in lines if line and not line.startswith('#')]


setup(
    name=NAME,
    version='0.1.0',
    packages=find_packages(include=[NAME, f'{NAME}.*']),
    package_data={NAME: ['py.typed']},
    data_files=[
        ('share/ament_index/resource_index/packages', [f'resource/{NAME}']),
        (SHARE, ['package.xml']),
        # ROS keeps executables in lib/<package>; this one belongs on a person's PATH as well.
        ('bin', ['scripts/nemotron']),
        *files_under('launch'),
        *files_under('config'),
        *files_under('examples'),
    ],
    python_requires='>=3.10',
    # What rosdep installs by package.xml is not asked for again.
    install_requires=['setuptools'],
    extras_require={
        'all': listed('requirements/base.txt'),
        'mcp': ['mcp>=2'],
        'test': ['pytest'],
    },
    zip_safe=False,
    maintainer='nemotron_ros maintainers',
    maintainer_email='nemotron-ros@users.noreply.github.com',
    description='Commands in natural language for ROS 2 robots, run by a local language model.',
    license='Apache-2.0',
    entry_points={
        'console_scripts': [
            'nemotron = nemotron_ros.cli:main',
            'nemotron_node = nemotron_ros.node:main',
            'headless_robot = nemotron_ros.sim.node:main',
            'gazebo_robot = nemotron_ros.sim.gazebo_robot:main',
        ],
    },
)
