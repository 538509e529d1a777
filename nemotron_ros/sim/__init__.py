"""The simulated robot: its flat, its physics, its topics, and the referee that knows the truth."""
