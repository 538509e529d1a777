"""Functions of installed packages: found by their entry points, and by nothing else."""

from __future__ import annotations

import pytest
from plugin_package import install

from nemotron_ros.tools.plugins import PluginError, load_plugin


@pytest.fixture(autouse=True)
def package(monkeypatch, tmp_path):
    """Install the package."""
    install(monkeypatch, tmp_path / 'site')


@pytest.mark.parametrize('use', ['wave', 'bench_plugins:wave'])
def test_found_by_name_or_value(use):
    assert load_plugin(use).__name__ == 'wave'


@pytest.mark.parametrize(
    ('use', 'word'),
    [
        ('os:system', 'no installed package offers'),
        ('bench_plugins:install', 'no installed package offers'),
        ('bench_plugins', 'no installed package offers'),
        ('wavee', "did you mean 'wave'"),
        ('gone', 'can not be loaded'),
        ('missing', 'can not be loaded'),
        ('not_callable', 'expected a function'),
        ('wants_more', 'expected a function'),
    ],
)
def test_what_is_not_offered_can_not_be_used(use, word):
    with pytest.raises(PluginError, match=word):
        load_plugin(use)


def test_name_that_two_packages_offer_must_be_told_apart(monkeypatch, tmp_path):
    install(monkeypatch, tmp_path / 'other', 'other_plugins')
    with pytest.raises(PluginError, match='bench_plugins:wave, other_plugins:wave'):
        load_plugin('wave')
    assert load_plugin('other_plugins:wave').__module__ == 'other_plugins'
