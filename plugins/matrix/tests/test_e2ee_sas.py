"""One verification by pictures: two honest sides end verified, whatever else somebody does ends it with a reason."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from surfaces_matrix.e2ee.sas import Party, Phase, Sas, Step

ANN = Party(user_id="@ann:hs", device_id="ANNDEV", keys={"ed25519:ANNDEV": "annkey", "ed25519:annmaster": "annmaster"})
BOT = Party(user_id="@bot:hs", device_id="BOTDEV", keys={"ed25519:BOTDEV": "botkey", "ed25519:botmaster": "botmaster"})

Change = Callable[[str, dict[str, Any]], dict[str, Any] | None]
"""What somebody between the two does to a message, by its kind; None loses it."""


def dress(content: Mapping[str, Any]) -> dict[str, Any]:
    """As from device to device."""
    return {**content, "transaction_id": "txn"}


@dataclass
class Pair:
    """Ann and the bot, and the line between them."""

    change: Change = lambda kind, content: content
    bot: Sas = field(default_factory=lambda: Sas(ours=BOT, theirs=ANN, transaction="txn", dress=dress))
    ann: Sas = field(default_factory=lambda: Sas(ours=ANN, theirs=BOT, transaction="txn", dress=dress))
    said: list[str] = field(default_factory=list)

    def pass_on(self, *said: tuple[Sas, list[Step]]) -> None:
        """Carry what both say at the same time, and what follows from it, until nothing more is said."""
        line = deque((sender, step) for sender, steps in said for step in steps)
        while line:
            sender, (kind, content) = line.popleft()
            self.said.append(f"{sender.ours.user_id} {kind}")
            other = self.ann if sender is self.bot else self.bot
            passed = self.change(kind, content)
            if passed is not None:
                line.extend((other, step) for step in other.receive(kind, passed))

    def compare(self) -> None:
        """Both people say that the pictures match."""
        self.pass_on((self.bot, self.bot.confirm()))
        self.pass_on((self.ann, self.ann.confirm()))


@pytest.mark.parametrize("beginner", ["bot", "ann"])
def test_two_honest_sides_see_the_same_pictures_and_end_verified(beginner: str):
    """Whoever begins; all keys that each vouches for are known to the other."""
    pair = Pair()
    first = pair.bot if beginner == "bot" else pair.ann
    pair.pass_on((first, first.begin()))
    assert pair.bot.numbers == pair.ann.numbers
    assert len(pair.bot.numbers) == 7
    pair.compare()
    assert (pair.bot.phase, pair.ann.phase) == (Phase.DONE, Phase.DONE)
    assert sorted(pair.bot.verified) == sorted(ANN.keys)


@pytest.mark.parametrize("beginner", ["bot", "ann"])
def test_who_knows_no_pictures_compares_numbers(beginner: str):
    """All clients know these: three of four digits, the same on both sides."""
    blind = {"short_authentication_string": ["decimal"]}
    pair = Pair(change=lambda kind, content: {**content, **blind} if kind == "accept" else content)
    if beginner == "bot":
        pair.pass_on((pair.bot, pair.bot.begin()))
    else:
        ((kind, start),) = pair.ann.begin()
        pair.ann._start = {**start, **blind}
        pair.pass_on((pair.ann, [(kind, pair.ann._start)]))
        assert pair.ann.shown() == pair.bot.shown()
    assert pair.bot.decimal
    assert [1000 <= number <= 9191 for number in pair.bot.numbers] == [True] * 3
    assert pair.bot.shown() == "  ".join(map(str, pair.bot.numbers))


@pytest.mark.parametrize("first", ["bot", "ann"])
def test_of_two_that_begin_at_once_the_smaller_id_wins(first: str):
    """In whatever order the two starts arrive."""
    pair = Pair()
    starts = [(pair.ann, pair.ann.begin()), (pair.bot, pair.bot.begin())]
    pair.pass_on(*(starts if first == "ann" else reversed(starts)))
    assert pair.said.count("@bot:hs accept") == 1
    assert "@ann:hs accept" not in pair.said
    pair.compare()
    assert (pair.bot.phase, pair.ann.phase) == (Phase.DONE, Phase.DONE)


def test_nobody_is_verified_before_both_have_compared():
    """Their word alone, or ours alone, is not enough."""
    pair = Pair()
    pair.pass_on((pair.bot, pair.bot.begin()))
    pair.pass_on((pair.ann, pair.ann.confirm()))
    assert (pair.bot.phase, pair.bot.verified) == (Phase.COMPARE, ())
    assert (pair.ann.phase, pair.ann.verified) == (Phase.CONFIRMED, ())


def altered(kind: str, **changes: Any) -> Change:
    """Change one kind of message."""
    return lambda found, content: {**content, **changes} if found == kind else content


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (altered("key", key="3p7bfXt9wbTTW2HC7OQ1Nz+DQ8hbeGdNrfx+FG+IK08"), "m.mismatched_commitment"),
        (altered("accept", commitment="AAAA"), "m.mismatched_commitment"),
        (altered("start", method="m.other"), "m.unknown_method"),
        (altered("start", hashes=["md5"]), "m.unknown_method"),
        (altered("start", from_device="OTHER"), "m.user_mismatch"),
        (altered("accept", message_authentication_code="hmac-sha1"), "m.unknown_method"),
        (altered("mac", mac={}), "m.key_mismatch"),
        (altered("mac", keys="AAAA"), "m.key_mismatch"),
        (altered("mac", mac={"ed25519:ANNDEV": "AAAA", "ed25519:annmaster": "AAAA"}), "m.key_mismatch"),
        (altered("mac", mac=7), "m.key_mismatch"),
    ],
)
def test_what_somebody_changes_on_the_way_ends_it(change: Change, code: str):
    """With the code that the specification has for it, and nobody is verified."""
    pair = Pair(change=change)
    pair.pass_on((pair.bot, pair.bot.begin()))
    pair.compare()
    assert (pair.bot.phase, pair.ann.phase) == (Phase.CANCELLED, Phase.CANCELLED)
    assert code in (pair.bot.code, pair.ann.code)
    assert pair.bot.verified == pair.ann.verified == ()


@pytest.mark.parametrize(
    "keys",
    [
        {"ed25519:ANNDEV": "another", "ed25519:annmaster": "annmaster"},
        {"ed25519:annmaster": "annmaster"},
        {"ed25519:OTHER": "annkey"},
    ],
)
def test_a_device_that_vouches_for_other_keys_is_not_verified(keys: dict[str, str]):
    """Its own key must be among them, and be the one that the homeserver shows for it."""
    pair = Pair()
    pair.ann.ours = Party(user_id=ANN.user_id, device_id=ANN.device_id, keys=keys)
    pair.pass_on((pair.bot, pair.bot.begin()))
    pair.compare()
    assert (pair.bot.phase, pair.bot.code, pair.bot.verified) == (Phase.CANCELLED, "m.key_mismatch", ())


def test_keys_that_are_not_known_are_not_verified_beside_the_device():
    """Whoever vouches for more says nothing about that."""
    pair = Pair()
    pair.ann.ours = Party(user_id=ANN.user_id, device_id=ANN.device_id, keys={**ANN.keys, "ed25519:MORE": "more"})
    pair.pass_on((pair.ann, pair.ann.begin()))
    pair.compare()
    assert sorted(pair.bot.verified) == sorted(ANN.keys)


@pytest.mark.parametrize("kind", ["accept", "key", "mac", "start"])
def test_a_step_at_the_wrong_time_ends_it(kind: str):
    """Twice counts as that, too."""
    pair = Pair()
    pair.pass_on((pair.bot, pair.bot.begin()))
    assert [name for name, _ in pair.bot.receive(kind, {"mac": {}, "key": "x"})] == ["cancel"]
    assert pair.bot.code in ("m.unexpected_message", "m.key_mismatch")


def test_a_person_may_say_that_the_pictures_differ():
    """Both sides end, and nothing they say later changes that."""
    pair = Pair()
    pair.pass_on((pair.bot, pair.bot.begin()))
    pair.pass_on((pair.bot, pair.bot.cancel("m.mismatched_sas")))
    pair.compare()
    assert (pair.ann.phase, pair.ann.code) == (Phase.CANCELLED, "m.mismatched_sas")
    assert pair.bot.phase is Phase.CANCELLED
