"""A real Matrix homeserver (Synapse) for demos and tests: on loopback, on SQLite, in one folder."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import importlib.util
import json
import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp

from surfaces_demo.children import Child, DemoError, free_port

PYTHON_VARIABLE = "SURFACES_SYNAPSE_PYTHON"
MISSING = (
    "There is no homeserver to start. Run `make synapse`, or `pip install 'surfaces-demo[homeserver]'`, "
    f"or name a Python that has matrix-synapse in {PYTHON_VARIABLE}."
)
SERVER_NAME = "localhost"

_PLENTY = {"per_second": 10_000, "burst_count": 10_000}
_RELAXED_LIMITS: dict[str, object] = {
    "rc_message": _PLENTY,
    "rc_registration": _PLENTY,
    "rc_login": {"address": _PLENTY, "account": _PLENTY, "failed_attempts": _PLENTY},
    "rc_admin_redaction": _PLENTY,
    "rc_joins": {"local": _PLENTY, "remote": _PLENTY},
    "rc_joins_per_room": _PLENTY,
    "rc_invites": {"per_room": _PLENTY, "per_user": _PLENTY, "per_issuer": _PLENTY},
    "rc_key_requests": _PLENTY,
    "rc_media_create": _PLENTY,
    "rc_presence": {"per_user": _PLENTY},
    "rc_room_creation": _PLENTY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A registered user of the homeserver and how to log in."""

    user_id: str
    password: str


def find_python() -> Path:
    """The Python that has Synapse, in an environment of its own where there is one.

    Raises `DemoError` with the remedy.
    """
    named = os.environ.get(PYTHON_VARIABLE)
    if named is not None:
        if not Path(named).is_file():
            raise DemoError(f"{PYTHON_VARIABLE} names {named}, which is no file. {MISSING}")
        return Path(named)
    for python in _candidates():
        if python.is_file():
            return python
    if importlib.util.find_spec("synapse") is not None:
        return Path(sys.executable)
    raise DemoError(MISSING)


def _candidates() -> Iterator[Path]:
    checkout = Path(__file__).resolve().parents[3]
    yield checkout / ".synapse/bin/python"
    yield Path.cwd() / ".synapse/bin/python"


class Synapse:
    """A homeserver that lives as long as its `async with` block; its folder may be used again later.

    `strict_limits` leaves Synapse's own rate limits in force, as real servers have them.
    """

    def __init__(self, folder: Path, *, port: int = 0, room_version: str = "12", strict_limits: bool = False) -> None:
        self.folder = folder
        self.port = port or free_port()
        self.room_version = room_version
        self.strict_limits = strict_limits
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://127.0.0.1:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self, timeout_s: float = 60.0) -> None:
        """Start it and wait until it answers. Raises `DemoError`."""
        python = find_python()
        config = self._write_config()
        command = [str(python), "-m", "synapse.app.homeserver", "-c", str(config)]
        self._child = await Child.start("synapse", command, folder=self.folder, env={"PYTHONPATH": ""})
        deadline = time.monotonic() + timeout_s
        while not await self._answers():
            self._child.check()
            if time.monotonic() > deadline:
                await self.stop()
                raise DemoError(f"The homeserver was not ready in {timeout_s:.0f} s\n{self._child.tail()}")
            await asyncio.sleep(0.05)

    async def stop(self) -> None:
        """Stop it; its folder stays."""
        if self._child is not None:
            await self._child.stop()

    async def kill(self) -> None:
        """Pull its plug."""
        if self._child is not None:
            await self._child.kill()

    def tail(self, lines: int = 15) -> str:
        """The last lines of its log."""
        return "" if self._child is None else self._child.tail(lines)

    async def register(self, name: str, password: str | None = None, *, admin: bool = False) -> Account:
        """Register a user by the shared secret (Synapse admin API, `/_synapse/admin/v1/register`).

        Raises `DemoError` when the name is taken.
        """
        password = password or secrets.token_urlsafe(12)
        address = f"{self.url}/_synapse/admin/v1/register"
        async with aiohttp.ClientSession() as session:
            async with session.get(address) as response:
                nonce = (await response.json())["nonce"]
            fields = [nonce, name, password, "admin" if admin else "notadmin"]
            mac = hmac.new(self._secret().encode(), "\0".join(fields).encode(), hashlib.sha1)
            body = {"nonce": nonce, "username": name, "password": password, "admin": admin, "mac": mac.hexdigest()}
            async with session.post(address, json=body) as response:
                answer = await response.json()
        if "user_id" not in answer:
            raise DemoError(f"The homeserver would not register {name}: {answer.get('error', 'no reason given')}")
        return Account(user_id=answer["user_id"], password=password)

    async def _answers(self) -> bool:
        try:
            async with (
                aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=5)) as session,
                session.get(f"{self.url}/_matrix/client/versions") as response,
            ):
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _secret(self) -> str:
        """The secret for registering, made once per folder."""
        return self._keep("registration.secret", lambda: secrets.token_urlsafe(32))

    def _signing_key(self) -> str:
        def make() -> str:
            return "ed25519 a_demo " + base64.b64encode(secrets.token_bytes(32)).decode().rstrip("=")

        return self._keep("signing.key", make)

    def _keep(self, name: str, make: Callable[[], str]) -> str:
        path = self.folder / name
        if not path.exists():
            path.write_text(make())
            path.chmod(0o600)
        return path.read_text()

    def _write_config(self) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True)
        # JSON is YAML.
        log_config = self.folder / "log.json"
        log_config.write_text(json.dumps(_LOG_CONFIG))
        path = self.folder / "homeserver.json"
        path.write_text(json.dumps(self._config(log_config), indent=1))
        path.chmod(0o600)
        return path

    def _config(self, log_config: Path) -> dict[str, object]:
        listener = {
            "type": "http",
            "port": self.port,
            "bind_addresses": ["127.0.0.1"],
            "resources": [{"names": ["client"], "compress": False}],
        }
        return {
            "server_name": SERVER_NAME,
            "public_baseurl": f"{self.url}/",
            "listeners": [listener],
            "pid_file": str(self.folder / "synapse.pid"),
            "log_config": str(log_config),
            "database": {"name": "sqlite3", "args": {"database": str(self.folder / "homeserver.db")}},
            "media_store_path": str(self.folder / "media"),
            "max_upload_size": "110M",
            "signing_key": self._signing_key(),
            "registration_shared_secret": self._secret(),
            "default_room_version": self.room_version,
            "bcrypt_rounds": 4,
            "presence": {"enabled": False},
            "report_stats": False,
            "trusted_key_servers": [],
            **({} if self.strict_limits else _RELAXED_LIMITS),
        }


_LOG_CONFIG: dict[str, object] = {
    "version": 1,
    "formatters": {"plain": {"format": "%(asctime)s %(levelname)s %(name)s %(message)s"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"level": "WARNING", "handlers": ["console"]},
    "disable_existing_loggers": False,
}
