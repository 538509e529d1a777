"""A voice front end: takes text from a speech recogniser's topic, and gives answers to speak.

::

    python examples/voice.py
    ros2 topic pub --once /heard std_msgs/msg/String "{data: 'turn left by ninety degrees'}"

============= =================== ====================================================
topic         type                what
============= =================== ====================================================
heard (in)    std_msgs/String     what a person has said
answer        std_msgs/String     what to say aloud
============= =================== ====================================================

*Stop* never waits in a queue or for the model: it goes to ``~/stop`` of the node at once. After
it the robot stays where it is until somebody says *go on*. What is said while a command runs
is not kept for later: a robot that obeys an old command surprises people.
"""

from __future__ import annotations

import argparse
import re
import sys
from typing import Any

from nemotron_msgs.action import ExecuteCommand
from rclpy.action import ActionClient
from rclpy.node import Node
from rclpy.task import Future
from std_msgs.msg import String
from std_srvs.srv import Trigger

from nemotron_ros.spinning import serve

STOP = frozenset({'stop', 'halt', 'freeze'})
GO_ON = 'go on'


class Voice(Node):
    """From words that were heard to words to say; every callback is short."""

    def __init__(self, server: str = 'nemotron') -> None:
        super().__init__('voice')
        self._session = ''
        self._busy = False
        self._answer = self.create_publisher(String, 'answer', 10)
        self._commands = ActionClient(self, ExecuteCommand, f'{server}/execute_command')
        self._stop: Any = self.create_client(Trigger, f'{server}/stop')
        self._clear: Any = self.create_client(Trigger, f'{server}/clear_stop')
        self.create_subscription(String, 'heard', self._hear, 10)

    def begin(self) -> bool:
        """It is ready once it is made."""
        return True

    def interrupt(self) -> None:
        """There is nothing to give up."""

    def end(self) -> None:
        """End; a command that was given goes on, or ends with the node that obeys it."""

    def _hear(self, words: String) -> None:
        text = ' '.join(words.data.split())
        plain = re.sub(r'[^\w ]', '', text.lower())
        if STOP & set(plain.split()):
            self._ask(self._stop, 'I stop.', 'I could not be stopped: use the emergency stop.')
        elif plain == GO_ON:
            self._ask(self._clear, 'Ready.', 'I can not go on yet.')
        elif self._busy:
            self._say('I am still busy. Say stop to end that.')
        elif text:
            self._command(text)

    def _command(self, text: str) -> None:
        if not self._commands.server_is_ready():
            self._say('I can not hear commands yet.')
            return
        self._busy = True
        goal = ExecuteCommand.Goal(command=text, session_id=self._session)
        self._commands.send_goal_async(goal).add_done_callback(self._accepted)

    def _accepted(self, future: Future) -> None:
        handle = future.result()
        if handle is None or not handle.accepted:
            self._busy = False
            self._say('I can not do that now.')
            return
        handle.get_result_async().add_done_callback(self._ended)

    def _ended(self, future: Future) -> None:
        self._busy = False
        result = future.result().result
        self._session = result.session_id
        self._say(result.text or f'That did not work: {result.error}')

    def _ask(self, client: Any, done: str, failed: str) -> None:
        if not client.service_is_ready():
            self._say(failed)
            return
        client.call_async(Trigger.Request()).add_done_callback(
            lambda future: self._say(done if future.result().success else failed)
        )

    def _say(self, text: str) -> None:
        self._answer.publish(String(data=text))


def main() -> int:
    """Run until Ctrl-C."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--node', default='nemotron', help='name of the nemotron node')
    arguments, ros = parser.parse_known_args()
    return serve(lambda: Voice(arguments.node), ros)


if __name__ == '__main__':
    sys.exit(main())
