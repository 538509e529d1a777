"""The containers, as far as they can be held without an engine that runs them."""

from __future__ import annotations

import http.server
import os
import re
import shlex
import subprocess
import threading
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from nemotron_ros.device.profile import load_profiles
from nemotron_ros.engine.model_files import load_catalogue

ROOT = Path(__file__).resolve().parents[2]
DOCKER = ROOT / 'docker'
DOCKERFILES = sorted(DOCKER.glob('*.Dockerfile'))
COMPOSE = sorted(DOCKER.glob('compose.*.yaml'))
PROFILES = load_profiles(ROOT / 'config/devices')
CATALOGUE = load_catalogue(ROOT / 'config/models.yaml')

# What an image is built with, and package.xml therefore has no word of.
TO_BUILD_WITH = {'python3-venv'}
# An image that its maker gives no other tag.
MOVING = {'ghcr.io/nvidia-ai-iot/llama_cpp:latest-jetson-orin'}


@dataclass(frozen=True)
class Line:
    """An instruction of a Dockerfile."""

    word: str
    rest: str


def instructions(path: Path) -> list[Line]:
    """Return a Dockerfile's instructions, continued lines joined."""
    text = re.sub(r'^#.*\n', '', path.read_text(), flags=re.MULTILINE)
    joined = re.sub(r'\\\n\s*', ' ', text)
    return [Line(*line.split(None, 1)) for line in joined.splitlines() if line.strip()]


def apt_packages(line: str) -> list[str]:
    """Return what a RUN installs by apt."""
    found = []
    for command in re.split(r'&&|;', line):
        words = shlex.split(command)
        if words[:2] == ['apt-get', 'install']:
            assert '--no-install-recommends' in words
            found += [word for word in words[2:] if not word.startswith('-')]
    return found


def merged(path: Path) -> dict[str, Any]:
    """Return a compose file's services, with what they extend."""
    services = yaml.safe_load(path.read_text())['services']
    for service in services.values():
        base = service.pop('extends', None)
        if base:
            file = yaml.safe_load((path.parent / base['file']).read_text())
            for key, value in file['services'][base['service']].items():
                if isinstance(value, dict):
                    service[key] = {**value, **service.get(key, {})}
                else:
                    service.setdefault(key, value)
    return services


@pytest.mark.parametrize('path', DOCKERFILES, ids=lambda path: path.stem)
def test_a_dockerfile_is_made_with_care(path: Path) -> None:
    lines = instructions(path)
    arguments = dict(line.rest.split('=', 1) for line in lines if line.word == 'ARG')
    for line in lines:
        if line.word == 'FROM':
            image = re.sub(r'\$\{(\w+)\}', lambda match: arguments[match[1]], line.rest.split()[0])
            tag = image.rpartition('/')[2].partition(':')[2]
            assert tag not in ('', 'latest'), f'{image} has no tag of its own'
        if line.word == 'RUN' and 'apt-get' in line.rest:
            assert line.rest.lstrip().startswith('apt-get update')
            assert line.rest.endswith('rm -rf /var/lib/apt/lists/*')
        assert line.word != 'ADD'
        assert 'sudo ' not in line.rest
    user = [line.rest for line in lines if line.word == 'USER']
    assert user, 'who runs it is not root'
    assert user[-1] not in ('root', '0')
    assert '--no-cache-dir' in ''.join(line.rest for line in lines if ' install ' in line.rest)


@pytest.mark.parametrize('path', DOCKERFILES, ids=lambda path: path.stem)
def test_what_a_dockerfile_copies_is_there(path: Path) -> None:
    for line in instructions(path):
        words = line.rest.split()
        if line.word == 'COPY' and not words[0].startswith('--from='):
            for source in words[:-1]:
                assert (ROOT / source).exists(), source


def test_the_node_has_what_its_manifest_lists_and_nothing_else() -> None:
    lines = instructions(DOCKER / 'node.Dockerfile')
    last = max(i for i, line in enumerate(lines) if line.word == 'FROM')
    installed = {package for line in lines[last:] for package in apt_packages(line.rest)}
    keys = set()
    for folder in ('.', 'msg'):
        text = (ROOT / folder / 'package.xml').read_text()
        keys |= set(re.findall(r'<(?:exec_)?depend>([\w-]+)</', text))
    keys -= {'nemotron_msgs'}
    system = yaml.safe_load((ROOT / 'test/fixtures/rosdistro_keys.yaml').read_text())['system']
    names = {f'ros-$ROS_DISTRO-{key.replace("_", "-")}' for key in keys - set(system)}
    names |= {package for key in keys & set(system) for package in system[key]}
    assert installed == names
    building = {package for line in lines[:last] for package in apt_packages(line.rest)}
    assert building <= TO_BUILD_WITH


def test_the_image_has_all_that_setup_py_installs() -> None:
    copied = ' '.join(
        line.rest for line in instructions(DOCKER / 'node.Dockerfile') if line.word == 'COPY'
    )
    for folder in re.findall(r"files_under\('(\w+)'\)", (ROOT / 'setup.py').read_text()):
        assert f'{folder} nemotron_ros/{folder}' in copied


def test_the_edge_server_is_the_one_of_the_profiles() -> None:
    text = (DOCKER / 'edge_llm.Dockerfile').read_text()
    for name in ('jetson_thor', 'jetson_agx_orin', 'jetson_orin_nx'):
        wanted, _, version = PROFILES[name].needs.package.partition('==')
        assert f'"{wanted}[server]=={version}"' in text
        assert f'venv --system-site-packages {PROFILES[name].environment}' in text


