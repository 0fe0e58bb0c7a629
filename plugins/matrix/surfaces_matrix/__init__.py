"""Matrix for Surfaces."""
