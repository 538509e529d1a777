"""What a camera on a robot sees, rendered off screen by EGL: on a GPU, or on the CPU by Mesa."""

from __future__ import annotations

import math
from typing import Any

import mujoco
import numpy as np
import numpy.typing as npt

from nemotron_ros.sim.physics import Physics
from nemotron_ros.sim.world import CAMERA_FOV_RAD

WIDTH_PX, HEIGHT_PX = 320, 240
FOCAL_PX = WIDTH_PX / (2 * math.tan(CAMERA_FOV_RAD / 2))


class CameraError(Exception):
    """Pictures can't be rendered here."""


class Camera:
    """Renders what a robot sees. It is made, used and closed in one thread.

    :param robot: its name in the physics.
    :raise CameraError: saying why there are no pictures, and what to do.
    """

    def __init__(self, physics: Physics, robot: str) -> None:
        self._physics = physics
        try:
            # By itself, and not by MUJOCO_GL: that is read when mujoco is imported.
            from mujoco.egl import GLContext

            self._context: Any = GLContext(WIDTH_PX, HEIGHT_PX)
            self._context.make_current()
            self._render = mujoco.MjrContext(
                physics.model, mujoco.mjtFontScale.mjFONTSCALE_100.value
            )
        except Exception as error:  # each driver fails in a way of its own
            raise CameraError(
                f'no pictures can be rendered: {error}; '
                'install a driver for EGL, such as libegl1 and libegl-mesa0'
            ) from error
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._render)
        self._scene = mujoco.MjvScene(physics.model, maxgeom=200)
        self._options = mujoco.MjvOption()
        self._view = mujoco.MjvCamera()
        self._view.type = mujoco.mjtCamera.mjCAMERA_FIXED
        self._view.fixedcamid = physics.model.camera(f'{robot} camera').id

    def picture(self) -> npt.NDArray[np.uint8]:
        """Return rows of red, green and blue, from the top down."""
        self._context.make_current()
        mujoco.mjv_updateScene(
            self._physics.model,
            self._physics.data,
            self._options,
            None,
            self._view,
            mujoco.mjtCatBit.mjCAT_ALL.value,
            self._scene,
        )
        area = mujoco.MjrRect(0, 0, WIDTH_PX, HEIGHT_PX)
        mujoco.mjr_render(area, self._scene, self._render)
        pixels = np.empty((HEIGHT_PX, WIDTH_PX, 3), dtype=np.uint8)
        mujoco.mjr_readPixels(pixels, None, area, self._render)
        return pixels[::-1]

    def close(self) -> None:
        """Free what the driver holds."""
        self._context.make_current()
        self._render.free()
        self._context.free()
