"""A Matrix client of another family (matrix-js-sdk in Node), driven from tests: what its user would see and do."""

from surfaces_testing.js_client.client import JsClient
from surfaces_testing.js_client.process import NodeMissing, NotSeen, Refused
from surfaces_testing.js_client.values import (
    Device,
    JsMessage,
    JsReaction,
    JsRoom,
    OwnTrust,
    Restored,
    UserTrust,
    Verification,
)

__all__ = [
    "Device",
    "JsClient",
    "JsMessage",
    "JsReaction",
    "JsRoom",
    "NodeMissing",
    "NotSeen",
    "OwnTrust",
    "Refused",
    "Restored",
    "UserTrust",
    "Verification",
]
