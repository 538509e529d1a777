"""Questions to an operator as ROS messages."""

from __future__ import annotations

import json
from collections.abc import Sequence

from nemotron_msgs.msg import Confirmation, Confirmations
from nemotron_msgs.srv import Confirm

from nemotron_ros.bridge.account import time_message
from nemotron_ros.tools import confirmation


def open_questions(questions: Sequence[confirmation.Question]) -> Confirmations:
    """Return the open questions as a message."""
    return Confirmations(
        open=[
            Confirmation(
                id=question.id,
                tool=question.tool,
                description=question.description,
                arguments=json.dumps(dict(question.arguments), ensure_ascii=False),
                asked=time_message(question.asked_time_s),
                deadline=time_message(question.deadline_time_s),
            )
            for question in questions
        ]
    )


def take_answer(
    confirmations: confirmation.Confirmations, request: Confirm.Request, response: Confirm.Response
) -> Confirm.Response:
    """Hand an operator's answer on; say what became of it."""
    problem = confirmations.answer(request.id, request.yes, request.who)
    response.success = not problem
    response.message = problem or ('it runs' if request.yes else 'it does not run')
    return response
