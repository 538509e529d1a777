"""What a node is asked and does, as markers in the robot's world, for RViz and Foxglove."""
