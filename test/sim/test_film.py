"""The film of the demo: what is seen and read on it, how long it is, and what it is written as."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace

import pytest

pytest.importorskip('nemotron_msgs', reason='nemotron_msgs is not built')

from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import Event, ToolCall
from PIL import Image

from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.demo import film
from nemotron_ros.demo.film import (
    END_S,
    FRAME_S,
    GREEN,
    HOLD_S,
    RED,
    SPEED,
    WIDTH_PX,
    FilmError,
    ffmpeg,
    frames,
    write_films,
    write_gif,
    write_mp4,
)
from nemotron_ros.demo.recording import Moment, Recording
from nemotron_ros.demo.words import Telling, Words
from nemotron_ros.sim.referee import Truth
from nemotron_ros.sim.top_view import FLOOR, MARGIN_M
from nemotron_ros.sim.world import PERSON_COLOUR, flat

START = flat().start
STILL = Truth(
    START.x, START.y, START.yaw, 0.0, '', False, 0, (),
    things={thing.name: (thing.x, thing.y) for thing in flat().things},
)  # fmt: skip
R = ExecuteCommand.Result


def moments(obeyed: bool = True, seconds: float = 6.0) -> list[Moment]:
    """Return how a robot drives a metre, and then turns, each within some seconds."""
    found = []
    steps = round(seconds / 0.1)
    for step in range(steps + 1):
        truth = replace(STILL, x=STILL.x + step / steps)
        ended = step == steps
        words = Words(
            'drive',
            'drive(1)' if step > 2 else '',
            'done' if ended else '',
            obeyed if ended else None,
        )
        found.append(Moment(step * 0.1, truth, words))
    there = found[-1].truth
    for step in range(steps + 1):
        words = Words('turn', '', 'done' if step == steps else '', True if step == steps else None)
        turned = replace(there, yaw=step / steps)
        found.append(Moment(seconds + (step + 1) * 0.1, turned, words))
    return found


def colour_at(picture: Image.Image, x: float, y: float) -> Sequence[int]:
    """Return the colour of a point of the flat."""
    px_per_m = WIDTH_PX / (2 * (flat().half_x + MARGIN_M))
    left, top = flat().half_x + MARGIN_M, flat().half_y + MARGIN_M
    colour = picture.getpixel((round((x + left) * px_per_m), round((top - y) * px_per_m)))
    assert isinstance(colour, tuple)
    return colour


def has(picture: Image.Image, colour: tuple[int, int, int]) -> bool:
    """Whether a colour is among the words of a frame."""
    below = picture.crop((0, picture.height - film.WORDS_PX, picture.width, picture.height))
    return colour in {pixel for _, pixel in below.getcolors(1 << 20)}


def test_length_is_that_of_the_recording_and_of_the_holds():
    pictures = list(frames(flat(), moments(seconds=6.0)))
    expected_s = 12.0 / SPEED + HOLD_S + END_S
    assert len(pictures) * FRAME_S == pytest.approx(expected_s, abs=0.5)
    assert {picture.size for picture in pictures} == {pictures[0].size}


def test_robot_and_its_path_are_where_the_physics_says():
    pictures = list(frames(flat(), moments()))
    away = STILL.x + 1.0 - 0.15, STILL.y + 0.1
    assert colour_at(pictures[0], *away) == FLOOR
    end_of_drive = pictures[round((6.0 / SPEED) / FRAME_S)]
    assert colour_at(end_of_drive, STILL.x + 0.4, STILL.y) != FLOOR
    assert colour_at(end_of_drive, *away) == pytest.approx((118, 185, 0), abs=20)
    # The next command begins with a path of its own.
    assert colour_at(pictures[-1], STILL.x + 0.4, STILL.y) == FLOOR


def test_things_are_where_they_are_carried_to():
    carried = replace(STILL, things={**STILL.things, 'cup': (2.0, -1.0)})
    (first, *_) = frames(flat(), [Moment(0.0, carried, Words('fetch'))])
    cup = next(thing for thing in flat().things if thing.name == 'cup')
    assert colour_at(first, 2.0, -1.0) == pytest.approx(cup.colour, abs=12)
    assert colour_at(first, cup.x, cup.y) == FLOOR


def test_people_and_shut_doors_are_on_it():
    (door, *_) = flat().doors
    now = replace(STILL, people={'ann': (2.0, -1.0)}, shut_doors=(door.shut.name,))
    (first, *_) = frames(flat(), [Moment(0.0, now, Words('wait'))])
    assert colour_at(first, 2.0 - 0.12, -1.0 + 0.1) == pytest.approx(PERSON_COLOUR, abs=12)
    assert colour_at(first, door.shut.x, door.shut.y) == pytest.approx(door.shut.colour, abs=12)


@pytest.mark.parametrize(('obeyed', 'sign', 'other'), [(True, GREEN, RED), (False, RED, GREEN)])
def test_outcome_is_held_with_its_sign(obeyed, sign, other):
    pictures = list(frames(flat(), moments(obeyed)))
    middle = pictures[: len(pictures) - round((END_S + 1.0) / FRAME_S)]
    shown = [has(picture, sign) for picture in middle]
    assert sum(shown) >= round(HOLD_S / FRAME_S)
    assert not any(has(picture, other) for picture in middle)
    assert not shown[0]


def test_words_that_are_too_long_are_cut():
    long = Words('go ' * 200, 'say(' + 'a' * 500 + ')', 'succeeded', True)
    (first, *_) = frames(flat(), [Moment(0.0, STILL, long)])
    rim = first.crop((first.width - 12, first.height - film.WORDS_PX, first.width, first.height))
    assert len(rim.getcolors()) == 1


def test_gif_has_every_change_and_its_time(tmp_path):
    pictures = list(frames(flat(), moments(), 'a note'))
    path = tmp_path / 'film.gif'
    write_gif(iter(pictures), path)
    with Image.open(path) as gif:
        times = []
        for index in range(gif.n_frames):
            gif.seek(index)
            times.append(gif.info['duration'] / 1000)
        assert gif.info['loop'] == 0
        assert gif.size == pictures[0].size
        last = gif.convert('RGB')
    assert sum(times) == pytest.approx(len(pictures) * FRAME_S)
    assert len(times) > 30
    assert path.stat().st_size < 400_000
    # Few colours, and none far off.
    for point in ((0.0, -1.0), (STILL.x + 1.0 - 0.15, STILL.y), (-3.0, 2.25)):
        assert colour_at(last, *point) == pytest.approx(colour_at(pictures[-1], *point), abs=16)


def test_nothing_recorded_is_told(tmp_path):
    with pytest.raises(FilmError, match=r'film\.gif: nothing was recorded'):
        write_gif(frames(flat(), []), tmp_path / 'film.gif')
    assert not list(tmp_path.iterdir())


def test_film_that_can_not_be_written_is_told(tmp_path):
    (tmp_path / 'file').write_text('')
    pictures = frames(flat(), [Moment(0.0, STILL, Words('drive'))])
    with pytest.raises(FilmError, match='can not be written'):
        write_gif(pictures, tmp_path / 'file' / 'film.gif')


def test_mp4_is_made_of_the_gif(tmp_path):
    program = ffmpeg()
    if program is None:
        pytest.skip('neither ffmpeg nor imageio-ffmpeg is installed')
    gif, mp4 = tmp_path / 'film.gif', tmp_path / 'film.mp4'
    write_gif(frames(flat(), moments(seconds=1.0)), gif)
    write_mp4(gif, mp4, program)
    assert mp4.read_bytes()[4:8] == b'ftyp'
    with pytest.raises(FilmError, match='none'):
        write_mp4(tmp_path / 'none.gif', tmp_path / 'other.mp4', program)
    assert not (tmp_path / 'other.mp4').exists()


@pytest.mark.parametrize('program', ['/no/such/ffmpeg', 'false'])
def test_ffmpeg_that_fails_leaves_nothing(tmp_path, program):
    with pytest.raises(FilmError, match=r'film\.mp4'):
        write_mp4(tmp_path / 'film.gif', tmp_path / 'film.mp4', program)
    assert not list(tmp_path.iterdir())


# What is recorded


def test_recording_keeps_what_was_seen_and_each_word_that_was_said():
    with Recording(lambda: STILL) as recording:
        assert until_true(lambda: len(recording.moments) > 2, 10.0, CancelToken())
        for words in (Words('drive'), Words('drive', 'drive(1)'), Words('turn')):
            recording.tell(words)
        seen = len(recording.moments)
        assert until_true(lambda: len(recording.moments) > seen, 10.0, CancelToken())
    said = [moment.words for moment in recording.moments]
    assert Words('drive', 'drive(1)') in said
    assert said[-1] == Words('turn')
    times = [moment.at_s for moment in recording.moments]
    assert times == sorted(times)
    kept = len(recording.moments)
    CancelToken().wait(0.3)
    assert len(recording.moments) == kept


def test_recording_ends_when_the_robot_is_gone():
    asked = threading.Event()

    def gone() -> Truth:
        asked.set()
        raise RuntimeError('gone')

    with Recording(gone) as recording:
        assert asked.wait(10.0)
        recording.tell(Words('drive'))
    assert recording.moments == ()


def test_events_become_words():
    said: list[Words] = []
    telling = Telling('drive', said.append)
    call = ToolCall(id='1', name='drive', arguments='{"direction": "forward", "distance_m": 1.2}')
    other = ToolCall(id='2', name='dock', arguments='{}')
    for calls, text in (([], ''), ([call], ''), ([call], ''), ([other], ''), ([], 'On my way.')):
        telling.take(Event(call=calls, text_delta=text))
    telling.command('drive … stop!')
    telling.end(R(status=R.STATUS_STOPPED, calls=[call], text=''), True)
    assert [words.done for words in said[:4]] == ['', '', *['drive(forward, 1.2)'] * 2]
    assert said[5].done == 'drive(forward, 1.2), dock() “On my way.”'
    assert said[-1] == Words('drive … stop!', 'drive(forward, 1.2)', 'stopped', True)


def test_moments_without_time_between_them_are_a_film_all_the_same():
    found = [
        Moment(0.0, replace(STILL, x=math.sin(n)), Words(f'{n}', obeyed=None)) for n in range(5)
    ]
    assert len(list(frames(flat(), found))) == round(END_S / FRAME_S)


def test_ffmpeg_of_the_package_is_found(monkeypatch):
    package = SimpleNamespace(get_ffmpeg_exe=lambda: '/opt/ffmpeg')
    monkeypatch.setattr(film.shutil, 'which', lambda _: None)
    monkeypatch.setattr(film.importlib, 'import_module', lambda _: package)
    assert ffmpeg() == '/opt/ffmpeg'


def test_films_of_the_demo_are_told(tmp_path, monkeypatch):
    monkeypatch.setattr(film, 'ffmpeg', lambda: None)
    found = write_films(tmp_path, moments(seconds=1.0), 'a model')
    assert found == [f'film: {tmp_path}/demo.gif']
    monkeypatch.setattr(film, 'ffmpeg', lambda: 'false')
    found = write_films(tmp_path, moments(seconds=1.0), 'a model')
    assert found[1].startswith(f'no film: {tmp_path}/demo.mp4')
    assert write_films(tmp_path, [], 'a model') == [
        f'no film: {tmp_path}/demo.gif: nothing was recorded'
    ]
