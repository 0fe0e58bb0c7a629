from surfaces_core import Command, CommandCall, hookimpl

async def ping(call: CommandCall) -> str:
    return "pong " + " ".join(call.args)

@hookimpl
def surfaces_commands():
    return [Command(name="ping", help="answers pong", handler=ping)]