@pytest.mark.parametrize('path', COMPOSE, ids=lambda path: path.stem)
def test_a_service_can_do_no_more_than_it_must(path: Path) -> None:
    for name, service in merged(path).items():
        assert service['read_only'] is True, name
        assert service['cap_drop'] == ['ALL'], name
        assert service['security_opt'] == ['no-new-privileges:true'], name
        assert not {'privileged', 'cap_add', 'pid', 'ipc', 'devices'} & set(service), name
        assert 'ports' not in service, f'{name} is reached over the loopback address alone'
        if 'build' in service:
            assert (ROOT / service['build']['dockerfile']).exists()
        else:
            assert service.get('user') or service['image'].startswith('nemotron_'), name
        image = service['image']
        if image.startswith('nemotron_'):
            assert service['pull_policy'] == 'never', 'whoever takes that name is not us'
        assert image in MOVING or not image.rpartition(':')[2].startswith('latest'), image
        assert image.rpartition('/')[2].partition(':')[2], f'{image} has no tag'
        for volume in service.get('volumes', []):
            # The model, the tool file, the system's files: nobody writes to them but fetch.
            written = volume.split(':')[0] in ('cache', 'engines') or name == 'fetch'
            assert written or volume.endswith(':ro'), volume


@pytest.mark.parametrize('path', COMPOSE, ids=lambda path: path.stem)
def test_every_volume_is_declared(path: Path) -> None:
    declared = set(yaml.safe_load(path.read_text())['volumes'])
    used = {
        volume.split(':')[0]
        for service in merged(path).values()
        for volume in service.get('volumes', [])
        if not volume.startswith(('/', '.', '$'))
    }
    assert used == declared


@pytest.mark.parametrize('path', COMPOSE, ids=lambda path: path.stem)
def test_the_node_waits_for_the_engine_and_asks_it(path: Path) -> None:
    services = merged(path)
    node = services['node']
    words = dict(word.split(':=', 1) for word in node['command'] if ':=' in word)
    assert words['device'] in PROFILES
    assert words['tool_file'] in [v.split(':')[-2] for v in node['volumes'] if v.startswith('${T')]
    if 'engine' in services:
        assert node['depends_on'] == {'engine': {'condition': 'service_healthy'}}
        assert words['url'] == 'http://127.0.0.1:8000'
        assert services['engine']['network_mode'] == node['network_mode'] == 'host'
        assert services['engine']['healthcheck']['test'][0] == 'CMD'
    else:
        assert 'url' not in words
        assert not PROFILES[words['device']].server


@pytest.mark.parametrize(
    'path', [path for path in COMPOSE if path.stem != 'compose.cpu'], ids=lambda path: path.stem
)
def test_the_engine_runs_as_the_boards_profile_has_it(path: Path) -> None:
    services = merged(path)
    device = next(w for w in services['node']['command'] if w.startswith('device:='))[8:]
    profile = PROFILES[device]
    if profile.model.catalogue:
        model = f'/models/gguf/{CATALOGUE[profile.model.catalogue].file}'
    else:
        model = f'/models/{profile.model.repo.partition("/")[2]}'
    wanted = profile.command(model, Path('/cache/engines'), '', 8000)
    wanted = [re.sub(f'^{profile.folder}/trtllm_serve/', '/config/', word) for word in wanted]
    engine = services['engine']
    assert [*engine.get('entrypoint', []), *engine['command']] == wanted


@pytest.mark.parametrize('path', COMPOSE, ids=lambda path: path.stem)
def test_the_model_that_is_fetched_is_the_profiles(path: Path) -> None:
    services = merged(path)
    device = next(w for w in services['node']['command'] if w.startswith('device:='))[8:]
    model = PROFILES[device].model
    words = services['fetch']['command']
    if model.catalogue:
        assert words == ['nemotron', 'model', 'fetch', model.catalogue]
    else:
        options = dict(zip(words[3::2], words[4::2], strict=True))
        assert words[2] == model.repo
        assert options['--revision'] == model.revision
        assert options['--local-dir'] in services['engine']['command']


@contextmanager
def serving(status: int) -> Iterator[int]:
    """Yield the port of a server that answers everything with one status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status if self.path.startswith('/health') else 404)
            self.end_headers()
            self.wfile.write(b'{"status": " 200 "}')

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.HTTPServer(('127.0.0.1', 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def healthy(check: list[str], port: int) -> bool:
    command = [word.replace('8000', str(port)) for word in check[1:]]
    done = subprocess.run(command, capture_output=True, timeout=10, check=False)
    return done.returncode == 0


@pytest.mark.parametrize(
    'path', [path for path in COMPOSE if path.stem != 'compose.cpu'], ids=lambda path: path.stem
)
def test_an_engines_health_is_what_it_answers(path: Path) -> None:
    check = merged(path)['engine']['healthcheck']['test']
    with serving(200) as port:
        assert healthy(check, port)
    with serving(503) as busy:
        assert not healthy(check, busy)
    assert not healthy(check, port), 'nobody is there any more'


def test_both_names_of_fast_dds_settings_lead_to_a_file_of_the_image() -> None:
    node = yaml.safe_load((DOCKER / 'node.yaml').read_text())['services']['node']
    places = {v for k, v in node['environment'].items() if k.endswith('PROFILES_FILE')}
    assert places == {'/opt/nemotron/docker/dds_${DDS:-loopback}.xml'}
    copied = (DOCKER / 'node.Dockerfile').read_text()
    for name in ('dds_loopback.xml', 'dds_network.xml'):
        assert f'docker/{name} ' in copied
        assert ET.parse(DOCKER / name).getroot().tag.endswith('profiles')


def test_the_entrypoint_can_be_run() -> None:
    assert os.access(DOCKER / 'entrypoint.bash', os.X_OK)
    subprocess.run(['bash', '-n', str(DOCKER / 'entrypoint.bash')], check=True)
