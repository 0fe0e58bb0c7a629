"""Holds the account's secrets: in the host's state, and encrypted with the recovery key in the account itself.

What is new is kept here first and stored there then, so a crash in between loses nothing; after the loss of the
state the recovery key alone brings everything back. A secret storage that others have made is used where the
recovery key fits it, and never replaced.
"""

from __future__ import annotations

import os
import secrets as chance
from collections.abc import Mapping
from pathlib import Path

import orjson
from pydantic import BaseModel, Field, SecretStr, ValidationError
from structlog.typing import FilteringBoundLogger

from surfaces_core import ConfigError, Store
from surfaces_matrix.e2ee import recovery, secrets
from surfaces_matrix.e2ee.keep import pickle_key
from surfaces_matrix.e2ee.secrets import Secrets, decoded, encoded
from surfaces_matrix.shapes import mapping

_ROW = "e2ee.vault"


class _Kept(BaseModel):
    recovery_key: str = Field("", repr=False)
    """Unpadded base64."""
    key_id: str = ""
    """Of the secret storage that it opens."""
    secrets: dict[str, str] = Field(default_factory=dict, repr=False)
    """By name."""
    stored: list[str] = Field(default_factory=list)
    """Names of those that are in the account, too."""


class Vault:
    """The secrets of one account. `name` is the surface's, for what is said of its settings."""

    def __init__(
        self,
        name: str,
        storage: Secrets,
        store: Store,
        log: FilteringBoundLogger,
        *,
        recovery_key: SecretStr | None = None,
        recovery_key_file: Path | None = None,
        secret: str | None = None,
    ) -> None:
        self._name = name
        self._storage = storage
        self._store = store
        self._log = log
        self._given = recovery_key
        self._secret = secret
        """Of the operator's, by which what is kept here is encrypted."""
        self._file = recovery_key_file
        self._kept = _Kept()
        self.problem = ""
        """Why the account's secret storage cannot be used, and what to do."""

    @property
    def recovery_key(self) -> str:
        """The key as people write it, or nothing where none is known that opens the account's secret storage."""
        return recovery.written(self._key) if self._kept.key_id else ""

    @property
    def missing(self) -> list[str]:
        """Names of secrets that are only here."""
        return sorted(set(self._kept.secrets) - set(self._kept.stored))

    @property
    def _key(self) -> bytes:
        return decoded(self._kept.recovery_key)

    # Opening

    async def load(self) -> None:
        """Read what is kept here."""
        row = await self._store.get(_ROW)
        if row is None:
            self._kept = _Kept()
            return
        try:
            sealed = mapping(orjson.loads(row))
            key = await pickle_key(self._store, self._secret)
            self._kept = _Kept.model_validate_json(secrets.decrypt(key, _ROW, sealed))
        except (ValueError, ValidationError):
            self._log.warning("vault.unreadable")

    async def unlock(self) -> None:
        """Find the key that fits the account's secret storage, or make both. Raises `Unavailable` and `Refused`."""
        if not await self.look():
            await self._set_up()

    async def look(self) -> bool:
        """Find the key that fits the account's secret storage; False where there is none. Raises as `unlock`."""
        there = await self._storage.default()
        self.problem = ""
        if there is None:
            return False
        for key in self._candidates():
            if secrets.fits(key, there.described):
                if self._kept.key_id != there.key_id:  # another storage than the one that was filled
                    await self._keep(recovery_key=encoded(key), key_id=there.key_id, stored=[])
                return True
        self._kept.key_id = ""
        self.problem = (
            "the account has a secret storage that the host cannot open: "
            f"set surfaces.{self._name}.recovery_key to the account's recovery key"
        )
        return True

    async def _set_up(self) -> None:
        if not self._kept.recovery_key:
            key = next(iter(self._candidates()), None)
            if key is None:
                key = recovery.new_key()
                self._log.info("recovery_key.made", surface=self._name)
            await self._keep(recovery_key=encoded(key))
        key_id = self._kept.key_id or chance.token_hex(16)
        await self._keep(key_id=key_id, stored=[])
        self._write_file()
        await self._storage.set_up(key_id, self._key)
        self._log.info("secret_storage.made")

    def _candidates(self) -> list[bytes]:
        """Keys that may be the right one: the operator's first. Raises `ConfigError`."""
        found = []
        if self._given is not None:
            found.append(self._read(self._given.get_secret_value(), "recovery_key"))
        if self._file is not None and self._file.exists():
            found.append(self._read(self._text_of_file(self._file), "recovery_key_file"))
        if self._kept.recovery_key:
            found.append(self._key)
        return found

    def _read(self, text: str, setting: str) -> bytes:
        try:
            return recovery.read(text)
        except ValueError as error:
            raise ConfigError(f"surfaces.{self._name}.{setting}", str(error)) from None

    def _text_of_file(self, file: Path) -> str:
        try:
            return file.read_text("ascii")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"surfaces.{self._name}.recovery_key_file", f"cannot be read: {error}") from None

    def _write_file(self) -> None:
        """Give the operator the key, once and nobody else."""
        if self._file is None or self._file.exists():
            return
        half = self._file.with_name(f"{self._file.name}.half")
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="ascii") as file:
                file.write(f"{self.recovery_key}\n")
                file.flush()
                os.fsync(file.fileno())
            half.rename(self._file)  # whole or not at all: what stands there is read at the next start
        except OSError as error:
            problem = f"cannot be written: {error.strerror or error}"
            raise ConfigError(f"surfaces.{self._name}.recovery_key_file", problem) from error

    # Secrets

    async def get(self, name: str) -> str | None:
        """A secret, brought from the account where it is not here. Raises `Unavailable` and `Refused`."""
        if name in self._kept.secrets:
            return self._kept.secrets[name]
        return await self.fetch(name)

    async def fetch(self, name: str) -> str | None:
        """A secret as the account has it, from now on kept here, too. Raises `Unavailable` and `Refused`."""
        if not self._kept.key_id:
            return None
        try:
            found = await self._storage.read(self._kept.key_id, self._key, name)
            secret = None if found is None else found.decode("ascii")
        except (ValueError, UnicodeDecodeError):
            self._log.warning("secret.damaged", name=name)
            return None
        if secret is not None:
            await self._keep(secrets={**self._kept.secrets, name: secret}, stored=sorted({*self._kept.stored, name}))
        return secret

    async def keep(self, new: Mapping[str, str]) -> None:
        """Keep secrets here; `store` brings them to the account."""
        stored = [name for name in self._kept.stored if name not in new]
        await self._keep(secrets={**self._kept.secrets, **new}, stored=stored)

    async def store(self) -> None:
        """Bring to the account what is only here, if it can be. Raises `Unavailable` and `Refused`."""
        for name in self.missing if self._kept.key_id else ():
            await self._storage.write(self._kept.key_id, self._key, name, self._kept.secrets[name].encode())
            await self._keep(stored=sorted({*self._kept.stored, name}))

    async def _keep(self, **changes: object) -> None:
        kept = self._kept.model_copy(update=changes)
        key = await pickle_key(self._store, self._secret)
        await self._store.put(_ROW, orjson.dumps(secrets.encrypt(key, _ROW, kept.model_dump_json().encode())))
        self._kept = kept
