"""The trace: what happened on a robot, kept on disk, shown, counted and replayed."""
