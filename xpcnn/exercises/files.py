"""The reader's file: written once with the functions to fill in, never over what is there, and read again."""

from importlib import resources
from pathlib import Path
from typing import Any

from xpcnn._disk.files import replacing
from xpcnn.errors import ExerciseError
from xpcnn.exercises.exercise import Exercise


def template(exercise: Exercise, language: str) -> str:
    """Return the text of an exercise's file: every function with its formula and shapes, and nothing in it."""
    return (
        resources.files("xpcnn.exercises")
        .joinpath(language, f"{exercise.name}.txt")
        .read_text(encoding="utf-8")
    )


def write(exercise: Exercise, path: Path, language: str = "en") -> None:
    """Write the file with the functions to fill in.

    Raises
    ------
    ExerciseError
        If there is such a file: the reader's work is never overwritten.
    OSError
        If it cannot be written.
    """
    if path.exists():
        raise ExerciseError(f"{path}: exists; remove it or name another file to begin anew")
    with replacing(path) as file:
        file.write(template(exercise, language).encode())


def load(path: Path) -> dict[str, Any]:
    """Run a reader's file and return what it defines.

    Raises
    ------
    ExerciseError
        If it cannot be read or does not run, with the line.
    """
    names: dict[str, Any] = {"__name__": path.stem, "__file__": str(path)}
    try:
        code = compile(path.read_text(encoding="utf-8"), str(path), "exec")
    except SyntaxError as error:
        raise ExerciseError(f"{path}, line {error.lineno}: {error.msg}") from None
    except (UnicodeDecodeError, ValueError) as error:
        raise ExerciseError(f"{path}: is no Python file ({error})") from None
    try:
        exec(code, names)  # the reader's own file, as python FILE would run it
    except Exception as error:
        traceback = error.__traceback__
        line = None
        while traceback is not None:
            if traceback.tb_frame.f_code.co_filename == str(path):
                line = traceback.tb_lineno
            traceback = traceback.tb_next
        raise ExerciseError(f"{path}, line {line}: {type(error).__name__}: {error}") from None
    return names
