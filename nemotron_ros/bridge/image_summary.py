"""What a camera's image says in a few numbers: its size, and how bright it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

RGB, BGR = (0.299, 0.587, 0.114), (0.114, 0.587, 0.299)
"""How much of each channel the eye sees (ITU-R BT.601)."""


@dataclass(frozen=True)
class _Encoding:
    """How pixels lie in a row: numbers of ``dtype``, ``channels`` each, of which some count."""

    dtype: str
    channels: int
    weights: tuple[float, ...]


ENCODINGS: Mapping[str, _Encoding] = {
    'rgb8': _Encoding('u1', 3, RGB),
    'bgr8': _Encoding('u1', 3, BGR),
    'rgba8': _Encoding('u1', 4, (*RGB, 0.0)),
    'bgra8': _Encoding('u1', 4, (*BGR, 0.0)),
    'rgb16': _Encoding('u2', 3, RGB),
    'bgr16': _Encoding('u2', 3, BGR),
    'mono8': _Encoding('u1', 1, (1.0,)),
    'mono16': _Encoding('u2', 1, (1.0,)),
    'bayer_rggb8': _Encoding('u1', 1, (1.0,)),
    'bayer_bggr8': _Encoding('u1', 1, (1.0,)),
    'bayer_gbrg8': _Encoding('u1', 1, (1.0,)),
    'bayer_grbg8': _Encoding('u1', 1, (1.0,)),
    'uyvy': _Encoding('u1', 2, (0.0, 1.0)),
    'yuv422': _Encoding('u1', 2, (0.0, 1.0)),
    'yuyv': _Encoding('u1', 2, (1.0, 0.0)),
    'yuv422_yuy2': _Encoding('u1', 2, (1.0, 0.0)),
}
"""The encodings of ``sensor_msgs/image_encodings.hpp`` that hold light; others hold depth, or
what only their maker knows."""


@dataclass(frozen=True)
class ImageSummary:
    """Size in pixels; ``brightness`` is the mean, 0 (black) to 100; None if it can't be told."""

    width: int
    height: int
    encoding: str
    brightness: float | None


def summarize(image: Any) -> ImageSummary:
    """Sum up a ``sensor_msgs/msg/Image``.

    :raise ValueError: if its data is not of the size that it says.
    """
    encoding = ENCODINGS.get(image.encoding)
    data = np.asarray(image.data, dtype=np.uint8)
    if data.size != image.height * image.step:
        raise ValueError(
            f'the image is broken: {image.height} rows of {image.step} bytes are '
            f'{image.height * image.step}, and it has {data.size}'
        )
    brightness = None if encoding is None else _brightness(image, data, encoding)
    return ImageSummary(image.width, image.height, image.encoding, brightness)


def _brightness(image: Any, data: Any, encoding: _Encoding) -> float | None:
    order = '>' if image.is_bigendian else '<'
    dtype = np.dtype(order + encoding.dtype)
    row_bytes = image.width * encoding.channels * dtype.itemsize
    if row_bytes > image.step:
        raise ValueError(
            f'the image is broken: a row of {image.width} pixels of {image.encoding} is '
            f'{row_bytes} bytes, and it says {image.step}'
        )
    if not image.width or not image.height:
        return None
    rows = np.ascontiguousarray(data.reshape(image.height, image.step)[:, :row_bytes])
    # Row upon row first: numpy adds long rows many times faster than pixels of three numbers.
    columns = rows.view(dtype).sum(axis=0, dtype=np.uint64)
    channels = columns.reshape(image.width, encoding.channels).sum(axis=0)
    pixels = int(image.width) * int(image.height)
    mean = float(channels @ np.asarray(encoding.weights)) / pixels
    return round(100.0 * mean / np.iinfo(dtype).max, 1)
