#!/bin/bash
# Runs a command where ROS 2 and this package are sourced.
set -e
. "/opt/ros/$ROS_DISTRO/setup.bash"
. /opt/nemotron_ros/setup.bash
exec "$@"
