"""The supervisor: one host as its child, what comes of each of its ends, and what operators ask meanwhile.

One thread, one loop over a selector. What it hears of the host are the few words of sd_notify(3).
"""

from __future__ import annotations

import os
import random
import selectors
import signal
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from surfaces_supervisor import places
from surfaces_supervisor.child import Child, bury
from surfaces_supervisor.door import Client, Words, listening
from surfaces_supervisor.doubts import Doubts
from surfaces_supervisor.limits import AWAY, USELESS, Course, Done, Hold, Limits, Wait, said_of
from surfaces_supervisor.lines import Log
from surfaces_supervisor.notify import Ear, Voice
from surfaces_supervisor.recorder import Recorder

LOOK_S = 1.0
"""How often a held supervisor looks whether the config has changed."""
LOADING_S = 120.0
"""How long a host may take until its first sign of life: it comes once everything is loaded."""
SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)
NEVER = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a supervisor is told when it starts."""

    config: Path
    folder: Path
    limits: Limits


class Supervisor:
    """Looks after one host until that ends cleanly or a signal asks to stop."""

    def __init__(self, options: Options, log: Log, voice: Voice) -> None:
        self._options = options
        self._limits = options.limits
        self._log = log
        self._voice = voice
        self._ear = Ear(options.folder)
        self._course = Course(options.limits, random.random)
        self._recorder = Recorder(options.config, options.folder, log)
        self._doubts = Doubts(options.folder, options.limits.within_s)
        self._selector = selectors.DefaultSelector()
        self._child: Child | None = None
        self._then: Callable[[], None] | None = None
        """What to do when the child, which was asked to, has ended."""
        self._paused_by: Client | None = None
        self._code: int | None = None
        """With which exit code to end."""
        self._starts = 0
        self._state, self._reason, self._since = "", "", time.time()
        self._last_end: Words | None = None
        self._mendable = False
        self._stamp: places.Stamp = frozenset()
        # Times of the monotonic clock when something is due.
        self._start_at = self._settle_at = self._look_at = self._hung_at = NEVER
        self._beat_at = time.monotonic() if voice.beat_s else NEVER

    # The loop

    def run(self) -> int:
        """Start the host and stay; the exit code."""
        listener = listening(self._options.folder)
        waking, wakes = socket.socketpair()
        wakes.setblocking(False)
        waking.setblocking(False)
        signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)  # that they came is read from the pair
        self._selector.register(listener, selectors.EVENT_READ, lambda: self._meet(listener))
        self._selector.register(waking, selectors.EVENT_READ, lambda: self._signalled(waking.recv(64)))
        self._selector.register(self._ear.socket, selectors.EVENT_READ, self._heard)
        self._start()
        while self._code is None:
            for key, _ in self._selector.select(max(0.0, self._next() - time.monotonic())):
                key.data()
            self._due(time.monotonic())
        return self._code

    def _next(self) -> float:
        times = (self._start_at, self._settle_at, self._look_at, self._hung_at, self._beat_at)
        return min(*times, time.monotonic() + 3600)

    def _due(self, now: float) -> None:
        if now >= self._beat_at:
            self._beat_at = now + self._voice.beat_s
            self._voice.tell("WATCHDOG=1")
        if now >= self._hung_at:
            self._hang(now)
        if now >= self._settle_at:
            self._settle()
        if now >= self._look_at:
            self._look(now)
        if now >= self._start_at:
            self._start_at = NEVER
            self._start(hold=self._reason if self._state == "held" else "")

    # The host

    def _start(self, hold: str = "") -> None:
        self._start_at = self._look_at = NEVER
        self._stamp = places.stamp(self._options.config)
        self._recorder.starting()
        try:
            self._child = Child(self._ear, self._options.config, hold=hold, watchdog_s=self._limits.watchdog_s)
        except OSError as error:  # no memory, no more processes
            self._put_off(f"no process can be had: {error.strerror}")
            return
        self._hung_at = time.monotonic() + max(LOADING_S, self._limits.watchdog_s)
        if hold:
            self._log.info("supervise.holding", pid=self._child.pid)
        else:
            self._starts += 1
            self._become("starting")
            self._log.info("supervise.started", pid=self._child.pid, start=self._starts)

    def _put_off(self, reason: str) -> None:
        if self._state != "held":
            self._become("waiting", reason)
        self._start_at = time.monotonic() + self._limits.longest_wait_s
        self._log.error("supervise.waiting", seconds=self._limits.longest_wait_s, reason=reason)

    def _heard(self) -> None:
        child = self._child
        if child is None:
            self._ear.clear()
            return
        was_ready, files, status = child.ready, child.files, child.status
        if not child.listen():
            return
        if not child.aborted:
            self._hung_at = time.monotonic() + self._limits.watchdog_s
        if child.held or self._state not in ("starting", "ready"):
            return
        if child.status != status:
            self._voice.tell(f"STATUS={child.status}")
        if child.ready and not was_ready:
            self._become("ready")
            self._voice.tell("READY=1")
            self._log.info("supervise.ready", pid=child.pid)
            self._settle_at = time.monotonic() + self._limits.settle_s
        if child.ready and child.files and (not was_ready or child.files != files):
            self._recorder.take_up(child.files)
            if self._settle_at == NEVER and not self._recorder.running:  # a file had been changed again by then
                self._settle_at = time.monotonic()

    def _settle(self) -> None:
        self._settle_at = NEVER
        self._course.settled()
        doubted_s = self._doubts.last_s(self._recorder.installed)
        if doubted_s:
            self._settle_at = time.monotonic() + doubted_s
        elif self._child is not None:
            self._recorder.record(self._child.files)

    def _hang(self, now: float) -> None:
        self._hung_at = NEVER
        if self._child is not None:
            if not self._child.aborted:
                self._log.error("supervise.hung", pid=self._child.pid, seconds=self._limits.watchdog_s)
            self._hung_at = now + self._child.abort()

    def _reap(self) -> None:
        self._recorder.reap()
        child = self._child
        code = None if child is None else child.ended()
        bury({self._recorder.pid, 0 if child is None else child.pid})
        if child is None or code is None:
            return
        child.listen()  # its last words
        self._child = None
        self._settle_at = self._hung_at = NEVER
        self._log.info("supervise.ended", pid=child.pid, how=said_of(code), why=child.why)
        if self._state == "stopping":
            asked = child.held or -code in (signal.SIGTERM, signal.SIGINT)  # it may not have come to listen for them
            self._code = os.EX_OK if asked else code if code >= 0 else 128 - code
        elif self._then is not None:
            then, self._then = self._then, None
            then()
        elif child.held:
            self._hold_ended(child, code)
        else:
            self._follow(child, code)

    def _follow(self, child: Child, code: int) -> None:
        """A host ended by itself."""
        why = "it hung" if child.aborted else child.why
        if code != os.EX_OK and code not in USELESS | AWAY:
            self._doubts.unclean(self._recorder.installed)
        self._last_end = {"at": round(time.time(), 3), "how": f"{said_of(code)}{': ' if why else ''}{why}"}
        match self._course.ended(code, time.monotonic(), why=why):
            case Done():
                self._code = os.EX_OK
            case Wait(seconds=seconds):
                self._become("waiting", f"{said_of(code)}{': ' if why else ''}{why}")
                self._start_at = time.monotonic() + seconds
                self._log.warning("supervise.waiting", seconds=round(seconds, 2), reason=self._reason)
            case Hold(reason=reason, mendable=mendable):
                self._mendable = mendable
                self._become("held", reason)
                self._voice.tell("READY=1")  # whoever waits for the start learns of it now, in STATUS
                self._log.error("supervise.held", reason=reason)
                stamp = self._stamp
                self._start(hold=reason)
                self._stamp = stamp  # what was changed since the host began to read counts as a change
                self._watch()

    def _hold_ended(self, child: Child, code: int) -> None:
        """The host that held the state for operators is gone; without one the supervisor waits alone."""
        if child.ready or code in AWAY:
            self._put_off(said_of(code))
        else:
            self._mendable = True
            self._log.error("supervise.alone", reason=self._reason)
        self._watch()

    def _watch(self) -> None:
        if self._mendable:
            self._look_at = time.monotonic() + LOOK_S

    def _look(self, now: float) -> None:
        """Try again what a changed config may have mended."""
        self._look_at = now + LOOK_S
        if places.stamp(self._options.config) != self._stamp:
            self._log.info("supervise.changed")
            self._again()

    def _again(self) -> None:
        """A person did something about it: start afresh."""
        self._course.forgiven()
        self._start_at = self._look_at = NEVER
        self._become("starting")
        self._replace(self._start)

    def _replace(self, then: Callable[[], None]) -> None:
        """End the child, if there is one, and then go on."""
        if self._child is None:
            then()
        else:
            self._then = then
            self._child.signal(signal.SIGTERM)

    # Signals

    def _signalled(self, numbers: bytes) -> None:
        for number in numbers:
            if number == signal.SIGCHLD:
                self._reap()
            elif number == signal.SIGHUP:
                if self._child is not None:
                    self._child.signal(number)
            else:
                self._stop(number)

    def _stop(self, number: int) -> None:
        self._log.info("supervise.stopping", signal=signal.Signals(number).name)
        self._voice.tell("STOPPING=1")
        self._become("stopping")
        self._start_at = self._look_at = self._settle_at = NEVER
        self._then = None
        if self._child is None:
            self._code = os.EX_OK
        else:
            self._child.signal(number)

    # Operators

    def _meet(self, listener: socket.socket) -> None:
        try:
            connection, _ = listener.accept()
        except OSError:  # it has gone again
            return
        client = Client(connection)
        if client.may_ask():
            self._selector.register(connection, selectors.EVENT_READ, lambda: self._asked(client))
        else:
            client.say({"error": f"only user {os.geteuid()} and root may ask this supervisor"})
            connection.close()

    def _asked(self, client: Client) -> None:
        requests = client.read()
        for request in requests or ():
            self._answer(client, str(request.get("do")))
        if requests is None:
            self._selector.unregister(client.connection)
            client.connection.close()
            if client is self._paused_by:  # it was killed, perhaps; what it has done so far is tried
                self._paused_by = None
                self._again()

    def _answer(self, client: Client, do: str) -> None:
        if do == "status":
            client.say(self.status())
        elif self._state == "stopping":
            client.say({"error": "the supervisor is stopping"})
        elif do == "resume" and self._state in ("held", "waiting"):
            self._log.info("supervise.resumed")
            self._again()
            client.say({})
        elif do == "pause" and self._paused_by is None:
            self._pause(client)
        elif do == "go" and client is self._paused_by:
            client.say({})
            self._live_again()
        else:
            client.say({"error": f"the host is {self._state}, so there is nothing to {do}"})

    def _pause(self, client: Client) -> None:
        """End the host, for what it is made of is about to change."""
        self._log.info("supervise.paused")
        self._paused_by = client
        self._start_at = self._look_at = self._settle_at = NEVER
        self._become("paused", "a rollback is under way")
        self._replace(lambda: client.say({}))

    def _live_again(self) -> None:
        """Begin anew as the program that is installed now, in the same process."""
        os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])  # noqa: S606 - ourselves

    def _become(self, state: str, reason: str = "") -> None:
        if (state, reason) == (self._state, self._reason):
            return
        self._state, self._reason, self._since = state, reason, time.time()
        self._voice.tell(f"STATUS={state}{': ' if reason else ''}{reason}")

    def status(self) -> Words:
        """Everything that operators may want to know."""
        child = self._child
        return {
            "state": self._state,
            "reason": self._reason,
            "since": round(self._since, 3),
            "next_start_s": None if self._start_at == NEVER else round(max(0.0, self._start_at - time.monotonic()), 1),
            "pid": os.getpid(),
            "host_pid": None if child is None else child.pid,
            "host_says": "" if child is None else child.status,
            "operators_served": child is not None and child.ready,
            "last_end": self._last_end,
            "starts": self._starts,
            "unclean": self._course.unclean,
            "release": self._recorder.running,
        }
