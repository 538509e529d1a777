"""A short film of the robot that obeys, seen from above, with the words below it."""

from __future__ import annotations

import importlib
import shutil
import subprocess
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import repeat
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from nemotron_ros.demo.recording import Moment
from nemotron_ros.demo.words import Words
from nemotron_ros.sim.scene import Scene, Seen
from nemotron_ros.sim.top_view import TopView, colour_at
from nemotron_ros.sim.world import Pose, World, flat

WIDTH_PX = 640
WORDS_PX = 84
FRAME_S = 0.1
SPEED = 3.0
"""So many seconds of the recording go by in one of the film."""
HOLD_S = 1.2
"""How long the end of each command stands still, so that it can be read."""
END_S = 4.0
COLOURS = 128
ENCODE_S = 300.0
WHITE, GREY, DARK = (255, 255, 255), (176, 190, 197), (30, 38, 43)
GREEN, RED = (118, 185, 0), (239, 83, 80)


class FilmError(Exception):
    """The film could not be written."""


def write_films(folder: Path, moments: Sequence[Moment], model: str) -> list[str]:
    """Write ``demo.gif`` into a folder, and ``demo.mp4`` where ffmpeg is; return what to say.

    A film that can't be written is told, and is no failure: it proves nothing.
    """
    gif, mp4 = folder / 'demo.gif', folder / 'demo.mp4'
    lines = []
    try:
        write_gif(frames(flat(), moments, f'{model}, {SPEED:g} times as fast'), gif)
        lines.append(f'film: {gif}')
        program = ffmpeg()
        if program is not None:
            write_mp4(gif, mp4, program)
            lines.append(f'film: {mp4}')
    except FilmError as error:
        lines.append(f'no film: {error}')
    return lines


def frames(world: World, moments: Sequence[Moment], note: str = '') -> Iterator[Image.Image]:
    """Yield the pictures of the film, one for each ``FRAME_S``.

    :param note: is read in the corner below, all the time.
    """
    view = TopView(world, WIDTH_PX)
    starts = [moment.at_s for moment in moments]
    path: list[tuple[float, float]] = []
    shown, at_s = -1, 0.0
    while shown < len(moments) - 1:
        newest = max(shown + 1, bisect_right(starts, at_s) - 1)
        for index in range(shown + 1, newest + 1):
            shown = index
            if index and _ends(moments, index - 1):
                path.clear()
            truth = moments[index].truth
            path.append((truth.x, truth.y))
            if _ends(moments, index):
                break
        at_s = max(at_s, starts[shown]) + FRAME_S * SPEED
        truth, words = moments[shown].truth, moments[shown].words
        robot = Seen(Pose(truth.x, truth.y, truth.yaw), list(path))
        flat_then = replace(world, shut=frozenset(truth.shut_doors))
        scene = Scene(flat_then, (robot,), truth.things, truth.people)
        frame = _with_words(view.picture(scene), words, note)
        hold_s = HOLD_S if _ends(moments, shown) else FRAME_S
        if shown == len(moments) - 1:
            hold_s = END_S
        yield from repeat(frame, round(hold_s / FRAME_S))


def write_gif(pictures: Iterable[Image.Image], path: Path) -> None:
    """Write an animation that browsers show, without end; one picture is held at a time.

    :raise FilmError: if there are no pictures, or they can't be written.
    """
    remaining = iter(pictures)
    first = next(remaining, None)
    if first is None:
        raise FilmError(f'{path}: nothing was recorded')
    palette = _palette(first)

    def reduced(picture: Image.Image) -> Image.Image:
        return picture.quantize(palette=palette, dither=Image.Dither.NONE)

    try:
        reduced(first).save(
            path,
            save_all=True,
            append_images=map(reduced, remaining),
            duration=round(FRAME_S * 1000),
            loop=0,
            optimize=False,
        )
    except OSError as error:
        raise FilmError(f'{path}: can not be written: {error}') from error


