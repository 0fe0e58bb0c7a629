"""Everybody is spoken to in their own language: the catalogues are whole, and the host chooses for each person."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from surfaces_core import Catalogue, Rejected, Text
from surfaces_core._config.settings import HostSettings
from surfaces_core._engine import words
from surfaces_core._engine.languages import known
from surfaces_core.events import End, Kind
from surfaces_core.i18n import LANGUAGES, language, translated
from surfaces_core.testing.bot import TestBot
from surfaces_core.testing.scripted_transport import ScriptedTransport
from tools.words import names, packages, translations

RUSSIAN = {1: "файл ждёт", 2: "файла ждут", 5: "файлов ждут", 11: "файлов ждут", 21: "файл ждёт", 112: "файлов ждут"}


@contextmanager
def speaking(code: str) -> Iterator[None]:
    """A turn for somebody of that language."""
    token = language.set(code)
    try:
        yield
    finally:
        language.reset(token)


def test_catalogues_are_in_step() -> None:
    """Each holds exactly the sentences of the code, and its compiled form says the same: run `make words`."""
    assert [line for translation in translations() for line in translation.stale()] == []


def test_everything_is_translated() -> None:
    """No sentence is missing or a guess, and each has the names in braces that its English has."""
    assert [line for translation in translations() for line in translation.problems()] == []


def test_every_language_has_a_catalogue() -> None:
    """The languages that a person can choose are those that there are catalogues of."""
    assert {translation.language for translation in translations()} == set(LANGUAGES) - {"en"}


def literals(path: Path) -> list[str]:
    """Sentences for people that stand in the code as plain text: of errors and of commands."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    given = [
        keyword.value
        for call in calls
        for keyword in call.keywords
        if keyword.arg == "public" or (isinstance(call.func, ast.Name) and call.func.id == "Command")
    ]
    texts = [value.value for value in given if isinstance(value, ast.Constant) and isinstance(value.value, str)]
    return [text for text in texts if " " in text]


def test_every_sentence_is_in_a_catalogue() -> None:
    """No error and no command carries a sentence for people that could not be translated."""
    files = [path for package in packages() for path in package.rglob("*.py") if "testing" not in path.parts]
    assert {str(path): found for path in files if (found := literals(path))} == {}


@pytest.mark.parametrize(("count", "said"), RUSSIAN.items())
def test_russian_has_three_forms(count: int, said: str) -> None:
    """The form of a Russian sentence follows the count."""
    with speaking("ru"):
        assert f"{count} {said}" in words.STAGED(count, names="`a.txt`")


@pytest.mark.parametrize("count", [1, 2, 5, 11, 21])
def test_chinese_has_one_form(count: int) -> None:
    """A Chinese sentence is the same for every count but for the number."""
    with speaking("zh"):
        assert words.STAGED(count, names="`a`") == f"已收到 `a`。有 {count} 个文件等待您的下一条消息。"


def test_what_is_not_translated_is_english() -> None:
    """A plugin without catalogues, be it a single module, is understood in English."""
    with speaking("ru"):
        assert Catalogue("surfaces_nowhere")("Hello {name}.")(name="Ann") == "Hello Ann."
        assert Catalogue("this")("Hello.")() == "Hello."


def test_names_in_braces() -> None:
    """Which names a sentence has."""
    assert names("{a} and {b!r} and {{c}} and {a}") == {"a", "b"}


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("ru", "ru"),
        ("RU_ru", "ru"),
        ("zh-Hans", "zh"),
        (" Русский ", "ru"),
        ("English", "en"),
        ("de", None),
        ("", None),
    ],
)
def test_languages_people_name(text: str, code: str | None) -> None:
    """A language is meant by its code, its locale or its name."""
    assert known(text) == code


def test_an_error_speaks_the_language_of_its_turn() -> None:
    """What an error says to people by itself is in the language it is raised in."""
    with speaking("ru"):
        assert Rejected("no").public == "В этом было отказано."


async def test_each_person_has_their_language() -> None:
    """`!language` answers in the new language and keeps it over restarts, for that person alone."""
    bot = TestBot()
    async with bot.running():
        await bot.push("!language")
        assert await bot.pop() == (
            "Language: **English**. `!language` with a code changes it: `en` English, `ru` Русский, `zh` 中文."
        )
        await bot.push("!language ru")
        assert await bot.pop() == "Готово. Язык: **Русский**."
        await bot.push("!language 中文", conversation="office", sender="@bob")
        assert await bot.pop("office") == "已更改。语言：**中文**。"
        await bot.push("!language tlh")
        assert (await bot.pop()).startswith("На этом языке я не говорю.")
    async with bot.running():
        await bot.push("!stop")
        assert await bot.pop() == "Здесь сейчас ничего не выполняется."
        await bot.push("!help stop", conversation="office", sender="@bob")
        assert await bot.pop("office") == "`!stop` – 停止正在生成的回答。"
        await bot.push("!stop", conversation="elsewhere", sender="@cay")
        assert await bot.pop("elsewhere") == "Nothing is running here."


async def test_a_surface_speaks_to_a_person_by_itself() -> None:
    """What it says in no turn is in their language, too, and what comes behind is as before."""
    bot = TestBot(settings=HostSettings(locale="zh"))
    async with bot.running():
        await bot.push("!language ru", sender="@bob")
        assert await bot.pop() == "Готово. Язык: **Русский**."
        for person, code in (("@bob", "ru"), ("@cay", "zh")):
            with bot.surface.context.speaking(person):
                assert language.get() == code
        assert language.get() == "en"


async def test_the_operator_chooses_for_the_rest() -> None:
    """Whoever has not chosen is spoken to in the host's language, and may choose another."""
    bot = TestBot(settings=HostSettings(locale="ru"), transport=ScriptedTransport.answering(lambda _: [End()]))
    async with bot.running():
        await bot.push("hello")
        assert await bot.pop() == "Ответа не последовало."
        await bot.push("!language en")
        assert await bot.pop() == "Done. Language: **English**."
        await bot.push("hello")
        assert await bot.pop() == "No answer came back."


async def test_what_takes_the_place_of_a_lost_part_is_understood() -> None:
    """A part that the messenger refuses is spoken of in the language of the conversation's owner."""
    bot = TestBot(transport=ScriptedTransport.answering(lambda _: [Text("An answer"), End()]))
    async with bot.running():
        await bot.push("!language ru")
        await bot.pop()
        bot.messenger.faults.append(Rejected("no"))
        await bot.push("hello")
        assert await bot.pop() == "Часть этого ответа не удалось здесь показать."


async def test_a_gap_is_told_in_the_language_of_the_owner() -> None:
    """What a surface says in English of messages that were passed over is translated for who reads it."""
    bot = TestBot()
    async with bot.running():
        await bot.push("!language ru")
        await bot.pop()
        await bot.messenger.say(words.POISON.text, kind=Kind.GAP, sender="@bot")
        assert await bot.pop() == "Это сообщение не удалось обработать, оно отложено."
        await bot.messenger.say("A {sentence} of nobody's.", kind=Kind.GAP, sender="@bot")
        assert await bot.pop() == "A {sentence} of nobody's."


def test_a_gap_is_looked_up_where_its_surface_is_from() -> None:
    """The catalogue is the one of the package that the surface belongs to."""
    with speaking("zh"):
        assert translated("surfaces_matrix.surface", "That file is too big for me.") == "这个文件太大了。"
        assert translated("surfaces_core.testing", "That file is too big for me.") == "That file is too big for me."
        assert translated("surfaces_matrix", "") == ""
