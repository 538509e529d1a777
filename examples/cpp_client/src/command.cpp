// Gives one command in words, shows what happens as it happens, and cancels it on Ctrl-C:
//   ros2 run nemotron_cpp_client command 'drive 1.2 metres forward' [NODE]

#include <atomic>
#include <chrono>
#include <csignal>
#include <iostream>
#include <memory>
#include <string>

#include "nemotron_msgs/action/execute_command.hpp"
#include "rclcpp/rclcpp.hpp"
#include "rclcpp_action/rclcpp_action.hpp"

using Command = nemotron_msgs::action::ExecuteCommand;
using Handle = rclcpp_action::ClientGoalHandle<Command>;
using namespace std::chrono_literals;

namespace
{
volatile std::sig_atomic_t interrupted = 0;

void show(Handle::SharedPtr, const std::shared_ptr<const Command::Feedback> feedback)
{
  const auto & event = feedback->event;
  std::cout << event.text_delta << std::flush;
  if (event.phase != nemotron_msgs::msg::Event::PHASE_RESULT) {
    return;
  }
  for (const auto & call : event.call) {
    const auto & result = call.result;
    std::cout << call.name << ' ' << call.arguments << ": " <<
      (result.value.empty() ? result.error : result.value) << '\n';
  }
}
}  // namespace

int main(int argc, char ** argv)
{
  // rclcpp's own handler would end ROS before the cancel is sent.
  rclcpp::init(argc, argv, rclcpp::InitOptions(), rclcpp::SignalHandlerOptions::None);
  std::signal(SIGINT, [](int) {interrupted = 1;});
  const auto arguments = rclcpp::remove_ros_arguments(argc, argv);
  if (arguments.size() < 2) {
    std::cerr << "expected a command in words, and perhaps the nemotron node's name\n";
    return 2;
  }
  const std::string server = arguments.size() > 2 ? arguments[2] : "nemotron";
  const auto node = std::make_shared<rclcpp::Node>("example_cpp_commander");
  const auto client =
    rclcpp_action::create_client<Command>(node, server + "/execute_command");
  if (!client->wait_for_action_server(10s)) {
    std::cerr << "nobody serves commands at " << server << '\n';
    return 1;
  }

  Command::Goal goal;
  goal.command = arguments[1];
  rclcpp_action::Client<Command>::SendGoalOptions options;
  options.feedback_callback = show;
  const auto accepted = client->async_send_goal(goal, options);
  if (rclcpp::spin_until_future_complete(node, accepted, 10s) != rclcpp::FutureReturnCode::SUCCESS ||
    !accepted.get())
  {
    std::cerr << "the command was not taken\n";
    return 1;
  }
  const auto handle = accepted.get();
  const auto ended = client->async_get_result(handle);
  bool cancelled = false;
  while (rclcpp::spin_until_future_complete(node, ended, 50ms) !=
    rclcpp::FutureReturnCode::SUCCESS)
  {
    if (interrupted && !cancelled) {
      cancelled = true;
      client->async_cancel_goal(handle);
    }
  }
  const auto result = ended.get().result;
  std::cout << '\n' << (result->text.empty() ? result->error : result->text) << '\n';
  rclcpp::shutdown();
  return result->status == Command::Result::STATUS_SUCCEEDED ? 0 : 1;
}
