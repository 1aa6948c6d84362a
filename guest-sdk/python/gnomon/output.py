"""``print`` and ``logging``, to the host's log."""

import io
import logging
import sys
from types import SimpleNamespace

from wit_world.imports import log  # type: ignore[import-not-found]

from .errors import carried

# What was printed at build time, when there was no host yet.
_early: list[tuple[log.Level, str]] = []
_is_called = False


def enter_call() -> None:
    """From now on there is a host to print to."""
    global _is_called
    _is_called = True


def print_early_lines() -> None:
    """Prints what was printed at build time."""
    for level, line in _early:
        log.write(level, line)


def _write(level: log.Level, line: str) -> None:
    if _is_called:
        log.write(level, carried(line))
    else:
        _early.append((level, carried(line)))


class _Lines(io.TextIOBase):
    """A stream of which each line is a message of the log."""

    def __init__(self, level: log.Level) -> None:
        self._level = level
        self._begun = ""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        *lines, self._begun = (self._begun + text).split("\n")
        for line in lines:
            _write(self._level, line)
        return len(text)

    def end_line(self) -> None:
        if self._begun:
            self.write("\n")


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        _write(_level(record.levelno), f"{record.name}: {self.format(record)}")


def _level(number: int) -> log.Level:
    if number >= logging.ERROR:
        return log.Level.ERROR
    if number >= logging.WARNING:
        return log.Level.WARN
    if number >= logging.INFO:
        return log.Level.INFO
    return log.Level.DEBUG if number >= logging.DEBUG else log.Level.TRACE


_stdout = _Lines(log.Level.INFO)
_stderr = _Lines(log.Level.ERROR)


def end_lines() -> None:
    """Prints the line that was begun, if any."""
    _stdout.end_line()
    _stderr.end_line()


def redirect() -> None:
    """Makes everything that is printed go to the host."""
    sys.stdout = _stdout
    sys.stderr = _stderr
    # A record has the time, of which there is none.
    logging.time = SimpleNamespace(time_ns=int, time=float)  # type: ignore[attr-defined]
    for detail in ("logThreads", "logProcesses", "logMultiprocessing", "logAsyncioTasks"):
        setattr(logging, detail, False)
    logging.basicConfig(handlers=[_Handler()], format="%(message)s", level=1, force=True)
