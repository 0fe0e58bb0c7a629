"""The refusals of a homeserver, with Matrix's error codes."""

from __future__ import annotations


class MatrixError(Exception):
    """Becomes an answer with this status and `errcode` (Matrix client-server API, "Standard error response")."""

    def __init__(self, status: int, errcode: str, error: str, **extra: object) -> None:
        super().__init__(f"{status} {errcode}: {error}")
        self.status = status
        self.body: dict[str, object] = {"errcode": errcode, "error": error, **extra}

    @property
    def errcode(self) -> str:
        """Like `M_FORBIDDEN`."""
        return str(self.body["errcode"])


def forbidden(error: str) -> MatrixError:
    """Not allowed."""
    return MatrixError(403, "M_FORBIDDEN", error)


def not_found(error: str) -> MatrixError:
    """Not there."""
    return MatrixError(404, "M_NOT_FOUND", error)


def unrecognized() -> MatrixError:
    """No such endpoint."""
    return MatrixError(404, "M_UNRECOGNIZED", "Unrecognized request")


def unknown_token() -> MatrixError:
    """The access token is not (any more) valid."""
    return MatrixError(401, "M_UNKNOWN_TOKEN", "Invalid access token passed.", soft_logout=False)


def missing_token() -> MatrixError:
    """No access token came along."""
    return MatrixError(401, "M_MISSING_TOKEN", "Missing access token")


def not_joined(user_id: str, room_id: str) -> MatrixError:
    """The sender is not in the room."""
    return forbidden(f"User {user_id} not in room {room_id}")


def bad_json(error: str) -> MatrixError:
    """The body is JSON of the wrong shape."""
    return MatrixError(400, "M_BAD_JSON", error)


def not_json() -> MatrixError:
    """The body is not JSON."""
    return MatrixError(400, "M_NOT_JSON", "Content not JSON.")


def invalid(error: str) -> MatrixError:
    """A parameter makes no sense."""
    return MatrixError(400, "M_INVALID_PARAM", error)


def too_large() -> MatrixError:
    """The event is over 65,536 bytes (Matrix client-server API, "Size limits")."""
    return MatrixError(413, "M_TOO_LARGE", "event too large")
