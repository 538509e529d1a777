"""Kinds of values on the command line; one that is wrong ends it with code 2 and the reason."""

from __future__ import annotations

import argparse
import getpass
import math
import re

NODE_NAME = re.compile(r'/?[A-Za-z_]\w*(/[A-Za-z_]\w*)*', re.ASCII)


def seconds(text: str) -> float:
    """Return a number of seconds: finite, and more than none."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise argparse.ArgumentTypeError(f'expected seconds > 0, got {text!r}')
    return value


def port(text: str) -> int:
    """Return the number of a TCP port that a program can listen on."""
    value = int(text) if text.isdecimal() else 0
    if not 1 <= value <= 65535:
        raise argparse.ArgumentTypeError(f'expected a port from 1 to 65535, got {text!r}')
    return value


def node_name(text: str) -> str:
    """Return the name of a node, with its namespace or without."""
    if not NODE_NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(
            f'expected a name such as nemotron or /robot_1/nemotron, got {text!r}'
        )
    return text


def words(text: str) -> str:
    """Return a text that can be sent to a robot."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise argparse.ArgumentTypeError(f'expected UTF-8, got {text!r}') from None
    return text


def user_name() -> str:
    """Return the user's name; empty, which is refused with what to do, where there is none."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ''
