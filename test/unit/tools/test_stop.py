"""Stop words: what is a stop, and what only speaks of one."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nemotron_ros.tools.stop import DEFAULT_STOP_WORDS, is_stop

quick = settings(max_examples=80, deadline=None)

FULL_WIDTH = ''.join(chr(ord(letter) + 0xFEE0) for letter in 'stop')


@pytest.mark.parametrize('word', DEFAULT_STOP_WORDS)
def test_each_word_is_known(word: str) -> None:
    assert is_stop(word, DEFAULT_STOP_WORDS)


@pytest.mark.parametrize(
    'command',
    [
        'Stop', 'STOP!!!', '  stop \n', 'stop.', 'stop?', '"stop"', '**stop**', '_stop_', '¡stop!',
        'stop stop', 'stop, stop, STOP!', 'stop! halt! freeze!',
        'please stop', 'Stop now, please!', 'Hey robot, stop!', 'no, stop!', 'oh no stop',
        'stop the robot', 'just stop it', 'OK Nemotron: halt immediately.', 'Robot... freeze',
        'e-stop', 'E-STOP', 'e stop', 'emergency-stop!', 'Emergency stop, emergency stop',
        "don't move", 'don\u2019t move', 'don\u2018t move', 'don\u02bct move', 'don`t move',
        'DO NOT MOVE',
        FULL_WIDTH, f'{FULL_WIDTH.upper()}\uff01', '\u017ftop', '\ufeffstop', 'stop\u200b',
        'stop\u00a0now', 'stop🛑',
        'stop-stop', 'stop/halt', 'stop moving', 'Stop right there!', 'hold it', 'whoa, whoa',
        'full stop', 'stop stop moving stop it',
    ],
)  # fmt: skip
def test_a_stop(command: str) -> None:
    assert is_stop(command, DEFAULT_STOP_WORDS)


@pytest.mark.parametrize(
    'command',
    [
        '', ' ', '!?', '.', 'please', 'hey robot', 'no', 'the',
        'stop at the door', "don't stop", 'don\u2019t stop', 'do not stop', 'never stop',
        'keep going',
        'stop when you see the ball', 'drive forward and stop', 'go to the bus stop',
        'stop the music and drive on', 'unstoppable', 'stopp', 'nonstop', 'stops', 'st op',
        's t o p', 'halt den Ball', 'cancel the meeting', 'move', "don't", 'do not', 'moving',
        'hold', 'emergency', 'e', 'stopstop', 'what does stop mean?', 'stop 5', '5 stop',
    ],
)  # fmt: skip
def test_no_stop(command: str) -> None:
    assert not is_stop(command, DEFAULT_STOP_WORDS)


def test_the_words_are_the_files() -> None:
    assert is_stop('Arrêtez !', ('arrêtez',))
    assert is_stop('bitte anhalten', ('bitte anhalten',))
    assert is_stop('停 !', ('停',))
    assert is_stop('Arre\u0302tez', ('ARRÊTEZ',))
    assert not is_stop('stop', ('halt',))
    assert not is_stop('stop', ())


@pytest.mark.parametrize('words', [(' ',), ('!',), ('the',), ('',)])
def test_a_word_without_letters_stops_nothing(words: tuple[str, ...]) -> None:
    assert not is_stop('', words)
    assert not is_stop('drive on', words)


@quick
@given(
    st.lists(st.sampled_from([*DEFAULT_STOP_WORDS, 'please', 'now', 'robot']), max_size=8),
    st.sampled_from([' ', ', ', '! ', ' … ', '\n']),
    st.booleans(),
)
def test_any_row_of_stop_words_is_a_stop(parts: list[str], between: str, loud: bool) -> None:
    command = between.join(parts)
    command = command.upper() if loud else command
    real = any(part in DEFAULT_STOP_WORDS for part in parts)
    assert is_stop(command, DEFAULT_STOP_WORDS) is real
    assert not is_stop(f'{command} dance', DEFAULT_STOP_WORDS)
    assert not is_stop(f'dance {command}', DEFAULT_STOP_WORDS)


def test_a_long_text_takes_no_long_time() -> None:
    before = time.process_time()
    assert is_stop('stop ' * 50_000, DEFAULT_STOP_WORDS)
    assert not is_stop('stop ' * 50_000 + 'x', DEFAULT_STOP_WORDS)
    assert time.process_time() - before < 4
