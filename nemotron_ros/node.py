"""The lifecycle node and its action server: wiring only."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from typing import Any

from nemotron_msgs.action import ExecuteCommand
from nemotron_msgs.msg import Confirmations as ConfirmationsMsg
from nemotron_msgs.msg import EngineStatus, StopStatus, ToolManifest
from nemotron_msgs.msg import Event as EventMsg
from nemotron_msgs.srv import CallTool, CancelCall, Confirm, ListTools
from rcl_interfaces.msg import SetParametersResult
from rclpy.action import ActionServer, CancelResponse, GoalResponse
from rclpy.action.server import ServerGoalHandle
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode, State, TransitionCallbackReturn
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile
from std_srvs.srv import Trigger

from nemotron_ros import parameters
from nemotron_ros.agent import Agent, Command, Limits, Line, Priority, Sampling, rejected
from nemotron_ros.bridge.account import (
    event_message,
    manifest_message,
    outcome_message,
    result_message,
    stop_message,
    tool_messages,
)
from nemotron_ros.bridge.check import load_checked
from nemotron_ros.bridge.conditions import ConditionChecker
from nemotron_ros.bridge.confirming import open_questions, take_answer
from nemotron_ros.bridge.direct_calls import DirectCalls
from nemotron_ros.bridge.estop import EStopWatch
from nemotron_ros.bridge.executor import RosExecutor
from nemotron_ros.bridge.qos import EVENTS
from nemotron_ros.bridge.waiting import until_true
from nemotron_ros.bringup import config_path
from nemotron_ros.cancel import CancelToken, Cause
from nemotron_ros.chat.history import History
from nemotron_ros.deployment import engine_settings
from nemotron_ros.device.detect import detect
from nemotron_ros.device.profile import load_profiles
from nemotron_ros.edge_llm.cache import engines_folder
from nemotron_ros.engine.factory import make_engine
from nemotron_ros.engine.model_files import load_catalogue
from nemotron_ros.engine.protocol import Engine, EngineError, EngineState, ModelInfo
from nemotron_ros.events import CommandStatus, Event, Outcome
from nemotron_ros.monitor import Monitor
from nemotron_ros.service_manager import ServiceManager
from nemotron_ros.spinning import change_states_aside, in_thread, serve
from nemotron_ros.tools.confirmation import Confirmations, Question
from nemotron_ros.tools.dispatch import Dispatcher
from nemotron_ros.tools.guard import Guard
from nemotron_ros.tools.latches import Latches
from nemotron_ros.tools.ledger import Ledger
from nemotron_ros.tools.model import ToolFile
from nemotron_ros.tools.result import Status, ToolResult
from nemotron_ros.tools.tool_file import ToolFileError
from nemotron_ros.trace.goal import Goal, with_goal

INACTIVE = 'the node is not active'
STOP_S = 3.0
"""How long running commands are given to end when the node stops or is deactivated."""
READ_S = 300.0
"""How long the engine is given to read the prompt of another tool file."""


class NemotronNode(LifecycleNode):
    """Serves natural-language commands.

    ========== ============================================================================
    transition what it does
    ========== ============================================================================
    configure  checks the tool file, loads the model, tells progress
    activate   takes goals
    deactivate cancels what runs, waits for it, takes no more goals, frees the tools' clients
    cleanup    frees the model and every ROS client
    ========== ============================================================================
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__('nemotron', **kwargs)
        parameters.declare(self)
        self.add_on_set_parameters_callback(self._judge_parameters)
        self._group = ReentrantCallbackGroup()
        self._lock = threading.Lock()
        self._reloading = threading.Lock()
        self._changing_tools = threading.Lock()
        self._tokens: dict[bytes, CancelToken] = {}
        self._active = False
        self._configured = False
        self._model = ModelInfo('', '', 0)
        self._is_open = False
        self._engine_state = EngineState.CLOSED
        self._engine: Engine | None = None
        self._tools: ToolFile | None = None
        self._executor_for_tools: RosExecutor | None = None
        self._dispatcher: Dispatcher | None = None
        self._agent: Agent | None = None
        self._estop: EStopWatch | None = None
        latched = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)
        self._stop_status = self.create_publisher(StopStatus, '~/stop_status', latched)
        # Both outlive the tool file.
        self._latches = Latches(self._tell_stop)
        self._ledger = Ledger()
        self._tell_stop(())
        self._monitor = Monitor(self, lambda: self._active, lambda: self._latches.told)
        self._engine_status = self.create_publisher(EngineStatus, '~/engine_status', latched)
        self._manifest = self.create_publisher(ToolManifest, '~/tools', latched)
        self._events = self.create_publisher(EventMsg, '~/events', EVENTS)
        self._direct = DirectCalls(self._tell)
        self._questions = self.create_publisher(ConfirmationsMsg, '~/confirmations', latched)
        self._confirmations = Confirmations(self._tell_questions)
        self._tell_questions(())
        self._action = ActionServer(
            self,
            ExecuteCommand,
            '~/execute_command',
            execute_callback=self._execute,
            goal_callback=self._take_goal,
            handle_accepted_callback=self._begin_goal,
            cancel_callback=self._take_cancel,
            callback_group=self._group,
            feedback_pub_qos_profile=EVENTS,
        )
        for kind, name, callback in (
            (ListTools, '~/list_tools', self._list_tools),
            (CallTool, '~/call_tool', self._call_tool),
            (CancelCall, '~/cancel_call', self._cancel_call),
            (Confirm, '~/confirm', self._confirm),
            (Trigger, '~/stop', self._stop),
            (Trigger, '~/clear_stop', self._clear_stop),
            (Trigger, '~/reload_tools', self._reload_tools),
        ):
            self.create_service(kind, name, callback, callback_group=self._group)
        change_states_aside(self, self._group)
        self._service_manager = ServiceManager()
        if self._service_manager.ping_s:
            # Told by the thread that spins, so that a ping means that it does; and by no robot's
            # clock, which may stand still.
            steady = Clock(clock_type=ClockType.STEADY_TIME)
            self.create_timer(self._service_manager.ping_s, self._ping, clock=steady)

    # Lifecycle

    def on_configure(self, state: State) -> TransitionCallbackReturn:
        """Check the tool file, load the model."""
        self._configured = True  # from here on, what is set would come too late
        wanted = parameters.read(self)
        try:
            self._tools = load_checked(wanted.tool_file)
            catalogue = load_catalogue(config_path('models.yaml'))
            settings = engine_settings(
                parameters.engine_wanted(wanted),
                load_profiles(config_path('devices')),
                detect,
                catalogue,
                engines_folder(),
            )
            self._model = ModelInfo(settings.engine, settings.model, 0)
            self._engine = make_engine(settings, catalogue, self._tell_engine)
            engine = self._monitor.tapped(self._engine)
            self._executor_for_tools = RosExecutor(self, self._tools)
            self._dispatcher = self._dispatcher_of(self._tools, self._executor_for_tools)
            self._agent = Agent(
                engine,
                self._tools,
                self._dispatcher,
                Limits(
                    wanted.max_turns,
                    wanted.max_calls,
                    wanted.max_tokens,
                    wanted.thinking_tokens,
                    wanted.max_command_chars,
                    wanted.max_corrections,
                ),
                Sampling(wanted.temperature, wanted.seed, wanted.thinking, wanted.bound_thinking),
                Line(wanted.max_goals or settings.batch, wanted.max_queued),
                History(
                    max_sessions=wanted.max_sessions,
                    max_tokens=wanted.max_history_tokens,
                    max_age_s=wanted.session_max_age_s,
                ),
                wanted.ask_user,
                self._executor_for_tools.close,
            )
            self._estop = EStopWatch(self, self._tools.estop, self._stop_for)
            model = engine.open(self._agent.warm_request(), self._tell_loading)
        except (ToolFileError, EngineError, OSError) as error:
            self.get_logger().error(f'not configured: {error}')
            self._free()
            self._publish_engine(EngineState.FAILED, str(error))
            return TransitionCallbackReturn.FAILURE
        self._model, self._is_open = model, True
        self._monitor.open(parameters.watching(wanted), settings, catalogue, self._tools, model)
        self._tell_tools(self._tools)
        self._publish_engine(EngineState.READY, f'{model.model} is ready')
        self.get_logger().info(f'{model.engine}: {model.model}')
        return TransitionCallbackReturn.SUCCESS

    def on_activate(self, state: State) -> TransitionCallbackReturn:
        """Take goals."""
        if self._executor_for_tools is not None:
            self._executor_for_tools.prepare()
        if self._dispatcher is not None:
            self._dispatcher.resume(INACTIVE)
        self._active = True
        return super().on_activate(state)

    def on_deactivate(self, state: State) -> TransitionCallbackReturn:
        """Cancel what runs, wait for it, take no more goals."""
        self._active = False
        if not self._end_commands():
            self.get_logger().error(f'not every command was seen to end within {STOP_S:g} s')
        elif self._executor_for_tools is not None:
            self._executor_for_tools.release()
        return super().on_deactivate(state)

    def on_cleanup(self, state: State) -> TransitionCallbackReturn:
        """Free the model and every ROS client."""
        self._free()
        self._publish_engine(EngineState.CLOSED, 'closed')
        return TransitionCallbackReturn.SUCCESS

    def on_shutdown(self, state: State) -> TransitionCallbackReturn:
        """End everything, from whatever state."""
        self._active = False
        self._end_commands()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    def on_error(self, state: State) -> TransitionCallbackReturn:
        """Free everything, so that the node can be configured again."""
        self._active = False
        self._end_commands()
        self._free()
        return TransitionCallbackReturn.SUCCESS

    # As a process

    def begin(self) -> bool:
        """Configure and activate, if ``autostart`` says so."""
        wanted = TransitionCallbackReturn.SUCCESS
        good = not self.get_parameter('autostart').value or (
            self.trigger_configure() == wanted and self.trigger_activate() == wanted
        )
        if good:
            self._service_manager.ready()
        return bool(good)

    def interrupt(self) -> None:
        """Give up loading a model."""
        engine = self._engine
        if engine is not None:
            engine.close()

    def end(self) -> None:
        """Cancel what runs, end motion, free everything."""
        self._service_manager.stopping()
        try:
            self.trigger_shutdown()
        except RuntimeError as error:  # amid another transition; what it began ends all the same
            self.get_logger().error(f'shut down out of order: {error}')
            self._active = False
            self._end_commands()
            self._free()

    def destroy_node(self) -> None:
        """Leave nothing moving, and free what a node does not free by itself."""
        self._active = False
        self._action.destroy()
        self._end_commands()
        self._free()
        super().destroy_node()
        # rclpy leaves it, and with it a node in the graph whose services never answer.
        self._state_machine.destroy_when_not_in_use()

    def _end_commands(self) -> bool:
        """End every command, and every call that another node has asked for."""
        with self._lock:
            tokens = list(self._tokens.values())
        for token in tokens:
            token.cancel(Cause.STOPPED)
        ended = self._dispatcher is None or self._dispatcher.end_calls(INACTIVE, STOP_S)
        return until_true(lambda: not self._tokens, STOP_S, CancelToken(STOP_S)) and ended

    def _free(self) -> None:
        self._is_open = self._configured = False
        with self._changing_tools:
            tools = self._tools
            parts = (self._engine, self._estop, self._executor_for_tools)
            self._engine = self._tools = self._executor_for_tools = None
            self._dispatcher = self._agent = self._estop = None
        steps: list[Callable[[], object]] = [part.close for part in parts if part is not None]
        if tools is not None:
            steps.append(self._tell_no_tools)
        for step in (*steps, self._monitor.close):
            try:
                step()
            except Exception as error:  # it keeps none of the others from being freed
                self.get_logger().error(f'not freed: {error!r}')

    def _dispatcher_of(self, tools: ToolFile, executor: RosExecutor) -> Dispatcher:
        guard = Guard(
            tools,
            unmet=ConditionChecker(executor.clients, tools),
            ask=self._confirmations.ask,
            latches=self._latches,
            ledger=self._ledger,
        )
        return Dispatcher(tools, guard, executor)

    def _tell_tools(self, tools: ToolFile) -> None:
        for warning in tools.warnings:
            self.get_logger().warning(warning)
        self._manifest.publish(manifest_message(tools, self.get_clock().now().to_msg()))
        self.get_logger().info(f'{len(tools.tools)} tools of {tools.path}')

    def _tell_no_tools(self) -> None:
        self._manifest.publish(manifest_message(None, self.get_clock().now().to_msg()))

    # Goals

    def _take_goal(self, goal: ExecuteCommand.Goal) -> GoalResponse:
        if self._active:
            return GoalResponse.ACCEPT
        self.get_logger().warning('goal rejected: the node is not active')
        return GoalResponse.REJECT

    def _begin_goal(self, handle: ServerGoalHandle) -> None:
        try:
            handle.execute()
        except RuntimeError as error:  # its state could not be published; it runs all the same
            self.get_logger().error(f'goal status not told: {error}')
            self._action.notify_execute(handle, None)

    def _take_cancel(self, handle: ServerGoalHandle) -> CancelResponse:
        self._token(handle).cancel(Cause.CANCELED)
        if not handle.is_active:  # it has ended in the meantime, and its token was for nothing
            self._drop_token(handle)
        return CancelResponse.ACCEPT

    def _token(self, handle: ServerGoalHandle) -> CancelToken:
        """Return the goal's token; a cancel may come before the goal's execution begins."""
        key = bytes(handle.goal_id.uuid)
        with self._lock:
            if key not in self._tokens:
                timeout_s = handle.request.timeout_s
                longest_s = self.get_parameter('goal_timeout_max_s').value
                good = math.isfinite(timeout_s) and 0 < timeout_s <= longest_s
                self._tokens[key] = CancelToken(timeout_s if good else None)
            return self._tokens[key]

    def _drop_token(self, handle: ServerGoalHandle) -> None:
        with self._lock:
            self._tokens.pop(bytes(handle.goal_id.uuid), None)

    async def _execute(self, handle: ServerGoalHandle) -> ExecuteCommand.Result:
        outcome: Outcome = await in_thread(self, lambda: self._carry_out(handle))
        return outcome_message(outcome)

    def _carry_out(self, handle: ServerGoalHandle) -> Outcome:
        """Run one goal in its own thread, to its terminal state."""
        token = self._token(handle)
        try:
            outcome = self._command(handle, token)
        except Exception as error:  # an outcome is owed, whatever went wrong
            self.get_logger().error(f'command failed: {error!r}')
            outcome = Outcome(CommandStatus.ENGINE_FAILED, error=f'internal error: {error!r}')
        try:
            if outcome.status is CommandStatus.SUCCEEDED:
                handle.succeed()
            elif outcome.status is CommandStatus.CANCELED and until_true(
                lambda: handle.is_cancel_requested, 1.0, CancelToken(1.0)
            ):
                handle.canceled()
            else:
                handle.abort()
        except RuntimeError as error:  # as above; who asks for the result is told the truth
            self.get_logger().error(f'goal status not told: {error}')
        finally:
            self._drop_token(handle)
        return outcome

    def _command(self, handle: ServerGoalHandle, token: CancelToken) -> Outcome:
        goal = handle.request
        command = Command(
            id=bytes(handle.goal_id.uuid).hex(),
            text=goal.command,
            session_id=goal.session_id,
            allowed_tools=tuple(goal.allowed_tools),
            dry_run=goal.mode == goal.MODE_DRY_RUN,
            thinking={goal.THINKING_OFF: False, goal.THINKING_ON: True}.get(goal.thinking),
            priority=Priority(min(goal.priority, goal.PRIORITY_OPERATOR)),
        )

        asked = Goal(goal.command, command.allowed_tools, command.dry_run, goal.timeout_s)

        def emit(event: Event) -> None:
            message = self._tell(with_goal(event, asked))
            try:
                handle.publish_feedback(ExecuteCommand.Feedback(event=message))
            except RuntimeError as error:  # the result tells it all once more
                self.get_logger().error(f'feedback not told: {error}')

        agent = self._agent
        if agent is None:
            return rejected(command, 'the node is not configured', emit)
        if agent.is_stop(command.text):
            return agent.execute(command, token, emit)
        problem = self._problem(goal)
        if problem:
            return rejected(command, problem, emit)
        return agent.execute(command, token, emit)

    def _problem(self, goal: ExecuteCommand.Goal) -> str:
        longest_s = self.get_parameter('goal_timeout_max_s').value
        if not (math.isfinite(goal.timeout_s) and 0 < goal.timeout_s <= longest_s):
            return f'timeout_s: expected seconds > 0 and <= {longest_s:g}, got {goal.timeout_s:g}'
        if goal.mode not in (goal.MODE_EXECUTE, goal.MODE_DRY_RUN):
            return f'mode: expected 0 (execute) or 1 (dry run), got {goal.mode}'
        if goal.thinking not in (goal.THINKING_DEFAULT, goal.THINKING_OFF, goal.THINKING_ON):
            return f'thinking: expected 0 (default), 1 (off) or 2 (on), got {goal.thinking}'
        if goal.priority not in (goal.PRIORITY_NORMAL, goal.PRIORITY_OPERATOR):
            return f'priority: expected 0 (normal) or 1 (operator), got {goal.priority}'
        return ''

    # Services

    def _list_tools(
        self, request: ListTools.Request, response: ListTools.Response
    ) -> ListTools.Response:
        if self._tools is not None:
            response.tools = tool_messages(self._tools)
            response.tool_file = self._tools.path
            response.robot = self._tools.robot
        return response

    async def _call_tool(
        self, request: CallTool.Request, response: CallTool.Response
    ) -> CallTool.Response:
        result: ToolResult = await in_thread(self, lambda: self._run_tool(request))
        response.result = result_message(result)
        return response

    def _run_tool(self, request: CallTool.Request) -> ToolResult:
        agent = self._agent
        if not self._active or agent is None:
            return ToolResult(Status.DENIED, error=INACTIVE, rule='inactive')
        with agent.using() as tools:
            return self._direct.run(request, tools.dispatcher, frozenset(tools.file.tools))

    def _cancel_call(
        self, request: CancelCall.Request, response: CancelCall.Response
    ) -> CancelCall.Response:
        response.found = self._direct.cancel(request.id)
        return response

    def _confirm(self, request: Confirm.Request, response: Confirm.Response) -> Confirm.Response:
        return take_answer(self._confirmations, request, response)

    async def _stop(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        self._latches.latch('stop')  # also while there is no agent yet
        response.success = await in_thread(self, lambda: self._end_all('stop'))
        response.message = (
            'stopped; ~/clear_stop lets the robot move again'
            if response.success
            else 'not everything was seen to end'
        )
        return response

    def _stop_for(self, reason: str) -> None:
        """Stop, told by no person: the e-stop's topic or a heartbeat."""
        self._latches.latch(reason)
        self.get_logger().error(f'stopped: {reason}')
        if not self._end_all(reason):
            self.get_logger().error('not everything was seen to end')

    def _end_all(self, reason: str) -> bool:
        """End all that runs and moves; return whether that was seen."""
        agent = self._agent
        try:
            return agent is None or agent.stop_for(reason)
        except Exception as error:  # it is latched and cancelled all the same
            self.get_logger().error(f'a stop met trouble: {error!r}')
            return False

    def _clear_stop(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        still = self._estop.active if self._estop is not None else ''
        if not still:
            self._latches.clear()
            if not self._active:
                self._latches.latch(INACTIVE)
            # It may have tripped in between, and its latch been cleared with the others.
            still = self._estop.active if self._estop is not None else ''
            if still:
                self._latches.latch(still)
        response.success = not still
        response.message = f'{still} still says stop; release it first' if still else ''
        return response

    async def _reload_tools(
        self, request: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        try:
            tools = await in_thread(self, self._take_tools)
        except (ToolFileError, EngineError) as error:
            response.message = f'{error}\nnothing was changed'
            self.get_logger().error(f'tool file not reloaded: {response.message}')
        else:
            response.success = True
            response.message = f'{len(tools.tools)} tools of {tools.path}'
        return response

    def _take_tools(self) -> ToolFile:
        """Read the tool file anew, check all of it, and put it into force.

        What runs keeps the tools that it began with; their clients are freed when it has ended.
        """
        with self._reloading, ExitStack() as undo:
            agent, estop = self._agent, self._estop
            if not self._is_open or agent is None or estop is None:
                raise ToolFileError(['the node is not configured; that will read the tool file'])
            tools = load_checked(self.get_parameter('tool_file').value)
            if tools.estop != estop.listens_to and estop.active:
                why = f'{estop.active} says stop; release it before it is no longer listened to'
                raise ToolFileError([why])
            executor = RosExecutor(self, tools)
            undo.callback(executor.close)
            toolset = agent.toolset(tools, self._dispatcher_of(tools, executor), executor.close)
            agent.read(toolset, CancelToken(READ_S))
            if tools.estop != estop.listens_to:
                estop = EStopWatch(self, tools.estop, self._stop_for)
                undo.callback(estop.close)
            with self._changing_tools:
                if self._agent is not agent:
                    raise ToolFileError(['the node was cleaned up meanwhile'])
                before, self._estop = self._estop, estop
                self._tools, self._executor_for_tools = tools, executor
                self._dispatcher = toolset.dispatcher
            undo.pop_all()
            agent.take(toolset)
            if before is not None and before is not estop:
                before.close()
            if not self._active:
                executor.release()
            self._monitor.take_tools(tools, agent.warm_request())
            self._tell_tools(tools)
            return tools

    # Help

    def _judge_parameters(self, wanted: Sequence[Parameter]) -> SetParametersResult:
        refused = parameters.refusal(p.name for p in wanted) if self._configured else ''
        return SetParametersResult(successful=not refused, reason=refused)

    def _ping(self) -> None:
        """Tell the watchdog that all is well, unless the engine has failed for good."""
        if self._engine is None or self._engine_state is not EngineState.FAILED:
            self._service_manager.alive()

    def _tell_stop(self, reasons: tuple[str, ...]) -> None:
        stops = [reason for reason in reasons if reason != INACTIVE]
        try:
            self._stop_status.publish(stop_message(stops, self.get_clock().now().to_msg()))
        except RuntimeError as error:  # it is latched all the same
            self.get_logger().error(f'stop not told: {error}')

    def _tell_questions(self, questions: tuple[Question, ...]) -> None:
        try:
            self._questions.publish(open_questions(questions))
        except RuntimeError as error:  # unheard, it is not answered, and that means no
            self.get_logger().error(f'question not told: {error}')

    def _tell(self, event: Event) -> EventMsg:
        """Publish an event; return its message."""
        self._monitor.note(event)
        message = event_message(event, self.get_clock().now().to_msg())
        try:
            self._events.publish(message)
        except RuntimeError as error:  # the result tells it all once more
            self.get_logger().error(f'event not told: {error}')
        return message

    def _tell_loading(self, fraction: float, text: str) -> None:
        self._publish_engine(EngineState.LOADING, text, progress=fraction)

    def _tell_engine(self, state: EngineState, text: str) -> None:
        log = self.get_logger()
        if state is EngineState.FAILED:  # a line of its own: rclpy ties a line to one severity
            log.error(f'engine: {text}')
        else:
            log.info(f'engine: {text}')
        # A server that is up for the first time still has the prompt to read.
        if state is not EngineState.READY or self._is_open:
            self._publish_engine(state, text)

    def _publish_engine(self, state: EngineState, text: str, *, progress: float = 0.0) -> None:
        self._engine_state = state
        self._service_manager.status(text)
        self._monitor.engine(state, text, self._model)
        self._engine_status.publish(
            EngineStatus(
                stamp=self.get_clock().now().to_msg(),
                state=int(state),
                engine=self._model.engine,
                model=self._model.model,
                message=text,
                progress=progress,
                context_tokens=self._model.context_tokens,
            )
        )


def main(args: Sequence[str] | None = None) -> int:
    """Run the node until SIGINT or SIGTERM; motion is ended before ROS is."""
    return serve(NemotronNode, args)
