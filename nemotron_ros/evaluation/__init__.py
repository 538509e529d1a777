"""How often the robot does what it is told: scenarios, runs of them, scores, comparisons."""
