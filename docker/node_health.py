"""Exit with 0 if the node is active and its engine is ready, else with 1 and a line of why not.

NEMOTRON_NODE names it; without that it is /nemotron.
"""

from __future__ import annotations

import os
import sys

from lifecycle_msgs.msg import State
from lifecycle_msgs.srv import GetState
from nemotron_msgs.msg import EngineStatus
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile

from nemotron_ros.bridge.waiting import until_done, until_true
from nemotron_ros.cancel import CancelToken
from nemotron_ros.spinning import spinning

WAIT_S = 8.0
ASK_AGAIN_S = 1.5
"""An answer to the very first question may find no way back yet: then it is lost."""


def fault(asker: Node, name: str, timeout_s: float = WAIT_S) -> str:
    """Return what keeps a node from obeying, '' if nothing does."""
    token = CancelToken(timeout_s)
    heard: list[EngineStatus] = []
    kept = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
    asker.create_subscription(EngineStatus, f'{name}/engine_status', heard.append, kept)
    client = asker.create_client(GetState, f'{name}/get_state')
    if not until_true(client.service_is_ready, timeout_s, token):
        return f'nobody serves {name}/get_state'
    answer = client.call_async(GetState.Request())
    while not until_done(answer, ASK_AGAIN_S, token):
        if token.ended:
            return f'{name} does not answer'
        answer = client.call_async(GetState.Request())
    state = answer.result().current_state
    if state.id != State.PRIMARY_STATE_ACTIVE:
        return f'{name} is {state.label}'
    if not until_true(lambda: bool(heard), timeout_s, token):
        return f'{name} tells nothing of its engine'
    status = heard[-1]
    return '' if status.state == EngineStatus.STATE_READY else f'the engine: {status.message}'


def main() -> int:
    """Ask, and say what is wrong."""
    with spinning('health') as asker:
        found = fault(asker, os.environ.get('NEMOTRON_NODE', '/nemotron'))
    if found:
        print(found)
    return 1 if found else 0


if __name__ == '__main__':
    sys.exit(main())
