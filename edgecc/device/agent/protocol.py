"""One session of measuring: record, pin, settle, measure interleaved, put back.

    for each round:  idle with sensors; for each bundle: warm, latency without sensors, energy with
    then:            one profile of each bundle

Watching costs power and time, so that no sensor is read while latency is measured. Whatever ends
the session, what it changed is put back: here, or by the guard where this process is killed.
"""

import os
import shutil
import tempfile
import time

from edgecc.device.agent import clocks, identify, journal, modes, runners, state
from edgecc.device.agent.events import SessionError
from edgecc.device.agent.guard import Guard
from edgecc.device.agent.privilege import Privilege
from edgecc.device.agent.sensors import Sensors

POWER_HIDDEN = (
    "power is hidden from this user, so latency alone is measured; it is shown after: {} "
    "(until the next boot)"
)
NO_POWER = "this device has no power sensor that can be read: latency alone is measured"
PROFILE_S = 3.0


class Session:
    """A job that runs here: `begin`, `measure`, and whatever happens `close`."""

    def __init__(self, job, events):
        self.job, self.events = job, events
        self._ends = time.monotonic() + job["limit_s"]
        self.guard = self.identity = self._lock = self._journal = self._pinned = None
        self._is_pinned = self._watched = False
        self._runners, self._sensors, self._noted = {}, None, set()
        self._scratch = tempfile.mkdtemp(prefix="edgecc-")
        self._privilege = Privilege()

    def left_s(self):
        """Return what is left of the job's time. Raises SessionError where nothing is."""
        left = self._ends - time.monotonic()
        if left <= 0:
            raise SessionError(
                4,
                "not done within the {:.0f} s that the job has".format(self.job["limit_s"]),
                "give it more time, or fewer rounds",
            )
        return left

    def begin(self):
        """Become the device's one session. Raises SessionError."""
        self._lock, left = journal.begin()
        if left:
            self.events.note(
                "put back what an earlier session left: " + ", ".join(left["restored"])
            )
        self._journal = journal.Journal()
        self.guard = Guard()
        self._sensors = Sensors(self.events, self.guard, self.job["sample_interval_ms"])

    def measure(self):
        """Do the job. Raises SessionError."""
        self.identity = identify.identify()
        self.events.emit("identity", identity=self.identity)
        self._tell_state("before")
        self._open()
        self._pin()
        self._settle()
        for number in range(self.job["rounds"]):
            self._round(number)
        if self.job["profile"]:
            self._profile()

    def close(self):
        """Put everything back; return whether it is as it was found."""
        failed = []
        if self._sensors is not None:
            self._sensors.stop()
        if self._journal is not None:
            failed = journal.restore(self._journal.entries, self._privilege)["failed"]
            for text in failed:
                self.events.note("not put back: " + text)
            self._tell_state("after")
        if self.guard is not None:
            self.guard.done()
        if self._lock is not None:
            self._lock.leave()
        shutil.rmtree(self._scratch, ignore_errors=True)
        return not failed

    def _tell_state(self, when):
        found = state.state()
        self.events.emit("state", when=when, t_s=time.monotonic(), state=found)
        return found

    def _open(self):
        for label, folder in sorted(self.job["bundles"].items()):
            device = runners.read_bundle(folder, self.identity)
            scratch = os.path.join(self._scratch, label)
            os.mkdir(scratch)
            self._runners[label] = runners.open_runner(folder, device, scratch, self)
        told = self.identity["sensors"]
        self._watched = bool(self.job["energy"]) and told["power_readable"]
        if self.job["energy"] and not self._watched:
            show = told["to_show_power"]
            self.events.note(POWER_HIDDEN.format(show) if show else NO_POWER)

    def _pin(self):
        before = clocks.snapshot()
        wanted = self.job["mode"]
        now = modes.current()
        if self._privilege.can and (self.job["pin"] or wanted is not None):
            clocks.store(self._journal, self._privilege, before)
        if wanted is not None and (now or {}).get("id") != wanted:
            self._journal.undo(mode=now["id"] if now else None)
            why = modes.change(wanted, self._privilege)
            if why:
                raise SessionError(4, why, "set it by hand, or measure without a mode")
        if self.job["pin"]:
            self._is_pinned, notes = clocks.pin(self._privilege, before)
            for text in notes:
                self.events.note(text)

    def _settle(self):
        start_s = time.monotonic()
        self._sleep(self.job["settle_s"])
        if self._is_pinned and not clocks.wait_for_gpu(min(5.0, self.left_s())):
            self.events.note("the GPU's clock does not reach the speed that it is held at")
        self._phase("settle", None, None, start_s, time.monotonic(), None)
        self._pinned = self._tell_state("pinned")

    def _round(self, number):
        if self._watched:
            start_s = time.monotonic()
            with self._sensors:
                self._sleep(self.job["idle_s"])
            self._phase("idle", None, number, start_s, time.monotonic(), None)
            self._check()
        for label in self._turns(number):
            runner = self._runners[label]
            self.left_s()
            self._told("warm", label, number, runner.warm(self.job["warmup_s"]))
            self._times("latency", label, number, runner.latency(self.job["latency"]))
            self._check()
            if self._watched:
                with self._sensors:
                    done = runner.energy(self.job["energy"]["seconds"])
                self._times("energy", label, number, done)
                self._check()
        self._tell_state("round {}".format(number))

    def _turns(self, number):
        """The bundles in the order of this round: ABAB, or ABBA, as the job writes it."""
        labels = sorted(self.job["bundles"])
        order = [label for label in self.job["order"] if label in labels]
        count = len(labels)
        turns = [order[i % len(order)] for i in range(number * count, (number + 1) * count)]
        return turns if set(turns) == set(labels) else labels

    def _times(self, kind, label, number, done):
        self._told(kind, label, number, done)
        stride = -(-len(done["times_ms"]) // self.job["latency"]["max_samples"])
        fields = {name: done[name] for name in ("compute_ms", "shapes") if done.get(name)}
        if stride > 1:
            fields["stride"] = stride
            if "compute_ms" in fields:
                fields["compute_ms"] = fields["compute_ms"][::stride]
        self.events.emit(
            "times",
            bundle=label,
            round=number,
            kind=kind,
            times_ms=done["times_ms"][::stride],
            runner=done["runner"],
            **fields,
        )

    def _told(self, name, label, number, done):
        if done.get("raw"):
            file = "{}-{}-{}-{}.log".format(done["runner"].split()[0], name, label, number)
            self.events.emit("raw", name=file, text=done["raw"])
        for text in done.get("notes") or [] if name != "warm" else []:
            if (label, text) not in self._noted:
                self._noted.add((label, text))
                self.events.note("trtexec of {}: {}".format(label, text))
        extra = {"peak_rss_mb": done["peak_rss_mb"]} if done.get("peak_rss_mb") else {}
        times = (done["start_s"], done["end_s"])
        self._phase(name, label, number, times[0], times[1], done["runs"], **extra)

    def _phase(self, name, label, number, start_s, end_s, runs, **extra):
        self.events.emit(
            "phase",
            name=name,
            bundle=label,
            round=number,
            start_s=start_s,
            end_s=end_s,
            runs=runs,
            **extra,
        )

    def _check(self):
        """Raise SessionError where the device is not as it was once it had settled."""
        now = state.state()
        wrong = clocks.changes(self._pinned, now)
        drifted = clocks.drift(now) if self._is_pinned else None
        if wrong or drifted:
            raise SessionError(
                7,
                "the device changed under the run: " + "; ".join(wrong or [drifted]),
                "let it cool down, and see that nothing else sets its clocks",
            )
        if self._sensors.fault:
            raise SessionError(7, self._sensors.fault, "try: tegrastats --interval 1000")

    def _profile(self):
        for label, runner in sorted(self._runners.items()):
            self.left_s()
            start_s = time.monotonic()
            layers = runner.profile(PROFILE_S)
            if layers is None:
                self.events.note("the runner of {} tells no times of layers".format(label))
                continue
            self._phase("profile", label, None, start_s, time.monotonic(), None)
            self.events.emit("profile", bundle=label, layers=layers)

    def _sleep(self, seconds):
        time.sleep(min(seconds, self.left_s()))
