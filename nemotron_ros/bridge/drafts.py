"""First drafts of tools for types that are known: data for :mod:`nemotron_ros.bridge.scaffold`.

Numbers have no bounds here: whoever enables a tool sets them, and the loader asks for each.
"""

from __future__ import annotations

from typing import Any

Draft = dict[str, Any]

QUIET_PACKAGES = frozenset(
    {
        *('action_msgs', 'bond', 'composition_interfaces', 'diagnostic_msgs', 'lifecycle_msgs'),
        *('nemotron_msgs', 'rcl_interfaces', 'rosbag2_interfaces', 'rosgraph_msgs'),
        *('service_msgs', 'statistics_msgs', 'tf2_msgs', 'type_description_interfaces'),
        *('visualization_msgs',),
    }
)
"""Packages whose interfaces keep ROS itself running, and are nobody's tool."""

_NUMBER = {'type': 'number'}
_POSITIVE = {'type': 'number', 'minimum': 0}
_STRAIGHT = {
    'direction': {'enum': ['forward', 'backward']},
    'distance_m': _POSITIVE,
}
_VELOCITY = {'linear': {'x': "{{ 0.1 if direction == 'forward' else -0.1 }}"}}
_FOR_DISTANCE = {'rate_hz': 20, 'for_s': '{{ distance_m / 0.1 }}', 'then': {}}
_POINT = {'x_m': _NUMBER, 'y_m': _NUMBER, 'heading_deg': _NUMBER}
_POSE = {
    'position': {'x': '{{ x_m }}', 'y': '{{ y_m }}'},
    'orientation': '{{ quaternion(radians(heading_deg)) }}',
}
_POSE_STAMPED = {'header': {'frame_id': 'map'}, 'pose': _POSE}

PUBLISH: dict[str, Draft] = {
    'geometry_msgs/msg/Twist': {
        'description': 'Drive straight.',
        'parameters': _STRAIGHT,
        'topic': {'message': _VELOCITY, **_FOR_DISTANCE},
    },
    'geometry_msgs/msg/TwistStamped': {
        'description': 'Drive straight.',
        'parameters': _STRAIGHT,
        'topic': {'message': {'twist': _VELOCITY}, **_FOR_DISTANCE},
    },
    'geometry_msgs/msg/PoseStamped': {
        'description': 'Go to a pose.',
        'parameters': _POINT,
        'topic': {'message': _POSE_STAMPED},
    },
    'std_msgs/msg/String': {
        'description': 'Send a text.',
        'parameters': {'text': {'type': 'string'}},
        'topic': {'message': {'data': '{{ text }}'}},
    },
}
"""For a topic that others listen to."""

SERVICE: dict[str, Draft] = {
    'std_srvs/srv/SetBool': {
        'description': 'Switch on or off.',
        'parameters': {'switch': {'enum': ['on', 'off']}},
        'service': {'request': {'data': "{{ switch == 'on' }}"}, 'value': '{{ message }}'},
    },
    'std_srvs/srv/Trigger': {'service': {'value': '{{ message }}'}},
}
"""For a service."""

ACTION: dict[str, Draft] = {
    'nav2_msgs/action/NavigateToPose': {
        'description': 'Go to a pose.',
        'parameters': _POINT,
        'action': {'goal': {'pose': _POSE_STAMPED}, 'value': 'there'},
    },
    'nav2_msgs/action/Spin': {
        'description': 'Turn on the spot.',
        'parameters': {'direction': {'enum': ['left', 'right']}, 'angle_deg': _POSITIVE},
        'action': {
            'goal': {
                'target_yaw': (
                    "{{ radians(angle_deg) if direction == 'left' else -radians(angle_deg) }}"
                ),
                'time_allowance': {'sec': 30},
            },
            'value': 'done',
        },
    },
    'nav2_msgs/action/DriveOnHeading': {
        'description': 'Drive straight.',
        'parameters': _STRAIGHT,
        'action': {
            'goal': {
                'target': {'x': "{{ distance_m if direction == 'forward' else -distance_m }}"},
                'speed': "{{ 0.1 if direction == 'forward' else -0.1 }}",
                'time_allowance': {'sec': 30},
            },
            'value': 'done',
        },
    },
    'nav2_msgs/action/BackUp': {
        'description': 'Drive straight backward.',
        'parameters': {'distance_m': _POSITIVE},
        'action': {
            'goal': {
                'target': {'x': '{{ distance_m }}'},
                'speed': 0.1,
                'time_allowance': {'sec': 30},
            },
            'value': 'done',
        },
    },
    'control_msgs/action/GripperCommand': {
        'description': 'Open or close the gripper.',
        'parameters': {'opening_m': _POSITIVE, 'force_n': _POSITIVE},
        'action': {
            'goal': {'command': {'position': '{{ opening_m }}', 'max_effort': '{{ force_n }}'}}
        },
    },
}
"""For an action."""

READ: dict[str, Draft] = {
    'sensor_msgs/msg/BatteryState': {
        'description': 'Battery charge in percent.',
        'value': '{{ round(percentage * 100) }}',
    },
    'nav_msgs/msg/Odometry': {
        'description': 'Position in metres and heading in degrees, by odometry.',
        'value': {
            'x_m': '{{ round(pose.pose.position.x, 2) }}',
            'y_m': '{{ round(pose.pose.position.y, 2) }}',
            'heading_deg': '{{ round(degrees(yaw(pose.pose.orientation)), 1) }}',
        },
    },
    'geometry_msgs/msg/PoseStamped': {
        'description': 'Position in metres and heading in degrees.',
        'value': {
            'x_m': '{{ round(pose.position.x, 2) }}',
            'y_m': '{{ round(pose.position.y, 2) }}',
            'z_m': '{{ round(pose.position.z, 2) }}',
            'heading_deg': '{{ round(degrees(yaw(pose.orientation)), 1) }}',
        },
    },
    'sensor_msgs/msg/JointState': {
        'description': 'Name of every joint, and its position in radians or metres.',
        'value': {'names': '{{ name }}', 'positions': '{{ position }}'},
    },
    'sensor_msgs/msg/LaserScan': {
        'description': 'Distance in metres to the nearest obstacle, and where it is.',
        'kind': 'scan',
    },
    'sensor_msgs/msg/Image': {
        'description': 'Size and brightness of the image.',
        'kind': 'image',
    },
    'sensor_msgs/msg/Range': {
        'description': 'Distance to the nearest obstacle, in metres.',
        'value': '{{ round(range, 2) }}',
    },
    'sensor_msgs/msg/NavSatFix': {
        'description': 'Latitude and longitude in degrees, altitude in metres.',
        'value': {
            'latitude_deg': '{{ latitude }}',
            'longitude_deg': '{{ longitude }}',
            'altitude_m': '{{ altitude }}',
        },
    },
    'sensor_msgs/msg/Imu': {
        'description': 'Heading in degrees, by the inertial sensor.',
        'value': '{{ round(degrees(yaw(orientation)), 1) }}',
    },
    'sensor_msgs/msg/Temperature': {
        'description': 'Temperature in degrees Celsius.',
        'value': '{{ round(temperature, 1) }}',
    },
}
"""For a topic that others publish: what to tell of it, or the kind of read that sums it up."""
