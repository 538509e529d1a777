# The node: ROS 2, both packages and the embedded engine, for x86-64 and aarch64. No model is in
# it, and no GPU is needed: servers of GPUs run in containers of their own, beside this one.
#   docker build -f docker/node.Dockerfile -t nemotron_ros .
# JetPack 6 goes with --build-arg ROS_DISTRO=humble, everything newer with jazzy.
ARG ROS_DISTRO=jazzy

FROM ros:${ROS_DISTRO}-ros-base AS build
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/*
# Python's packages lie in an environment that sees those of the system. NumPy has to be the
# system's: the messages of ROS 2 are compiled against it.
COPY requirements/base.txt requirements/constraints.txt /requirements/
RUN python3 -m venv --system-site-packages /opt/nemotron \
    && /opt/nemotron/bin/pip install --no-cache-dir --only-binary :all: \
        -c /requirements/constraints.txt -r /requirements/base.txt \
    && ! compgen -G '/opt/nemotron/lib/python3*/site-packages/numpy'
WORKDIR /ws/src
COPY msg nemotron_msgs
COPY package.xml setup.py setup.cfg LICENSE nemotron_ros/
COPY resource nemotron_ros/resource
COPY requirements nemotron_ros/requirements
COPY scripts/nemotron nemotron_ros/scripts/nemotron
COPY config nemotron_ros/config
COPY launch nemotron_ros/launch
COPY examples nemotron_ros/examples
COPY nemotron_ros nemotron_ros/nemotron_ros
WORKDIR /ws
# By the environment's Python, so that the programs that it installs run with it.
RUN . "/opt/ros/$ROS_DISTRO/setup.bash" \
    && /opt/nemotron/bin/python -m colcon build --merge-install --install-base /opt/nemotron_ros \
        --cmake-args -DBUILD_TESTING=OFF

FROM ros:${ROS_DISTRO}-ros-core
# What package.xml lists, and nothing to build with.
RUN apt-get update \
    && apt-get install -y --no-install-recommends \
        "ros-$ROS_DISTRO-action-msgs" \
        "ros-$ROS_DISTRO-ament-index-python" \
        "ros-$ROS_DISTRO-builtin-interfaces" \
        "ros-$ROS_DISTRO-diagnostic-msgs" \
        "ros-$ROS_DISTRO-geometry-msgs" \
        "ros-$ROS_DISTRO-launch" \
        "ros-$ROS_DISTRO-launch-ros" \
        "ros-$ROS_DISTRO-lifecycle-msgs" \
        "ros-$ROS_DISTRO-nav-msgs" \
        "ros-$ROS_DISTRO-rcl-interfaces" \
        "ros-$ROS_DISTRO-rclpy" \
        "ros-$ROS_DISTRO-ros2launch" \
        "ros-$ROS_DISTRO-rosgraph-msgs" \
        "ros-$ROS_DISTRO-rosidl-default-runtime" \
        "ros-$ROS_DISTRO-rosidl-parser" \
        "ros-$ROS_DISTRO-sensor-msgs" \
        "ros-$ROS_DISTRO-std-msgs" \
        "ros-$ROS_DISTRO-std-srvs" \
        "ros-$ROS_DISTRO-tf2-msgs" \
        "ros-$ROS_DISTRO-visualization-msgs" \
        libgomp1 \
        python3-httpx \
        python3-jinja2 \
        python3-jsonschema \
        python3-numpy \
        python3-pil \
        python3-rich \
        python3-tqdm \
        python3-yaml \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/nemotron /opt/nemotron
COPY --from=build /opt/nemotron_ros /opt/nemotron_ros
COPY docker/entrypoint.bash docker/node_health.py /opt/nemotron/docker/
COPY docker/dds_loopback.xml docker/dds_network.xml /opt/nemotron/docker/
# A user that the images of Ubuntu do not have already; what it may write to are volumes.
RUN useradd --uid 10001 --create-home nemotron \
    && mkdir /models /cache \
    && chown nemotron /models /cache
ENV NEMOTRON_MODELS=/models/gguf \
    HF_HOME=/models/hub \
    XDG_CACHE_HOME=/cache \
    ROS_LOG_DIR=/tmp/ros_log \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER nemotron
STOPSIGNAL SIGINT
HEALTHCHECK --interval=30s --timeout=15s --start-period=15m --retries=3 \
    CMD ["/opt/nemotron/docker/entrypoint.bash", "/opt/nemotron/bin/python", "/opt/nemotron/docker/node_health.py"]
ENTRYPOINT ["/opt/nemotron/docker/entrypoint.bash"]
CMD ["ros2", "launch", "nemotron_ros", "nemotron.launch.py", "--show-args"]
