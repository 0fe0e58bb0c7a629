"""The formats that secrets are kept in: as other implementations write them, and with all that can be damaged."""

from __future__ import annotations

from typing import Any, cast

import pytest
import structlog
import vodozemac
from hypothesis import given
from hypothesis import strategies as st

from surfaces_matrix.e2ee import backup, recovery, secrets
from surfaces_matrix.e2ee.canonical import signed_by
from surfaces_matrix.e2ee.crosskeys import USAGES, CrossSigning
from surfaces_matrix.e2ee.emoji import EMOJI
from surfaces_matrix.e2ee.secrets import Secrets
from surfaces_matrix.e2ee.vault import Vault

from .conftest import ME, MemoryStore, patient

KEY = bytes.fromhex("77076d0a7318a57d3c16c17251b26645df4c2f87ebc0992ab177fba51db92c2a")
WRITTEN = "EsTc LW2K PGiF wKEA 3As5 g5c4 BXwk qeeJ ZJV8 Q9fu gUMN UE4d"
"""The same key as matrix-js-sdk writes it."""
BACKUP_KEY = "dwdtCnMYpX08FsFyUbJmRd9ML4frwJkqwXf7pR25LCo"
SESSION = {
    "algorithm": "m.megolm.v1.aes-sha2",
    "room_id": "!room:hs",
    "session_id": "sid",
    "session_key": "AQ",
    "sender_key": "ck",
    "sender_claimed_keys": {"ed25519": "ek"},
    "forwarding_curve25519_key_chain": [],
}


def test_a_recovery_key_is_written_as_others_write_it():
    """In groups of four, from the alphabet without what looks alike."""
    assert recovery.written(KEY) == WRITTEN
    assert recovery.read(WRITTEN) == KEY


@patient
@given(st.binary(min_size=32, max_size=32))
def test_a_recovery_key_is_read_however_it_is_spaced(key: bytes):
    """People copy it with line ends, or in one piece."""
    written = recovery.written(key)
    assert [len(group) for group in written.split()] == [4] * 12
    assert recovery.read(written.replace(" ", "")) == recovery.read(f"\n{written}\n") == key


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no recovery key"),
        (WRITTEN[:-5], "no recovery key"),
        (WRITTEN.replace("LW2K", "LW2L"), "parity"),
        (WRITTEN.replace("LW2K", "LW0K"), "character"),
        ("hello", "character"),
    ],
)
def test_what_is_no_recovery_key_says_why(text: str, reason: str):
    """And nothing of what was typed."""
    with pytest.raises(ValueError, match=reason) as caught:
        recovery.read(text)
    assert "LW2" not in str(caught.value)


def test_a_secret_comes_back_under_its_name_alone():
    """Another name or another key finds nothing, and neither does a bit that turned."""
    stored = secrets.encrypt(KEY, "m.cross_signing.master", b"hello", iv=b"\xff" * 16)
    assert secrets.decrypt(KEY, "m.cross_signing.master", stored) == b"hello"
    assert secrets.decoded(stored["iv"])[8] == 0x7F
    damaged: list[tuple[bytes, str, dict[str, Any]]] = [
        (KEY, "m.cross_signing.user_signing", stored),
        (bytes(32), "m.cross_signing.master", stored),
        (KEY, "m.cross_signing.master", {**stored, "ciphertext": secrets.encoded(b"hellp")}),
        (KEY, "m.cross_signing.master", {**stored, "mac": None}),
        (KEY, "m.cross_signing.master", {**stored, "iv": "AA"}),
        (KEY, "m.cross_signing.master", {**stored, "iv": "#"}),
    ]
    for key, name, content in damaged:
        with pytest.raises(ValueError):  # noqa: PT011 - each says something else
            secrets.decrypt(key, name, content)


def test_a_description_tells_the_right_key():
    """With its check; one without it cannot say no, one of another algorithm never yes."""
    described = secrets.description(KEY)
    assert secrets.fits(KEY, described)
    assert not secrets.fits(bytes(32), described)
    assert secrets.fits(bytes(32), {"algorithm": secrets.ALGORITHM})
    assert not secrets.fits(KEY, {**described, "algorithm": "m.other"})
    assert not secrets.fits(KEY, {**described, "iv": "#"})


def test_cross_signing_keys_are_signed_by_their_master():
    """And come back from their secrets."""
    keys = CrossSigning.new(ME)
    master = keys.master.public
    for usage in USAGES[1:]:
        assert signed_by(keys.public(usage), ME, f"ed25519:{master}", master)
    assert "signatures" not in keys.public("master")
    assert CrossSigning.of(ME, keys.secrets) == keys
    with pytest.raises(ValueError, match="not all"):
        CrossSigning.of(ME, {"master": keys.master.secret})
    with pytest.raises(ValueError, match="32 bytes"):
        CrossSigning.of(ME, {**keys.secrets, "master": "AA"})


def test_a_session_comes_back_from_the_backup():
    """For the private key alone; its address is not repeated inside."""
    sealed = backup.sealed(backup.public_of(BACKUP_KEY), SESSION)
    back = backup.unsealed(BACKUP_KEY, sealed)
    assert back == {key: value for key, value in SESSION.items() if key not in ("room_id", "session_id")}
    other = str(vodozemac.Curve25519SecretKey().to_base64())
    for key, content in ((other, sealed), (BACKUP_KEY, {**sealed, "mac": "AAAAAAAAAAA"}), (BACKUP_KEY, {})):
        with pytest.raises(ValueError):  # noqa: PT011 - each says something else
            backup.unsealed(key, content)


def test_the_table_of_pictures_is_that_of_the_specification():
    """64 of them, in their order."""
    assert len(EMOJI) == 64
    named = [(picture, str(name)) for picture, name in EMOJI]
    assert (named[0], named[63], named[29]) == (("🐶", "Dog"), ("📌", "Pin"), ("❤️", "Heart"))


async def test_the_vault_lies_in_the_state_encrypted():
    """With the operator's secret the state alone opens nothing of the account."""
    store = MemoryStore()

    async def opened(secret: str) -> Vault:
        vault = Vault("work", Secrets(cast(Any, None)), store, structlog.get_logger(), secret=secret)
        await vault.load()
        return vault

    await (await opened("of the operator")).keep({"m.megolm_backup.v1": BACKUP_KEY})
    assert BACKUP_KEY not in repr(store.rows)
    assert await (await opened("of the operator")).get("m.megolm_backup.v1") == BACKUP_KEY
    assert await (await opened("another")).get("m.megolm_backup.v1") is None
