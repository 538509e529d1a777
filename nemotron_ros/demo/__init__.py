"""The ten commands of ``make demo``, and what came of them."""
