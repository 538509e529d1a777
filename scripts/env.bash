# Source this to run what `make setup` built:   . scripts/env.bash
# It may be sourced from any folder, and more than once.

# shellcheck source=scripts/underlay.bash
. "$(dirname -- "${BASH_SOURCE[0]}")/underlay.bash" || return 1

# Each package by itself, and not install/local_setup.bash: that one fails in a folder whose
# path has a space in it.
_nemotron_install=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)/install
for _nemotron_package in nemotron_msgs nemotron_ros; do
    if [ ! -f "$_nemotron_install/$_nemotron_package/share/$_nemotron_package/package.bash" ]; then
        echo "$_nemotron_package is not built yet: run 'make setup'" >&2
        unset _nemotron_install _nemotron_package _nemotron_status
        return 1
    fi
    COLCON_CURRENT_PREFIX=$_nemotron_install/$_nemotron_package
    . "$COLCON_CURRENT_PREFIX/share/$_nemotron_package/package.bash"
done
unset _nemotron_install _nemotron_package _nemotron_status COLCON_CURRENT_PREFIX
