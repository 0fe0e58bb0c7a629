"""Keeps a host running where nothing else does, and brings back what ran before. It sees nothing that is said."""
