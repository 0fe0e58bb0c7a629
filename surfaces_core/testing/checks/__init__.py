"""Contract checks: plain async functions that any plugin author can call, one module for each kind of driver."""
