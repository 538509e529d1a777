"""Point the ROS 2 wheels of a virtual environment at that environment.

The wheels were made in a build image, and the CMake files and index entries in
them still name that image's Python (`/opt/python/cp311-cp311/...`). A C or C++
package builds against the wheels only once these names lead to the headers of
the Python, and of the numpy, that are really there.

Run it with the environment's own Python after every installation of wheels.
What has been put right once is left alone.
"""

from __future__ import annotations

import re
import sys
import sysconfig
from pathlib import Path

IMAGE = r'/opt/python/cp3\d+-cp3\d+t?(?![\w.])'
PYTHON_HEADERS = re.compile(IMAGE + r'/include/python3\.\d+t?(?![\w.])')
NUMPY_HEADERS = re.compile(
    IMAGE + r'/lib/python3\.\d+t?/site-packages/numpy/(?:_core|core)/include(?![\w.])'
)
PREFIX = re.compile(IMAGE)


def corrected(text: str, prefix: str, python_headers: str, numpy_headers: str) -> str:
    """Return a file's text with every path of the build image replaced."""
    for pattern, path in (
        (PYTHON_HEADERS, python_headers),
        (NUMPY_HEADERS, numpy_headers),
        (PREFIX, prefix),
    ):
        # A backslash in a path is no reference to a group.
        text = pattern.sub(path.replace('\\', r'\\'), text)
    return text


def fix(prefix: Path, python_headers: str, numpy_headers: str) -> int:
    """Correct the wheels' files below ``prefix``; return how many had to change."""
    share = prefix / 'share'
    changed = 0
    for path in (
        *share.glob('*/cmake/*.cmake'),
        *share.glob('ament_index/resource_index/parent_prefix_path/*'),
    ):
        old = path.read_text(encoding='utf-8')
        new = corrected(old, prefix.as_posix(), python_headers, numpy_headers)
        if new != old:
            # pip may have hard-linked the file out of a cache: put a new one in its place.
            path.unlink()
            path.write_text(new, encoding='utf-8')
            changed += 1
    return changed


def main() -> int:
    """Correct the environment of the running Python."""
    import numpy

    headers = sysconfig.get_path('include')
    if not Path(headers, 'Python.h').is_file():
        print(f'{headers}/Python.h is missing: install python3-dev', file=sys.stderr)
        return 1
    fix(Path(sys.prefix), headers, numpy.get_include())
    return 0


if __name__ == '__main__':
    sys.exit(main())
