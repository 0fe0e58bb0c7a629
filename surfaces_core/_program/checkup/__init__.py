"""`surfaces plugins check`: whether a plugin keeps what an operator and the host rely on."""
