"""Who says it: the engines, and the processes that they run in."""
