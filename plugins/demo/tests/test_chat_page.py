"""The chat page in a real browser: a person without a Matrix client gets in, talks, sends files and answers questions.

`make pictures` runs these tests too, and keeps what they look at for the documents.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
import yaml
from playwright.async_api import Browser, Locator, Page, Route, expect

from surfaces_demo.children import Child
from surfaces_demo.page import Facts
from surfaces_demo.page import Page as Server
from surfaces_demo.person import Person
from surfaces_demo.stage import CONFIG, program
from surfaces_demo.synapse import Account, Synapse
from surfaces_testing.agent import END, FakeAgent, Fault, Wire, chunk
from surfaces_testing.browser import chromium

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module"), pytest.mark.xdist_group("chat_page")]

PICTURES = os.environ.get("SURFACES_PICTURES")
LONG_S = 90.0
"""How long anything may take on a machine that is busy."""

PLAN = """Here is a plan for the week:

| Day | What | Where |
| --- | --- | --- |
| Monday | Apples, flour, cinnamon | the market |
| Wednesday | **Marmalade** | at home |
| Friday | Guests for breakfast | the garden |

1. Buy early: the market closes at noon.
2. Cook slowly, about `45 min`.

"""
REST = """```python
def jars(oranges: int) -> int:
    return oranges * 3 // 4
```

For twelve oranges that makes nine jars."""
CHART = """<body style="margin:0;background:#fcfbf9"><svg width="420" height="220"
font-family="Open Sans" font-size="12">
<g fill="#2f6b5b"><rect x="40" y="120" width="50" height="70" rx="6"/>
<rect x="110" y="80" width="50" height="110" rx="6"/>
<rect x="180" y="100" width="50" height="90" rx="6"/><rect x="250" y="50" width="50" height="140" rx="6"/>
<rect x="320" y="30" width="50" height="160" rx="6" opacity=".55"/></g>
<g fill="#6d6961"><text x="48" y="208">Mon</text><text x="120" y="208">Tue</text><text x="188" y="208">Wed</text>
<text x="260" y="208">Thu</text><text x="334" y="208">Fri</text></g></svg></body>"""
SAID_BY_PAGE = """body => {
    const people = ".text, .name, .typing, .sender, .avatar, .person, .file, h1, h2, section, textarea, time, b";
    const foreign = `${people}, img, svg path, noscript, [role=status], [role=option]`;
    const texts = [];
    for (const node of body.querySelectorAll("*")) {
        if (node.closest(foreign)) continue;
        for (const child of node.childNodes) if (child.nodeType === 3) texts.push(child.textContent);
        for (const name of ["aria-label", "title", "placeholder"]) texts.push(node.getAttribute(name) ?? "");
    }
    return texts;
}"""
"""What stands on the page that is not said by people, and does not name them."""
KINDS = """async () => {
    const kept = JSON.parse(localStorage["surfaces.session"]);
    const room = localStorage[`surfaces.room ${kept.user_id}`];
    const address = `${kept.homeserver}/_matrix/client/v3/rooms/${encodeURIComponent(room)}/messages?dir=b&limit=100`;
    const answer = await fetch(address, {headers: {Authorization: `Bearer ${kept.access_token}`}});
    const events = (await answer.json()).chunk;
    return events.map(event => event.state_key === undefined ? event.type : "").filter(Boolean);
}"""
HOSTILE = (
    '<p>fine <strong>text</strong></p><img src="x" onerror="document.title=1"><script>document.title=1</script>'
    '<a href="javascript:document.title=1">link</a><p onclick="document.title=1" style="position:fixed">p</p>'
    '<iframe src="https://example.org"></iframe><svg><style>*{}</style></svg><form><input name="x"></form>'
)


@dataclass(kw_only=True)
class House:
    """A host with its agent, the page's server and a browser in which the guest is logged in."""

    synapse: Synapse
    agent: FakeAgent
    workspace: Path
    guest: Account
    private: Account
    """A second bot account of the same host, whose conversations are encrypted."""
    browser: Browser
    url: str
    page: Page
    troubles: list[str] = field(default_factory=list)
    """Errors on the page, and requests that went anywhere else than to this machine."""

    def answers(self, *pieces: str | dict[str, object], held: asyncio.Event | None = None) -> None:
        """What the agent answers next; with `held` it stops before the last piece until that is set."""

        async def act(wire: Wire) -> None:
            frames = [chunk(piece) if isinstance(piece, str) else piece for piece in pieces]
            await wire.send(*frames[:-1])
            if held is not None:
                await held.wait()
            await wire.send(frames[-1], END)

        self.agent.faults.script(Fault(stage="answer", act=act))

    async def say(self, text: str) -> None:
        """Type it and press Enter."""
        box = self.page.get_by_placeholder("Write a message")
        await box.fill(text)
        await box.press("Enter")
        await expect(self.page.locator(".own").last).to_contain_text(text)

    @property
    def last(self) -> Locator:
        """The last message."""
        return self.page.locator(".message").last

    async def picture(self, name: str) -> None:
        """Keep what shows for the documents, when they ask for it."""
        if PICTURES:
            await self.page.mouse.move(0, 0)
            await self.page.screenshot(path=Path(PICTURES) / f"{name}.png", animations="disabled")

    async def watch(self, page: Page) -> None:
        """Note what goes wrong on a page, and keep it from leaving this machine."""
        page.set_default_timeout(LONG_S * 1000)
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", lambda said: self.troubles.append(said.text) if _forbidden(said.text) else None)

        async def leaves(route: Route) -> None:
            self.troubles.append(route.request.url)
            await route.abort()

        await page.route(re.compile(r"^(?!http://127\.0\.0\.1[:/]|blob:|data:)"), leaves)


