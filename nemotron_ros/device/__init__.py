"""Which board this is, which profile fits it, and whether it has what that profile needs."""
