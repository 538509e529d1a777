#!/usr/bin/env bash
# Every test, in two runs side by side: those that speak ROS mostly wait. Each has a ROS domain
# of its own. Exits with 1 if either fails.
set -uo pipefail
cd "$(dirname "$0")/.."

beside=$(mktemp)
trap 'rm -f "$beside"' EXIT
# What bash runs in the background is deaf to interrupts, and the tests send some.
env --default-signal=INT python -m pytest -rs test/unit test/engine test/examples test/sim \
    > "$beside" 2>&1 &
python -m pytest -rs test/ros test/launch
with_ros=$?
wait $!
beside_code=$?
cat "$beside"
echo "tests with ROS: exit code $with_ros; the others: exit code $beside_code"
[ "$with_ros" -eq 0 ] && [ "$beside_code" -eq 0 ]