def _forbidden(said: str) -> bool:
    """Whether the browser kept the page from something; styles of a hostile message are to be kept from it."""
    return "Content Security" in said and "inline style" not in said


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def house(synapse: Synapse, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Started once; the guest is on the page but not in yet."""
    expect.set_options(timeout=LONG_S * 1000)
    folder = tmp_path_factory.mktemp("page")
    workspace = folder / "agents/reference"
    workspace.mkdir(parents=True)
    async with AsyncExitStack() as stack:
        agent = await stack.enter_async_context(FakeAgent())
        bot, guest = await named(synapse, "page_bot", "Aria"), await named(synapse, "page_guest", "Sam")
        private = await named(synapse, "page_private", "Aria")
        environment = {
            "SURFACES_STATE": str(folder),
            "MATRIX_HOMESERVER": synapse.url,
            "MATRIX_USER_ID": bot.user_id,
            "MATRIX_PASSWORD": bot.password,
            "AGENT_URL": agent.base_url,
        }
        config = with_private(folder, private)
        host = await Child.start(
            "host", [program("surfaces"), "run", "-c", str(config)], folder=folder, env=environment
        )
        stack.push_async_callback(host.stop)
        facts = Facts(homeserver=synapse.url, bot=bot.user_id, offer=guest)
        server = await stack.enter_async_context(Server(facts))
        browser = await stack.enter_async_context(chromium())
        look = await browser.new_context(viewport={"width": 1120, "height": 760}, color_scheme="light", locale="en-GB")
        page = await look.new_page()
        await host.ready(LONG_S)
        made = House(
            synapse=synapse,
            agent=agent,
            workspace=workspace,
            guest=guest,
            private=private,
            browser=browser,
            url=server.url,
            page=page,
        )
        await made.watch(page)
        await page.goto(server.url)
        yield made
        assert made.troubles == []


def with_private(folder: Path, bot: Account) -> Path:
    """The config of the demo, with a second account that makes encrypted rooms."""
    config = yaml.safe_load(CONFIG.read_text())
    config["surfaces"]["private"] = {
        "use": "matrix",
        "homeserver": "${MATRIX_HOMESERVER}",
        "user_id": bot.user_id,
        "password": bot.password,
        "encrypt_new_rooms": True,
    }
    path = folder / "surfaces.json"
    path.write_text(json.dumps(config))
    return path


async def named(synapse: Synapse, name: str, shown: str) -> Account:
    """An account with a name that shows."""
    account = await synapse.register(name)
    body = {
        "type": "m.login.password",
        "identifier": {"type": "m.id.user", "user": account.user_id},
        "password": account.password,
    }
    async with aiohttp.ClientSession(f"{synapse.url}/_matrix/client/v3/") as http:
        async with http.post("login", json=body) as response:
            token = (await response.json())["access_token"]
        headers = {"Authorization": f"Bearer {token}"}
        address = f"profile/{account.user_id}/displayname"
        async with http.put(address, json={"displayname": shown}, headers=headers) as response:
            assert response.status == 200
        async with http.post("logout", headers=headers):
            return account


async def test_getting_in(house: House) -> None:
    """One click logs in; the bot is written to, its invitations are accepted, and the new conversation greets."""
    await house.page.get_by_role("button", name="Enter as page_guest").click()
    await expect(house.last).to_contain_text("This is a private conversation")
    await expect(house.page.get_by_role("heading", name="C1")).to_be_visible()
    await expect(house.page.get_by_role("region", name="Aria – Sam").get_by_role("button", name="C1")).to_be_visible()
    await expect(house.page.get_by_role("region", name="Direct").get_by_role("button")).to_have_count(1)
    await house.picture("page-onboarding")


async def test_an_answer_grows_in_place(house: House) -> None:
    """What streams is one message that grows and ends; its Markdown shows as it is meant."""
    held = asyncio.Event()
    house.answers(PLAN, REST, held=held)
    await house.say("Can you plan my week around making marmalade?")
    growing = house.page.locator('.said[aria-busy="true"]')
    await expect(growing).to_contain_text("Guests for breakfast")
    event = await growing.get_attribute("data-event")
    await house.picture("page-streaming")
    held.set()
    whole = house.page.locator(f'.said[data-event="{event}"]')
    await expect(whole).to_contain_text("that makes nine jars")
    await expect(whole).to_have_attribute("aria-busy", "false")
    await expect(house.last).to_have_attribute("data-event", event or "")
    await expect(whole.locator("td").first).to_have_text("Monday")
    await expect(whole.locator(".language")).to_have_text("python")
    await expect(house.page.locator(".own").last.get_by_label("read")).to_be_visible()


async def test_a_question_is_answered_by_a_button(house: House) -> None:
    """A question of the agent shows two buttons; the one pressed answers, both are gone, and typing goes on."""

    async def act(wire: Wire) -> None:
        question = "I would order **twelve oranges** for 7.80 at the market. Shall I?"
        await wire.send({"type": "AGENT_EVENT_CONFIRM", "id": "q1", "text": question, "timeout_s": 300})
        await house.agent.until(
            lambda: any(frame.frame.get("id") == "q1" for frame in house.agent.record.frames), LONG_S
        )
        await wire.send(chunk("Ordered."), END)

    house.agent.faults.script(Fault(stage="answer", act=act))
    await house.say("Order what we need, please.")
    buttons = house.page.get_by_role("group", name="Answer")
    await expect(buttons.get_by_role("button")).to_have_text(["Yes", "No"])
    await house.picture("page-confirmation")
    await buttons.get_by_role("button", name="Yes").press("Enter")
    await expect(house.page.get_by_placeholder("Write a message")).to_be_focused()
    await expect(house.last).to_contain_text("Ordered.")
    await expect(buttons).to_have_count(0)
    results = [frame.frame for frame in house.agent.record.frames if frame.frame.get("type") == "CONFIRM_RESULT"]
    assert [result["approved"] for result in results] == [True]


async def test_files_both_ways(house: House, tmp_path: Path) -> None:
    """A file goes to the agent by button or drop; what the agent sends shows as a picture or is saved as it was."""
    async with house.page.expect_file_chooser() as chooser:
        await house.page.get_by_role("button", name="Send a file").click()
    await (await chooser.value).set_files(
        {"name": "shopping.txt", "mimeType": "text/plain", "buffer": b"apples\nflour\n"}
    )
    await expect(house.last).to_contain_text("shopping.txt")
    await drop(house.page, "dropped.txt")
    await expect(house.last).to_contain_text("dropped.txt")
    (house.workspace / "week.png").write_bytes(await chart(house.browser))
    (house.workspace / "plan.csv").write_bytes(b"day,jars\nWed,9\n")
    house.answers(
        "Here is the week as a picture, and the plan as a table.",
        {"type": "AGENT_EVENT_SEND_FILE", "path": "week.png"},
        {"type": "AGENT_EVENT_SEND_FILE", "path": "plan.csv"},
    )
    await house.say("Draw me the week, with what is in these files.")
    save = house.page.get_by_role("button", name="Save plan.csv")
    await expect(house.page.get_by_role("img", name="week.png")).to_be_visible()
    await save.scroll_into_view_if_needed()
    await house.picture("page-files")
    async with house.page.expect_download() as download:
        await save.click()
    await (await download.value).save_as(tmp_path / "saved.csv")
    assert (tmp_path / "saved.csv").read_bytes() == b"day,jars\nWed,9\n"


async def test_editing_by_arrow(house: House) -> None:
    """ArrowUp in the empty field edits what was said last; Escape leaves it as it was."""
    await house.say("a slip of the pem")
    await expect(house.page.locator(".said").last).to_contain_text("a slip of the pem")
    box = house.page.get_by_placeholder("Write a message")
    await box.press("ArrowUp")
    await expect(box).to_have_value("a slip of the pem")
    await box.press("Escape")
    await expect(box).to_have_value("")
    await box.press("ArrowUp")
    await box.fill("a slip of the pen")
    await box.press("Enter")
    edited = house.page.locator(".own").last
    await expect(edited).to_contain_text("a slip of the pen")
    await expect(edited).to_contain_text("edited")


async def test_two_conversations(house: House) -> None:
    """A new conversation opens by itself; the other shows what was not read there, and Ctrl+K goes back.

    What was begun in each and not sent stays there.
    """
    page, box = house.page, house.page.get_by_placeholder("Write a message")
    await page.get_by_role("button", name="New conversation").click()
    await expect(page.get_by_role("heading", name="C2")).to_be_visible()
    held = asyncio.Event()
    house.answers("Thinking… ", "done thinking.", held=held)
    await expect(box).to_be_focused()
    await house.say("Think for a while.")
    await box.fill("Also, ")
    await page.keyboard.press("Control+k")
    await page.get_by_role("combobox").fill("c1")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="C1")).to_be_visible()
    await expect(page.locator(".message")).not_to_have_count(0)
    await expect(box).to_have_value("")
    held.set()
    await expect(page.get_by_role("button", name=re.compile("C2.*unread"))).to_be_visible()
    await page.get_by_role("button", name=re.compile("C2")).click()
    await expect(house.last).to_contain_text("done thinking.")
    await expect(box).to_have_value("Also, ")
    await box.fill("")


async def test_phone_and_dark(house: House) -> None:
    """On a phone the list is a drawer; dark follows the system until the person chooses."""
    page = house.page
    await page.set_viewport_size({"width": 390, "height": 760})
    listed = page.get_by_role("navigation", name="Conversations")
    await expect(listed).not_to_be_visible()
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    await page.get_by_role("button", name="Conversations").click()
    await expect(listed).to_be_visible()
    await listed.get_by_role("button", name="C1").click()
    await expect(listed).not_to_be_visible()
    await page.emulate_media(color_scheme="dark")
    assert await brightness(page) < 60
    await house.picture("page-phone-dark")
    await page.set_viewport_size({"width": 1120, "height": 760})
    await page.get_by_role("button", name="Light").click()
    assert await brightness(page) > 200
    await page.get_by_role("button", name="Dark").click()
    await page.emulate_media(color_scheme="light")
    assert await brightness(page) < 60


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def june(house: House) -> AsyncIterator[Person]:
    """Somebody else on the homeserver."""
    async with Person(house.synapse.url, await named(house.synapse, "page_june", "June")) as person:
        yield person


async def test_a_room_of_somebody_else(house: House, june: Person) -> None:
    """An invitation of another person is offered; of the HTML that they send only what is harmless shows."""
    page = house.page
    room = await june.invite_to_chat(house.guest.user_id)
    await page.get_by_role("region", name="Invitations").get_by_role("button", name="Join").click()
    await expect(page.get_by_role("heading", name="June")).to_be_visible()
    content = {"msgtype": "m.text", "body": "x", "format": "org.matrix.custom.html", "formatted_body": HOSTILE}
    await june.send(room, content)
    await expect(house.last.locator("strong")).to_have_text("text")
    inside = house.last.locator(".text")
    assert await inside.locator("img, script, iframe, svg, style, form, input, [onclick], [style]").count() == 0
    assert await inside.locator("a").get_attribute("href") is None


async def test_without_the_homeserver(house: House, june: Person) -> None:
    """While the homeserver is away the page says so; what is written meanwhile goes when it is back, once."""
    page, alert = house.page, house.page.get_by_role("alert")
    box = page.get_by_placeholder("Write a message")
    room = next(room for room in june.timeline.rooms.values() if room.by(june.timeline.user_id))
    await page.context.set_offline(True)
    await june.say(room, "Are you there?")
    await expect(alert).to_contain_text("does not answer")
    await box.fill("Always.")
    await box.press("Enter")
    await expect(page.locator(".own").last.get_by_label("not sent")).to_be_visible()
    await page.context.set_offline(False)
    await june.see("the answer", lambda: room.by(house.guest.user_id), LONG_S)
    await expect(page.locator(".own").last.get_by_label("not sent")).to_have_count(0)
    await expect(alert).to_have_count(0)
    assert [message.text for message in room.by(house.guest.user_id)] == ["Always."]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def secret(house: House) -> AsyncIterator[House]:
    """Somebody else's browser, whose page belongs to the bot with encrypted conversations."""
    mia = await named(house.synapse, "page_mia", "Mia")
    facts = Facts(homeserver=house.synapse.url, bot=house.private.user_id, offer=mia)
    look = await house.browser.new_context(
        viewport={"width": 1120, "height": 760}, color_scheme="light", locale="en-GB"
    )
    async with Server(facts) as server:
        page = await look.new_page()
        await house.watch(page)
        await page.goto(server.url)
        await page.get_by_role("button", name="Enter as page_mia").click()
        yield replace(house, guest=mia, page=page, url=server.url)
        await look.close()


async def test_an_encrypted_conversation(secret: House, tmp_path: Path) -> None:
    """With a bot that encrypts, everything is as in the open: greeting, growing answer, question, files both ways."""
    page = secret.page
    await expect(secret.last).to_contain_text("This is a private conversation")
    await expect(page.get_by_title("encrypted end to end")).to_be_visible()
    await page.locator("input[type=file]").set_input_files(
        {"name": "recipe.txt", "mimeType": "text/plain", "buffer": b"a pinch of cardamom"}
    )
    await expect(secret.last).to_contain_text("waiting for your next message")
    assert [path.read_bytes() for path in secret.workspace.rglob("recipe*")] == [b"a pinch of cardamom"]

    (secret.workspace / "jars.png").write_bytes(await chart(secret.browser))
    held = asyncio.Event()
    sent: dict[str, object] = {"type": "AGENT_EVENT_SEND_FILE", "path": "jars.png"}
    secret.answers("Nobody else can read it. ", "These are the **jars** for each day:", sent, held=held)
    await secret.say("This is grandmother's recipe. How many jars will it make?")
    growing = page.locator('.said[aria-busy="true"]')
    await expect(growing).to_contain_text("the jars for each day")
    event = await growing.get_attribute("data-event")
    held.set()
    await expect(page.locator(f'.said[data-event="{event}"]')).to_have_attribute("aria-busy", "false")
    await expect(page.get_by_role("img", name="jars.png")).to_be_visible()
    await expect(page.get_by_label("sent from a device")).to_have_count(0)
    await page.get_by_role("button", name="Save jars.png").scroll_into_view_if_needed()
    await secret.picture("page-encrypted")
    async with page.expect_download() as download:
        await page.get_by_role("button", name="Save jars.png").click()
    await (await download.value).save_as(tmp_path / "jars.png")
    assert (tmp_path / "jars.png").read_bytes() == (secret.workspace / "jars.png").read_bytes()
    assert await kinds(page) == {"m.room.encrypted"}


async def test_comparing_emoji(secret: House) -> None:
    """`!verify` opens a dialog on the page; the bot shows the same pictures, and its question has buttons."""
    page = secret.page
    await secret.say("!verify")
    dialog = page.get_by_role("dialog", name="Verification")
    await dialog.get_by_role("button", name="Begin").click()
    answer = page.get_by_role("group", name="Answer", exact=True)
    await expect(dialog.locator(".emoji span")).to_have_count(7)
    asked = page.locator(".message").filter(has=answer)
    for sign in await dialog.locator(".emoji span").all_text_contents():
        await expect(asked).to_contain_text(sign)
    await secret.picture("page-verification")
    await dialog.get_by_role("button", name="They are the same").click()
    await answer.get_by_role("button", name="Yes").click()
    await expect(dialog).to_contain_text("Verified.")
    await dialog.get_by_role("button", name="Good").click()
    await expect(secret.last).to_contain_text("Verified: your client and I know each other now.")


async def test_a_reload_in_another_language(secret: House) -> None:
    """After a reload the same room shows, still readable; the page speaks what the browser asks for by then."""
    page = secret.page
    await page.add_init_script("Object.defineProperty(navigator, 'languages', {get: () => ['fr', 'ru-RU', 'en']})")
    await page.reload()
    await expect(page.get_by_text("grandmother's recipe")).to_be_visible()
    await expect(page.get_by_placeholder("Напишите сообщение")).to_be_visible()
    assert await page.evaluate("document.documentElement.lang") == "ru-RU"
    said = await page.locator("body").evaluate(SAID_BY_PAGE)
    assert [text for text in said if re.search("[A-Za-z]", text.replace("Surfaces", "").replace("Ctrl+K", ""))] == []


async def test_what_is_wrong_is_said(house: House) -> None:
    """A wrong password is told; a second window of the same browser is kept from breaking the first."""
    second = await house.page.context.new_page()
    await house.watch(second)
    await second.goto(house.url)
    await expect(second.get_by_text("open in another window")).to_be_visible()
    await second.close()
    stranger = await house.browser.new_page()
    await house.watch(stranger)
    await stranger.goto(house.url)
    await stranger.get_by_text("Another account").click()
    await stranger.get_by_label("Name").fill(house.guest.user_id)
    await stranger.get_by_label("Password").fill("guessed")
    await stranger.get_by_role("button", name="Log in").click()
    await expect(stranger.get_by_role("alert")).to_have_text("Name or password is wrong.")
    await stranger.context.close()


async def kinds(page: Page) -> set[str]:
    """Of which types what was said in the room is, as the homeserver has it."""
    return set(await page.evaluate(KINDS))


async def chart(browser: Browser) -> bytes:
    """A picture, drawn by the browser itself."""
    page = await browser.new_page(viewport={"width": 420, "height": 220})
    await page.set_content(CHART)
    picture = await page.screenshot()
    await page.context.close()
    return picture


async def drop(page: Page, name: str) -> None:
    """Drop a text file on the room."""
    transfer = await page.evaluate_handle(
        """name => {
            const transfer = new DataTransfer();
            transfer.items.add(new File(["dropped"], name, {type: "text/plain"}));
            return transfer;
        }""",
        name,
    )
    await page.dispatch_event("main.room", "drop", {"dataTransfer": transfer})


async def brightness(page: Page) -> int:
    """How bright the paper is, of 255."""
    colour = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
    return int(re.findall(r"\d+", colour)[0])
