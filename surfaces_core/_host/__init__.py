"""The host as it runs: its parts put together, who lives how long, how it ends."""
