"""Files: uploading and fetching."""

from __future__ import annotations

from surfaces_testing.homeserver.call import Answer, Call, Route
from surfaces_testing.homeserver.errors import MatrixError, not_found
from surfaces_testing.homeserver.event import Json
from surfaces_testing.homeserver.world import World

MAX_UPLOAD = 110 * 1024 * 1024


async def upload(world: World, call: Call) -> Json:
    """POST /media/v3/upload."""
    if len(call.body) > MAX_UPLOAD:
        raise MatrixError(413, "M_TOO_LARGE", "Upload request body is too large")
    mime = call.headers.get("Content-Type", "application/octet-stream")
    return {"content_uri": world.upload(call.user_id, call.body, mime, call.query.get("filename"))}


async def download(world: World, call: Call) -> Answer:
    """GET /client/v1/media/download/{serverName}/{mediaId}[/{fileName}]."""
    media = world.media.get(call.args[1])
    if media is None or call.args[0] != world.server_name:
        raise not_found(f"Not found '{call.args[0]}/{call.args[1]}'")
    name = call.args[2] if len(call.args) == 3 else media.name
    disposition = "attachment" if name is None else f'attachment; filename="{name.encode("ascii", "replace").decode()}"'
    return Answer(body=media.data, headers={"Content-Type": media.mime, "Content-Disposition": disposition})


async def config(world: World, call: Call) -> Json:
    """GET /client/v1/media/config."""
    return {"m.upload.size": MAX_UPLOAD}


_DOWNLOAD = "/_matrix/client/v1/media/download/*/*"

ROUTES = (
    Route(name="upload", method="POST", path="/_matrix/media/v3/upload", handler=upload),
    Route(name="download", method="GET", path=_DOWNLOAD, handler=download),
    Route(name="download", method="GET", path=f"{_DOWNLOAD}/*", handler=download),
    Route(name="media_config", method="GET", path="/_matrix/client/v1/media/config", handler=config),
)
