"""What a model gets to see of the files that come with a question."""

from __future__ import annotations

from typing import Any

import pytest

from surfaces_testing.models import busy

PNG = b"\x89PNG\r\n\x1a\n" + bytes(50)
SEES = {"small": {"vision": True}}
NOT_SEEN = "_(The model here can't look at pictures, so it didn't see: cat.png.)_"


async def test_a_picture_for_a_model_that_sees(talking: Any):
    """It goes along, now and with the questions after it, also when the host was restarted."""
    async with talking(models=SEES) as talk:
        talk.files.contents["w"]["cat.png"] = PNG
        heard = await talk.ask("what is it?", attachments=("cat.png",))
        assert "can't look" not in heard.text
        assert talk.server.record.asked[-1].images == 1
        assert talk.last == [("user", "[Picture cat.png]\n\nwhat is it?")]
        await talk.ask("and its colour?")
        assert talk.server.record.asked[-1].images == 1
        assert PNG not in b"".join(talk.store.rows.values())


async def test_a_picture_for_a_model_that_does_not_see(talking: Any):
    """The model is told that there is one, and the person that it was not looked at."""
    async with talking() as talk:
        talk.files.contents["w"]["cat.png"] = PNG
        heard = await talk.ask("what is it?", attachments=("cat.png",))
        assert heard.text.endswith(NOT_SEEN)
        assert talk.server.record.asked[-1].images == 0
        assert "[File cat.png, which you cannot see]" in talk.last[-1][1]


async def test_of_several_models_one_that_sees_is_asked(talking: Any):
    """Pictures change the order; where only the blind one is left, it is asked without them."""
    options = {"model": ["large", "small"]}
    async with talking(options=options, models=SEES) as talk:
        talk.files.contents["w"]["cat.png"] = PNG
        await talk.ask("what is it?", attachments=("cat.png",))
        assert (talk.server.record.asked[-1].model, talk.server.record.asked[-1].images) == ("small", 1)
        talk.server.faults = [busy()]
        await talk.ask("and now?", attachments=("cat.png",))
        assert (talk.server.record.asked[-1].model, talk.server.record.asked[-1].images) == ("large", 0)


async def test_no_more_pictures_than_allowed(talking: Any):
    """The latest."""
    async with talking(models=SEES, max_images=2) as talk:
        talk.files.contents["w"].update({f"{number}.png": PNG for number in range(3)})
        for number in range(3):
            await talk.ask("this?", attachments=(f"{number}.png",))
        assert talk.server.record.asked[-1].images == 2


async def test_a_picture_that_is_gone(talking: Any):
    """The conversation goes on without it."""
    async with talking(models=SEES) as talk:
        talk.files.contents["w"]["cat.png"] = PNG
        await talk.ask("this?", attachments=("cat.png",))
        del talk.files.contents["w"]["cat.png"]
        assert (await talk.ask("and?")).failure is None
        assert talk.server.record.asked[-1].images == 0


async def test_a_text_file_is_read(talking: Any):
    """Its text goes along, between lines that name it."""
    async with talking() as talk:
        talk.files.contents["w"]["a.txt"] = "Grüße".encode()
        await talk.ask("translate", attachments=("a.txt",))
        assert talk.last == [("user", "[File a.txt]\nGrüße\n[End of file a.txt]\n\ntranslate")]


@pytest.mark.parametrize(
    ("name", "settings", "said"),
    [
        ("a.zip", {}, "_(The model here can't read these files: a.zip.)_"),
        ("gone.txt", {}, "_(The model here can't read these files: gone.txt.)_"),
        ("a.txt", {"max_text_bytes": 10}, "_(These files are too large for the model: a.txt.)_"),
        ("cat.png", {"max_image_bytes": 10}, "_(These files are too large for the model: cat.png.)_"),
    ],
    ids=["unknown kind", "gone", "large text", "large picture"],
)
async def test_what_cannot_be_read(talking: Any, name: str, settings: dict[str, Any], said: str):
    """The person is told which, and the answer comes all the same."""
    async with talking(models=SEES, **settings) as talk:
        talk.files.contents["w"].update({"a.zip": b"PK", "a.txt": b"x" * 11, "cat.png": PNG})
        heard = await talk.ask("hello", attachments=(name,))
        assert heard.text.endswith(said)
        assert heard.text.startswith("You said")


async def test_only_files_of_the_workspace_are_read(talking: Any):
    """A path that leads out of it is one that cannot be read."""
    async with talking() as talk:
        talk.files.contents["other"]["a.txt"] = b"secret"
        heard = await talk.ask("hello", attachments=("../other/a.txt",))
        assert "can't read" in heard.text
        assert "secret" not in str(talk.last)
