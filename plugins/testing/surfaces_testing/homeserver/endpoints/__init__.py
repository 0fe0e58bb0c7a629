"""The client-server API of Matrix, as far as bots and their tests need it."""

from surfaces_testing.homeserver.call import Routes
from surfaces_testing.homeserver.endpoints import directory, history, media, membership, sessions, syncing, talking

ROUTES = Routes(
    *sessions.ROUTES,
    *syncing.ROUTES,
    *membership.ROUTES,
    *talking.ROUTES,
    *history.ROUTES,
    *directory.ROUTES,
    *media.ROUTES,
)

__all__ = ["ROUTES"]
