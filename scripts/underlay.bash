# Source this to have ROS 2 itself: the wheels in .venv, or the ROS 2 that is sourced already.
# scripts/env.bash sources it and adds this workspace.

_nemotron_underlay() {
    local root venv folder prefixes
    root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P) || return 1
    venv=$root/.venv
    if [ ! -x "$venv/bin/python" ]; then
        echo "nothing is set up in $root yet: run 'make setup' there" >&2
        return 1
    fi

    export VIRTUAL_ENV=$venv
    _nemotron_first PATH "$venv/bin"
    export ROS_AUTOMATIC_DISCOVERY_RANGE=${ROS_AUTOMATIC_DISCOVERY_RANGE:-LOCALHOST}

    if grep -qi '^include-system-site-packages *= *true' "$venv/pyvenv.cfg"; then
        if [ -z "${ROS_DISTRO-}" ] || [ -z "${AMENT_PREFIX_PATH-}" ]; then
            echo "$venv was made for a ROS 2 installation: source its setup.bash first," \
                "or run 'make setup' to use the wheels instead" >&2
            return 1
        fi
        return 0
    fi

    IFS=: read -r -a prefixes <<< "${AMENT_PREFIX_PATH-}"
    for folder in ${ROS_DISTRO:+"${prefixes[@]}"}; do
        if [ "$folder" != "$venv" ] && [ -e "$folder/share/ament_index/resource_index/packages/rclpy" ]; then
            echo "ROS 2 $ROS_DISTRO is sourced but $venv holds the wheels: run 'make setup' to use the" \
                "sourced one, or come from a shell without it" >&2
            return 1
        fi
    done

    # The loader reads LD_LIBRARY_PATH when a program starts. The wheels would set it by starting
    # Python a second time; the last variable tells them that it is done.
    for folder in "$venv"/lib/python3.*/site-packages/ros_*.libs "$venv/lib"; do
        _nemotron_first LD_LIBRARY_PATH "$folder"
    done
    export _ROS_WHEELS_BOOTSTRAP_COMPLETE=1
    _nemotron_first AMENT_PREFIX_PATH "$venv"
    _nemotron_first CMAKE_PREFIX_PATH "$venv"
}

# Put a folder ($2) at the front of a list of folders ($1), unless it is in the list.
_nemotron_first() {
    case ":${!1-}:" in
        *":$2:"*) ;;
        *) export "$1=$2${!1:+:${!1}}" ;;
    esac
}

_nemotron_underlay
_nemotron_status=$?
unset -f _nemotron_underlay _nemotron_first
return $_nemotron_status
