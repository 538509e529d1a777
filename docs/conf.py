"""How the pages become a site: ``make docs`` builds it, and so does a test."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
MANIFEST = ElementTree.parse(ROOT / 'package.xml')
# What the package imports and not every machine has; what is there is not pretended.
HEAVY = ('launch', 'launch_ros', 'mujoco', 'rclpy', 'tensorrt_llm', 'torch', 'transformers')

project = MANIFEST.findtext('name')
author = copyright = MANIFEST.findtext('maintainer')
release = version = MANIFEST.findtext('version')

extensions = ['myst_parser', 'sphinx.ext.autodoc', 'sphinx.ext.autosummary']
myst_heading_anchors = 3
autodoc_default_options = {'members': True}
autodoc_member_order = 'bysource'
autodoc_mock_imports = [name for name in HEAVY if find_spec(name) is None]

html_theme = 'furo'
html_title = f'{project} {version}'
