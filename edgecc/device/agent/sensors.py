"""What is watched while energy is measured: tegrastats, INA3221 in sysfs, RAPL, where there."""

import threading
import time

from edgecc.device.agent import rails, sysroot
from edgecc.device.agent.tegrastats import Tegrastats


class Sensors:
    """Watches from `start` to `stop`, in a thread of its own; every reading is an event."""

    def __init__(self, events, guard, interval_ms):
        self._events, self._guard, self._interval_ms = events, guard, interval_ms
        self._tool = sysroot.tool("tegrastats")
        self._channels = [channel for channel in rails.channels() if channel.readable]
        self._domains = [domain for domain in rails.domains() if domain["readable"]]
        self._stop, self._thread = threading.Event(), None
        self.fault = None

    @property
    def any(self):
        """Return whether there is anything to watch."""
        return bool(self._tool or self._channels or self._domains)

    def __enter__(self):
        self._stop.clear()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.stop()

    def stop(self):
        """End it, also where the end of the block was interrupted."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(30)

    def _watch(self):
        running = self._begin()
        restarts, due, interval_s = 0, time.monotonic(), self._interval_ms / 1000.0
        try:
            while not self._stop.is_set():
                if time.monotonic() >= due:
                    self._sample()
                    due = max(due + interval_s, time.monotonic())
                wait_s = max(0.0, min(due - time.monotonic(), 0.2))
                if running is None:
                    self._stop.wait(wait_s)
                    continue
                lines = running.lines(wait_s)
                for t_s, line in lines or ():
                    self._events.emit("sensor", source="tegrastats", t_s=t_s, line=line)
                if lines is None or running.is_stalled:
                    why = "ended" if lines is None else "was silent for %.0f s" % running.silent_s
                    self._end(running)
                    running = self._again(restarts, why)
                    restarts += 1
            self._sample()
        finally:
            if running is not None:
                self._end(running)

    def _again(self, restarts, why):
        if restarts == 0:
            self._events.note("tegrastats {} and was started again".format(why))
            self._stop.wait(0.2)
            return self._begin()
        self.fault = "tegrastats {} again: the power was not measured".format(why)
        return None

    def _begin(self):
        if self._tool is None:
            return None
        try:
            running = Tegrastats(self._tool, self._interval_ms)
        except OSError as error:
            self.fault = "tegrastats cannot be started: {}".format(error.strerror)
            return None
        self._guard.started(running.process.pid)
        return running

    def _end(self, running):
        running.stop()
        self._guard.ended(running.process.pid)

    def _sample(self):
        if self._channels:
            found = rails.sample(self._channels)
            self._events.emit("sensor", source="ina3221", t_s=time.monotonic(), rails=found)
        if self._domains:
            found = rails.energy(self._domains)
            self._events.emit("sensor", source="rapl", t_s=time.monotonic(), uj=found)
