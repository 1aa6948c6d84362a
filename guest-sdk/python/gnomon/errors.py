"""What was raised, as a message with the places in the author's own files."""

from pathlib import PurePath
from types import TracebackType

FRAMES_MAX = 6
CAUSES_MAX = 4
HALF_CHARACTERS = "backslashreplace"

_SDK = str(PurePath(__file__).parent)


def explain(raised: BaseException, causes: int = CAUSES_MAX) -> str:
    """Type, message and place of an exception."""
    lines = [_title(raised), *_frames(raised.__traceback__)]
    cause = raised.__cause__
    if cause is None and not raised.__suppress_context__:
        cause = raised.__context__
    if cause is not None and causes > 0:
        lines.append(f"caused by {explain(cause, causes - 1)}")
    return "\n".join(lines)


def carried(text: str) -> str:
    """The text without half characters, which have no UTF-8."""
    return text.encode(errors=HALF_CHARACTERS).decode()


def _title(raised: BaseException) -> str:
    try:
        message = str(raised)
    except Exception:
        message = "its message cannot be shown"
    name = type(raised).__name__
    return f"{name}: {message}" if message else name


def _frames(traceback: TracebackType | None) -> list[str]:
    """The innermost calls first. Nothing may be read here, so the lines' text is not shown."""
    frames: list[str] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        if not code.co_filename.startswith(_SDK):
            frames.append(f'    File "{_short(code.co_filename)}", line {traceback.tb_lineno}, in {code.co_name}')
        traceback = traceback.tb_next
    return frames[: -FRAMES_MAX - 1 : -1]


def _short(path: str) -> str:
    """Without the number of the folder in which componentize-py mounts a project."""
    parts = PurePath(path).parts
    if len(parts) > 2 and parts[1].isdecimal():
        return str(PurePath(*parts[2:]))
    return path
