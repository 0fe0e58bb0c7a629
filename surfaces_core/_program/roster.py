"""Changes to the file of the agent registry, made in its text so that comments and order stay.

What an edit came to is read again and compared with what was meant; where that differs nothing is written.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from surfaces_core.errors import ConfigError

PLAIN = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./"


def with_agent(text: str, entry: Mapping[str, str]) -> str:
    """A registry's text with one more agent. Raises `ConfigError`."""
    meant = _data(text)
    meant["agents"] = [*(meant.get("agents") or []), dict(entry)]
    node = _child(text, "agents")
    flow = "{" + ", ".join(f"{key}: {_scalar(value)}" for key, value in entry.items()) + "}"
    if node is None:
        lines = _item(entry, "  ")
        return _checked(f"{_ended(text)}agents:\n{lines}", meant)
    if isinstance(node, yaml.SequenceNode) and node.value and not node.flow_style:
        column = node.start_mark.column
        return _checked(_after(text, node, _item(entry, " " * column)), meant)
    if isinstance(node, yaml.SequenceNode) and node.flow_style:
        return _checked(_in_flow(text, node, flow), meant)
    at = node.start_mark.index  # `agents:` with nothing behind it
    return _checked(f"{text[:at].rstrip(' ')} [{flow}]{text[node.end_mark.index :]}", meant)


def with_person(text: str, person: str, agent: str | None) -> str:
    """A registry's text in which a person has an agent, or with None no entry. Raises `ConfigError`."""
    meant = _data(text)
    people = dict(meant.get("user_agents") or {})
    there = person in people
    if agent is None:
        people.pop(person, None)
    else:
        people[person] = agent
    meant["user_agents"] = people
    node = _child(text, "user_agents")
    pair = "" if agent is None else f"{_scalar(person)}: {_scalar(agent)}"
    if there:
        assert isinstance(node, yaml.MappingNode)
        return _checked(_replaced(text, node, person, agent), meant)
    if agent is None:
        return text
    if node is None:
        return _checked(f"{_ended(text)}user_agents:\n  {pair}\n", meant)
    if isinstance(node, yaml.MappingNode) and node.value and not node.flow_style:
        return _checked(_after(text, node, " " * node.start_mark.column + pair + "\n"), meant)
    if isinstance(node, yaml.MappingNode) and node.flow_style:
        return _checked(_in_flow(text, node, pair), meant)
    at = node.start_mark.index
    return _checked(f"{text[:at].rstrip(' ')} {{{pair}}}{text[node.end_mark.index :]}", meant)


def write(path: Path, text: str) -> None:
    """Put a new text in the place of a file, all of it or nothing, with the rights that the file had."""
    target = path.resolve()  # a link stays a link
    with tempfile.NamedTemporaryFile("w", encoding="utf8", dir=target.parent, prefix=".agents-", delete=False) as file:
        try:
            os.fchmod(file.fileno(), target.stat().st_mode & 0o777)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
            Path(file.name).replace(target)
        except BaseException:
            Path(file.name).unlink()
            raise
    folder = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _data(text: str) -> dict[str, Any]:
    return dict(yaml.safe_load(text) or {})


def _child(text: str, name: str) -> yaml.Node | None:
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    pairs = root.value if isinstance(root, yaml.MappingNode) else []
    return next((value for key, value in pairs if key.value == name), None)


def _replaced(text: str, node: yaml.MappingNode, person: str, agent: str | None) -> str:
    index, (key, value) = next((i, pair) for i, pair in enumerate(node.value) if pair[0].value == person)
    start, end = value.start_mark.index, value.end_mark.index
    if agent is not None:
        return text[:start] + _scalar(agent) + text[end:]
    if node.flow_style:
        last = index == len(node.value) - 1
        begin = node.value[index - 1][1].end_mark.index if last and index else key.start_mark.index
        end = end if last else node.value[index + 1][0].start_mark.index
        return text[:begin] + text[end:]
    lines = text.splitlines(keepends=True)
    del lines[key.start_mark.line : value.end_mark.line + 1]
    if len(node.value) == 1:  # else nothing would stand there
        return "".join(lines).replace("user_agents:", "user_agents: {}", 1)
    return "".join(lines)


def _after(text: str, node: yaml.Node, lines: str) -> str:
    """Put lines behind the last line of a block, before the comments that follow it."""
    at = _last(node) + 1
    before = text.splitlines(keepends=True)
    return "".join([*before[: at - 1], _ended(before[at - 1]), lines, *before[at:]])


def _last(node: yaml.Node) -> int:
    if not isinstance(node, yaml.CollectionNode) or not node.value or node.flow_style:
        return int(node.end_mark.line)
    return max(_last(child) for pair in node.value for child in (pair if isinstance(pair, tuple) else (pair,)))


def _in_flow(text: str, node: yaml.Node, more: str) -> str:
    at = node.end_mark.index - 1
    return f"{text[:at].rstrip()}{', ' if node.value else ''}{more}{text[at:]}"


def _item(entry: Mapping[str, str], indent: str) -> str:
    lines = [f"{key}: {_scalar(value)}" for key, value in entry.items()]
    return "".join(f"{indent}{'- ' if number == 0 else '  '}{line}\n" for number, line in enumerate(lines))


def _scalar(value: str) -> str:
    plain = value and set(value) <= set(PLAIN) and value[0].isalpha() and isinstance(yaml.safe_load(value), str)
    return value if plain else json.dumps(value, ensure_ascii=False)


def _ended(text: str) -> str:
    return text if not text or text.endswith("\n") else f"{text}\n"


def _checked(text: str, meant: dict[str, Any]) -> str:
    try:
        found = _data(text)
    except yaml.YAMLError:
        found = {}
    if found != meant:
        raise ConfigError("", "the registry is written in a way that cannot be changed from here; change it by hand")
    return text
