"""Tells what only the Python environment of TensorRT Edge-LLM knows; run by its interpreter.

It takes one argument, a JSON object with ``checkpoint``, ``cache`` and the three sizes, and
prints one. Nothing of this package can be imported here.
"""

import json
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version


def main() -> None:
    """Print the versions, and the folder where the server looks for the engine."""
    asked = json.loads(sys.argv[1])
    told = {'edge_llm': _version('tensorrt-edgellm'), 'tensorrt': '', 'engine_dir': ''}
    try:
        told['tensorrt'] = import_module('tensorrt').__version__
    except (ImportError, OSError) as error:
        told['tensorrt_fault'] = str(error)
    if told['edge_llm'] and asked['checkpoint']:
        engine_build = import_module('experimental.server.runtime.engine_build')
        options = engine_build.BuildOptions(**asked['sizes'])
        told['engine_dir'] = engine_build.bundle_cache_path(
            asked['checkpoint'], asked['cache'], options
        )
    print(json.dumps(told))


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ''


if __name__ == '__main__':
    main()
