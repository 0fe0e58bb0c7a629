"""The pictures that two people compare, by their numbers (Matrix spec, "SAS method: emoji").

Their names, and what translators make of them, are those that the specification gives: clients show the same.
"""

from __future__ import annotations

from collections.abc import Iterable

from surfaces_core import Catalogue, Sentence

_ = Catalogue("surfaces_matrix")

EMOJI: tuple[tuple[str, Sentence], ...] = (
    ("🐶", _("Dog")),
    ("🐱", _("Cat")),
    ("🦁", _("Lion")),
    ("🐎", _("Horse")),
    ("🦄", _("Unicorn")),
    ("🐷", _("Pig")),
    ("🐘", _("Elephant")),
    ("🐰", _("Rabbit")),
    ("🐼", _("Panda")),
    ("🐓", _("Rooster")),
    ("🐧", _("Penguin")),
    ("🐢", _("Turtle")),
    ("🐟", _("Fish")),
    ("🐙", _("Octopus")),
    ("🦋", _("Butterfly")),
    ("🌷", _("Flower")),
    ("🌳", _("Tree")),
    ("🌵", _("Cactus")),
    ("🍄", _("Mushroom")),
    ("🌏", _("Globe")),
    ("🌙", _("Moon")),
    ("☁️", _("Cloud")),
    ("🔥", _("Fire")),
    ("🍌", _("Banana")),
    ("🍎", _("Apple")),
    ("🍓", _("Strawberry")),
    ("🌽", _("Corn")),
    ("🍕", _("Pizza")),
    ("🎂", _("Cake")),
    ("❤️", _("Heart")),
    ("😀", _("Smiley")),
    ("🤖", _("Robot")),
    ("🎩", _("Hat")),
    ("👓", _("Glasses")),
    ("🔧", _("Spanner")),
    ("🎅", _("Santa")),
    ("👍", _("Thumbs Up")),
    ("☂️", _("Umbrella")),
    ("⌛", _("Hourglass")),
    ("⏰", _("Clock")),
    ("🎁", _("Gift")),
    ("💡", _("Light Bulb")),
    ("📕", _("Book")),
    ("✏️", _("Pencil")),
    ("📎", _("Paperclip")),
    ("✂️", _("Scissors")),
    ("🔒", _("Lock")),
    ("🔑", _("Key")),
    ("🔨", _("Hammer")),
    ("☎️", _("Telephone")),
    ("🏁", _("Flag")),
    ("🚂", _("Train")),
    ("🚲", _("Bicycle")),
    ("✈️", _("Aeroplane")),
    ("🚀", _("Rocket")),
    ("🏆", _("Trophy")),
    ("⚽", _("Ball")),
    ("🎸", _("Guitar")),
    ("🎺", _("Trumpet")),
    ("🔔", _("Bell")),
    ("⚓", _("Anchor")),
    ("🎧", _("Headphones")),
    ("📁", _("Folder")),
    ("📌", _("Pin")),
)


def pictures(numbers: Iterable[int]) -> str:
    """Pictures with their names, for a chat."""
    return "  ".join(f"{EMOJI[number][0]} {EMOJI[number][1]}" for number in numbers)
