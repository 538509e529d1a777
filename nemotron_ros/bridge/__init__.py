"""How it is done on ROS: JSON and messages, topics, services, actions, what the robot reports."""
