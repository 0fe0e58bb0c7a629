"""Files for Surfaces on a volume shared with the agents."""
