"""What deploys the host is in order, as far as can be told where no container engine runs: its steps are run here."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from proof.processes import Program

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
COMPOSE = sorted((ROOT / "compose").glob("*.yml"))
SMOKE = ROOT / "compose/smoke.yml"
SILENT = ROOT / "compose/smoke.silent.yml"
ROUTE = re.compile(r"/agent_(?P<number>[01])(?P<rest>/.*)")


def run(*words: str | Path, **more: Any) -> subprocess.CompletedProcess[str]:
    """What a program says, and how it ends."""
    return subprocess.run([str(word) for word in words], capture_output=True, text=True, **more)


def test_the_dockerfile_is_clean() -> None:
    """The linter for Dockerfiles has nothing to say."""
    done = run(BIN / "hadolint", ROOT / "Dockerfile")
    assert (done.returncode, done.stdout) == (0, "")


def test_compose_files_keep_their_schema() -> None:
    """Every file passes the schema of the Compose specification."""
    assert len(COMPOSE) == 4
    done = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", *COMPOSE)
    assert done.returncode == 0, done.stdout


def test_workflows_keep_their_schema() -> None:
    """What tests and publishes elsewhere passes the schema of workflows."""
    files = sorted((ROOT / ".github/workflows").glob("*.yml"))
    done = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.github-workflows", *files)
    assert done.returncode == 0, done.stdout


def test_workflows_trust_nothing_that_moves() -> None:
    """Every action is named by the hash of its commit, and what may sign or publish builds and runs nothing itself."""
    for path in sorted((ROOT / ".github/workflows").glob("*.yml")):
        workflow = yaml.safe_load(path.read_text())
        assert workflow["permissions"] == {"contents": "read"}
        for name, job in workflow["jobs"].items():
            steps = job.get("steps", [])
            used = [step["uses"] for step in steps if "uses" in step]
            assert [action for action in used if not re.fullmatch(r"[\w./-]+@[0-9a-f]{40}", action)] == []
            if job.get("permissions", {}).get("id-token") == "write":
                assert [step for step in steps if "run" in step] == [], f"{path.name}: {name}"
                assert set(job["needs"]) >= {"ci"}, f"{path.name}: {name} publishes what was not tested"


def test_containers_may_do_no_more_than_they_must() -> None:
    """Ours run on a read-only root without capabilities, and nothing is published beyond this machine."""
    for path in COMPOSE:
        for name, service in yaml.safe_load(path.read_text())["services"].items():
            assert all(port.startswith("127.0.0.1:") for port in service.get("ports", ())), name
            if service.get("image") == "surfaces":
                assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"]), f"{path.name}: {name}"
                assert service["security_opt"] == ["no-new-privileges:true"], f"{path.name}: {name}"


def test_every_variable_of_a_container_means_something() -> None:
    """What compose files hand to the host is what the config for containers is filled from."""
    known = set(re.findall(r"\$\{(\w+)", (ROOT / "compose/surfaces.yaml").read_text())) | {"SURFACES_DEBUG_WS"}
    for path in COMPOSE:
        for name, service in yaml.safe_load(path.read_text())["services"].items():
            if name in {"surfaces", "check"}:
                assert {variable.removesuffix("_FILE") for variable in service["environment"]} <= known, path


def test_the_board_shows_metrics_that_there_are() -> None:
    """Every query of the Grafana board asks for metrics and labels of the reference, and each panel has its place."""
    board = json.loads((ROOT / "deploy/grafana.json").read_text())
    page = (ROOT / "docs/reference/metrics.md").read_text()
    known = set(re.findall(r"^\| `(\w+)`", page, re.MULTILINE))
    queries = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    asked = {
        name.removesuffix("_bucket") for query in queries for name in re.findall(r"(?:surfaces|process)_\w+", query)
    }
    assert asked <= known
    elsewhere = {"surfaces_info", "surfaces_reconciled", "surfaces_registry_refused"}
    assert {name for name in known if name.startswith("surfaces_")} - asked == elsewhere
    vital = [query for query in queries if query.startswith(("min(surfaces_ready", "min(surfaces_surface_connected"))]
    assert len(vital) == 2
    assert all(query.endswith(" or vector(0)") for query in vital), "a host that is gone serves nobody"
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in board["panels"]]
    assert len(set(places)) == len(places)


# Smoke --------------------------------------------------------------------------------------------


@asynccontextmanager
async def proxy(agents: Mapping[str, str]) -> AsyncIterator[str]:
    """Routes by path as the proxy of the smoke test does; its address."""

    async def handle(request: web.Request) -> web.StreamResponse:
        route = ROUTE.fullmatch(request.path)
        if route is None:
            return web.Response(status=404)
        url = agents[f"agent-{route['number']}"] + route["rest"]
        client, here = aiohttp.ClientSession(), web.WebSocketResponse()
        async with client, client.ws_connect(url) as there:
            await here.prepare(request)
            async with asyncio.TaskGroup() as group:
                back = group.create_task(pass_on(there, here))
                await pass_on(here, there)
                back.cancel()
        return here

    async def pass_on(source: Any, target: Any) -> None:
        async for message in source:
            await target.send_str(message.data)

    app = web.Application()
    app.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


async def smoke(folder: Path, *, silent: bool) -> tuple[int, str]:
    """The smoke test with processes instead of containers: the very commands, config and registry of its files."""
    whole = yaml.safe_load(SMOKE.read_text())
    services = whole["services"]
    if silent:
        for name, service in yaml.safe_load(SILENT.read_text())["services"].items():
            services[name] = {**services[name], **service}
    async with AsyncExitStack() as stack:
        agents: dict[str, str] = {}
        for name in ("agent-0", "agent-1"):
            words = [*services[name]["entrypoint"], *services[name]["command"]]
            words = [{"0.0.0.0": "127.0.0.1", "7000": "0", "/tmp": str(folder)}.get(word, word) for word in words]
            program = Program((str(BIN / words[0]), *words[1:]), log=folder / f"{name}.log")
            agent = await stack.enter_async_context(program)
            agents[name] = (await agent.ready())["base_url"].rstrip("/")
        address = await stack.enter_async_context(proxy(agents))
        registry = folder / "agents.yaml"
        registry.write_text(whole["configs"]["registry"]["content"].replace("http://proxy:7000", address))
        check = services["check"]
        words = [str(ROOT / "compose/surfaces.yaml") if word.endswith(".yaml") else word for word in check["command"]]
        environment = {
            **check["environment"],
            "MATRIX_AGENT_REGISTRY_PATH": str(registry),
            "MATRIX_DB_PATH": str(folder / "surfaces.db"),
            "SURFACES_WORKSPACE_DIR": str(folder),
        }
        run = await asyncio.create_subprocess_exec(
            BIN / "surfaces", *words, env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
        said, _ = await run.communicate()
        return run.returncode or 0, said.decode()


async def test_the_smoke_test_passes(tmp_path: Path) -> None:
    """Two agents behind a proxy that routes by path both answer."""
    code, said = await smoke(tmp_path, silent=False)
    assert code == 0, said
    assert said.count("answered") == 2


async def test_the_smoke_test_fails_with_a_silent_agent(tmp_path: Path) -> None:
    """The override's agent never greets, and the check says which one and exits with something else."""
    code, said = await smoke(tmp_path, silent=True)
    assert code == os.EX_UNAVAILABLE, said
    assert "AGENT_NO_STATUS" in next(line for line in said.splitlines() if "agent agent-1" in line)


