"""Scans and images in a few numbers."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest

from nemotron_ros.bridge import image_summary, scan_summary

INF = math.inf


def scan(ranges: list[float], start_deg: float = 0.0, step_deg: float = 90.0) -> SimpleNamespace:
    return SimpleNamespace(
        ranges=np.array(ranges, dtype=np.float32),
        angle_min=math.radians(start_deg),
        angle_increment=math.radians(step_deg),
        range_min=0.1,
        range_max=10.0,
    )


def test_nearest_thing_and_each_sector():
    told = scan_summary.summarize(scan([2.0, 1.0, 3.0, INF]), 4, 0.0)
    assert (told.nearest_m, told.bearing_deg, told.direction) == (1.0, 90.0, 'left')
    assert told.sectors == {'front': 2.0, 'left': 1.0, 'back': 3.0, 'right': None}
    assert told.unseen == ()


def test_scanner_that_is_mounted_backwards():
    told = scan_summary.summarize(scan([2.0, 1.0, 3.0, INF]), 4, 180.0)
    assert (told.bearing_deg, told.direction) == (-90.0, 'right')
    assert told.sectors == {'back': 2.0, 'right': 1.0, 'front': 3.0, 'left': None}


def test_eight_sectors_are_centred_on_their_directions():
    told = scan_summary.summarize(scan([float(n) + 1 for n in range(8)], 0.0, 45.0), 8, 0.0)
    assert list(told.sectors.items()) == [
        ('front', 1.0), ('front_left', 2.0), ('left', 3.0), ('back_left', 4.0),
        ('back', 5.0), ('back_right', 6.0), ('right', 7.0), ('front_right', 8.0),
    ]  # fmt: skip
    ahead = scan_summary.summarize(scan([1.0, 2.0, 3.0], -22.0, 22.0), 8, 0.0)
    assert ahead.sectors == {'front': 1.0}


@pytest.mark.parametrize(
    ('reading', 'front', 'seen'),
    [
        (-INF, 0.1, True),  # too near to be measured
        (INF, None, True),
        (12.0, None, True),  # beyond what the scanner can tell
        (math.nan, None, False),
        (0.05, None, False),  # nearer than it can measure: noise, such as its own cable
        (0.0, None, False),
        (-1.0, None, False),
    ],
)
def test_readings_that_are_no_distance(reading, front, seen):
    told = scan_summary.summarize(scan([reading]), 4, 0.0)
    assert told.sectors == ({'front': front} if seen else {})
    assert ('front' in told.unseen) is not seen
    assert told.nearest_m == front


def test_empty_scan_tells_nothing():
    told = scan_summary.summarize(scan([]), 4, 0.0)
    assert (told.nearest_m, told.sectors) == (None, {})
    assert told.unseen == ('front', 'left', 'back', 'right')


def image(encoding: str, pixels: np.ndarray, padding: int = 0, big: bool = False):
    """Return an image with ``padding`` white bytes at the end of each row."""
    height, width = pixels.shape[:2]
    if pixels.itemsize > 1:
        pixels = pixels.astype(pixels.dtype.newbyteorder('>' if big else '<'))
    rows = np.frombuffer(pixels.tobytes(), np.uint8).reshape(height, -1)
    rows = np.hstack([rows, np.full((height, padding), 255, np.uint8)])
    return SimpleNamespace(
        encoding=encoding, width=width, height=height, step=rows.shape[1],
        is_bigendian=int(big), data=rows.reshape(-1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ('encoding', 'pixel', 'brightness'),
    [
        ('rgb8', [255, 0, 0], 29.9),
        ('bgr8', [255, 0, 0], 11.4),
        ('rgba8', [255, 255, 255, 0], 100.0),
        ('bgra8', [0, 0, 0, 255], 0.0),
        ('mono8', [51], 20.0),
        ('bayer_rggb8', [51], 20.0),
        ('yuyv', [51, 200], 20.0),
        ('uyvy', [200, 51], 20.0),
        ('16UC1', [1, 2], None),
        ('my_camera', [1], None),
    ],
)
@pytest.mark.parametrize('padding', [0, 5])
def test_brightness(encoding, pixel, brightness, padding):
    pixels = np.tile(np.array(pixel, np.uint8), (4, 6, 1))
    told = image_summary.summarize(image(encoding, pixels, padding))
    assert (told.width, told.height, told.encoding) == (6, 4, encoding)
    assert told.brightness == brightness


@pytest.mark.parametrize('big', [True, False])
def test_brightness_of_two_bytes_a_pixel(big):
    pixels = np.full((2, 3), 65535 // 4, np.uint16)
    assert image_summary.summarize(image('mono16', pixels, big=big)).brightness == 25.0


def test_broken_images_are_told():
    good = image('rgb8', np.zeros((2, 2, 3), np.uint8))
    good.data = good.data[:-1]
    with pytest.raises(ValueError, match='12, and it has 11'):
        image_summary.summarize(good)
    narrow = image('rgb8', np.zeros((2, 2, 3), np.uint8))
    narrow.width = 3
    with pytest.raises(ValueError, match='9 bytes, and it says 6'):
        image_summary.summarize(narrow)


def test_image_without_pixels_has_no_brightness():
    empty = image('mono8', np.zeros((1, 4, 1), np.uint8))
    empty.height, empty.data = 0, empty.data[:0]
    assert image_summary.summarize(empty).brightness is None