def write_mp4(gif: Path, path: Path, program: str) -> None:
    """Turn an animation into a film.

    :param program: what :func:`ffmpeg` has found.
    :raise FilmError: if it fails, with what it says.
    """
    # H.264 wants even sides; browsers want that pixel format.
    command = [program, '-y', '-loglevel', 'error', '-i', str(gif), '-pix_fmt', 'yuv420p']
    command += ['-vf', 'crop=trunc(iw/2)*2:trunc(ih/2)*2', '-movflags', '+faststart', str(path)]
    try:
        done = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, timeout=ENCODE_S
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        path.unlink(missing_ok=True)
        raise FilmError(f'{path}: {error}') from error
    if done.returncode:
        path.unlink(missing_ok=True)
        raise FilmError(f'{path}: {program}: {done.stderr.decode(errors="replace").strip()}')


def ffmpeg() -> str | None:
    """Return the program ffmpeg: the system's, or that of the package imageio-ffmpeg."""
    found = shutil.which('ffmpeg')
    if found:
        return found
    try:
        package: Any = importlib.import_module('imageio_ffmpeg')
        return str(package.get_ffmpeg_exe())
    except (ImportError, RuntimeError):
        return None


def _ends(moments: Sequence[Moment], index: int) -> bool:
    """Whether the next moment belongs to another command."""
    if index == len(moments) - 1:
        return True
    return moments[index].words.obeyed is not None and moments[index + 1].words.obeyed is None


def _with_words(picture: Image.Image, words: Words, note: str) -> Image.Image:
    """Put the words below a picture, each line cut where it would leave it."""
    frame = Image.new('RGB', (picture.width, picture.height + WORDS_PX), DARK)
    frame.paste(picture)
    draw = ImageDraw.Draw(frame)
    top, left, right = picture.height, 14, picture.width - 14
    large, small = ImageFont.load_default(size=20), ImageFont.load_default(size=15)
    if words.command:
        _line(draw, (left, top + 24), f'“{words.command}”', large, WHITE, right)
    if words.outcome:
        # Drawn, as the font has no such signs.
        colour = GREY if words.obeyed is None else GREEN if words.obeyed else RED
        _mark(draw, left, top + 50, words.obeyed, colour)
        _line(draw, (left + 24, top + 50), f'{words.outcome}: {words.done}', small, colour, right)
    elif words.done:
        _line(draw, (left + 24, top + 50), words.done, small, GREY, right)
    if note:
        corner = (right, frame.height - 12)
        draw.text(corner, note, GREY, ImageFont.load_default(size=11), anchor='rm')
    return frame


def _line(
    draw: ImageDraw.ImageDraw,
    at: tuple[float, float],
    text: str,
    font: Any,
    colour: tuple[int, int, int],
    right: float,
) -> None:
    text = ' '.join(text.split())
    while draw.textlength(text, font) > right - at[0]:
        text = text.rstrip('…')[:-1] + '…'
    draw.text(at, text, colour, font, anchor='lm')


def _mark(
    draw: ImageDraw.ImageDraw,
    x: float,
    y: float,
    obeyed: bool | None,
    colour: tuple[int, int, int],
) -> None:
    if obeyed is None:
        return
    if obeyed:
        draw.line([(x + 1, y), (x + 6, y + 6), (x + 15, y - 7)], colour, 3, joint='curve')
    else:
        draw.line([(x + 2, y - 6), (x + 14, y + 6)], colour, 3)
        draw.line([(x + 2, y + 6), (x + 14, y - 6)], colour, 3)


def _palette(picture: Image.Image) -> Image.Image:
    """Return the colours of a picture, and those that later ones have besides."""
    sheet = Image.new('RGB', (picture.width, picture.height + 80), DARK)
    sheet.paste(picture)
    draw = ImageDraw.Draw(sheet)
    others = [*(colour_at(part / 31) for part in range(32)), GREEN, RED, GREY, WHITE]
    for index, colour in enumerate(others):
        left = index * picture.width / len(others)
        draw.rectangle(
            (left, picture.height, left + picture.width / len(others), sheet.height), colour
        )
    return sheet.quantize(COLOURS)