# Installing ---------------------------------------------------------------------------------------


def allowed(path: str) -> bool:
    """Whether the build context has a file, by the rules of .dockerignore that are used there."""
    kept = False
    for rule in (ROOT / ".dockerignore").read_text().split():
        pattern = rule.removeprefix("!")
        parts = path.split("/")
        heads = ["/".join(parts[: depth + 1]) for depth in range(len(parts))]
        if any(head.count("/") == pattern.count("/") and fnmatch(head, pattern) for head in heads):
            kept = rule.startswith("!")
    return kept


@pytest.mark.slow
def test_the_steps_of_the_image_make_a_host(tmp_path: Path) -> None:
    """From nothing but the build context the host is installed with its usual plugins, and stands alone."""
    context, target = tmp_path / "context", tmp_path / "opt"
    for name in run("git", "ls-files", cwd=ROOT).stdout.split():
        if allowed(name):
            (context / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, context / name)
    done = run(context / "deploy/install", target)
    assert done.returncode == 0, done.stderr
    shutil.rmtree(context)
    environment = {
        "MATRIX_HOMESERVER": "https://matrix.example.org",
        "MATRIX_USER_ID": "@bot:example.org",
        "MATRIX_PASSWORD": "x",
        "MATRIX_DB_PATH": str(tmp_path / "surfaces.db"),
        "SURFACES_WORKSPACE_DIR": str(tmp_path),
        "MATRIX_AGENT_REGISTRY_PATH": str(ROOT / "compose/agents.yaml"),
    }
    checked = run(target / "bin/surfaces", "check", "--offline", "-c", ROOT / "compose/surfaces.yaml", env=environment)
    assert "drivers: storage (sqlite), files (volume), agent_api (agent_api), matrix (matrix)" in checked.stdout
    assert run(target / "bin/python", "-c", "import vodozemac").returncode == 0
    listed = run(target / "bin/python", "-m", "pip", "--version")
    assert listed.returncode != 0, "an image has no tools for building"


def test_an_unknown_plugin_is_refused(tmp_path: Path) -> None:
    """Before anything is made, with the names there are."""
    done = run(ROOT / "deploy/install", tmp_path / "opt", "matricks")
    assert done.returncode == os.EX_USAGE
    assert "there is no plugin matricks; there are: agent_api" in done.stderr
    assert not (tmp_path / "opt").exists()
