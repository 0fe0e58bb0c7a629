"""A tiny MCP server for tests: a program that is spoken to over its standard input, or over HTTP at a port."""

from __future__ import annotations

import os
import sys
import time

from mcp.server import MCPServer

server = MCPServer("tiny")


@server.tool()
def add(a: int, b: int) -> int:
    """Adds two numbers."""
    return a + b


@server.tool()
def variables() -> str:
    """The names in its environment."""
    return " ".join(sorted(os.environ))


@server.tool()
def fail() -> str:
    """Fails as tools do."""
    raise ValueError("the tool's own words")


@server.tool()
def crash() -> str:
    """Ends the server."""
    os._exit(3)


@server.tool()
def hang() -> str:
    """Never answers."""
    time.sleep(600)
    return ""


@server.tool(name="no good name!")
def odd() -> str:
    """No model would take this name."""
    return ""


if __name__ == "__main__":
    if len(sys.argv) > 1:
        server.run(transport="streamable-http", host="127.0.0.1", port=int(sys.argv[1]))
    else:
        server.run()
