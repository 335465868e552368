"""The ``spp`` command: finds commands by name, and is the one place where an exception becomes an exit code.

0 done · 1 a bug of ours, with its traceback · 2 usage · 3 missing or bad input, or a machine out of memory or disk ·
4 artefacts that do not belong together · 130 interrupted · 143 terminated.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from sppcli import __version__
from sppcli.cli.termination import Terminated, sigterm_ends_cleanly
from sppcli.errors import SppError

# Name -> module whose ``command`` it is, in the order of the work. Modules are imported when asked for.
COMMANDS = {
    "init": "sppcli.cli.commands.init",
    "run": "sppcli.cli.commands.run",
    "check": "sppcli.cli.commands.check",
    "propose": "sppcli.cli.commands.propose",
    "extract": "sppcli.cli.commands.extract",
    "finetune": "sppcli.cli.commands.finetune",
    "train-svm": "sppcli.cli.commands.train_svm",
    "train-bbox": "sppcli.cli.commands.train_bbox",
    "train-detector": "sppcli.cli.commands.train_detector",
    "calibrate": "sppcli.cli.commands.calibrate",
    "detect": "sppcli.cli.commands.detect",
    "evaluate": "sppcli.cli.commands.evaluate",
    "pack": "sppcli.cli.commands.pack",
    "export": "sppcli.cli.commands.export",
    "train-net": "sppcli.cli.commands.train_net",
    "classify": "sppcli.cli.commands.classify",
    "report": "sppcli.cli.commands.report",
    "compare": "sppcli.cli.commands.compare",
    "show": "sppcli.cli.commands.show",
    "features": "sppcli.cli.commands.features",
    "merge": "sppcli.cli.commands.merge",
    "cluster": "sppcli.cli.commands.cluster",
    "plan": "sppcli.cli.commands.plan",
    "probe": "sppcli.cli.commands.probe",
    "fetch": "sppcli.cli.commands.fetch",
    "convert": "sppcli.cli.commands.convert",
    "info": "sppcli.cli.commands.info",
    "import-caffe": "sppcli.cli.commands.import_caffe",
    "bench": "sppcli.cli.commands.bench",
    "demo": "sppcli.cli.commands.demo",
    "config": "sppcli.cli.commands.config",
    "tune": "sppcli.cli.commands.tune",
    "clean": "sppcli.cli.commands.clean",
    "completion": "sppcli.cli.commands.completion",
    "man": "sppcli.cli.commands.man",
}

# First sentence of each command's help, for ``spp --help``: importing all commands for it would take as long again as
# everything else. A test compares.
SUMMARIES = {
    "init": "Look at a data set and write spp.toml: how to make a detector from it.",
    "run": "Make and evaluate the detector of spp.toml: every stage that is out of date.",
    "check": "Report what a data set holds and what is wrong with it.",
    "propose": "Find region proposals: boxes that may hold an object.",
    "extract": "Compute conv feature maps of whole images at each scale.",
    "finetune": "Fine-tune fc6 and fc7 on region proposals.",
    "train-svm": "Train one linear SVM per class on region proposals.",
    "train-bbox": "Train bounding-box regression for each class.",
    "train-detector": "Train a detector as one network, after Fast R-CNN.",
    "calibrate": "Turn scores into probabilities, and choose the threshold of each class.",
    "detect": "Detect objects in the images of a split, or in new images.",
    "evaluate": "Compute the average precision of each class, and mAP.",
    "pack": "Put a trained detector into one file to hand over.",
    "export": "Write a trained network as ONNX, for programs without spp and torch.",
    "train-net": "Train a classification network with spatial pyramid pooling.",
    "classify": "Classify images with networks of spp train-net.",
    "report": "Show what a detector finds and where it fails, as one HTML page.",
    "compare": "Compare evaluations side by side.",
    "show": "Draw detections, region proposals or ground truth on images.",
    "features": "Compute one feature vector for each whole image.",
    "merge": "Join the shards that --shard made into one file.",
    "cluster": "Print how to start a Dask cluster for --cluster.",
    "plan": "Forecast what spp propose and spp extract take for many images on many workers.",
    "probe": "Train and evaluate linear SVMs on whole-image features.",
    "fetch": "Download a data set or ImageNet weights, and check it.",
    "convert": "Write a data set in another annotation format.",
    "info": "Show what a file holds and what made it.",
    "import-caffe": "Turn a Caffe network into a file for spp extract --weights.",
    "bench": "Measure how long each stage takes on this machine.",
    "demo": "Show every stage at work on data that it makes itself.",
    "config": "Show the options set in this folder, and where each value comes from.",
    "tune": "Choose pyramid, C, NMS and more on validation images, from cached maps.",
    "clean": "Free the disk of what can be made again: maps, parts, shards, checkpoints.",
    "completion": "Print a script that completes commands, options and files in a shell.",
    "man": "Show the manual page of a command, or install the pages of all.",
}

# What the machine refuses, and what the user can do about it.
_REFUSALS = {
    errno.ENOSPC: "the disk is full; free some space or name another place with -o, and run it again",
    errno.EDQUOT: "the disk quota is used up; free some space or name another place with -o, and run it again",
    errno.EACCES: "permission denied; change the permissions or name another place",
    errno.EPERM: "the operation is not permitted; change the permissions or name another place",
    errno.ENAMETOOLONG: "the name is longer than that of a file may be; shorten it",
    errno.ELOOP: "a symbolic link that leads to itself; name the file itself",
    errno.EROFS: "the file system is read-only; name another place with -o",
    errno.EMFILE: "too many open files; raise the limit (ulimit -n) or use a smaller -j",
}
_CACHE = "free some space (spp clean --urls) or set XDG_CACHE_HOME to a folder on another disk, and run it again"
_MEMORY = (
    "out of memory; use fewer processes (-j), a smaller --batch or smaller --scales, or a machine with more memory"
)


class LazyGroup(click.Group):
    """A group whose commands are imported only when one is run or completed."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command = import_module(COMMANDS[cmd_name]).command
        assert isinstance(command, click.Command)
        command.name = cmd_name
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Commands by what they are for, each with its whole summary."""
        from sppcli.cli.help_pages import GROUPS

        named = {name for names in GROUPS.values() for name in names}
        width = max(map(len, COMMANDS))
        for heading, names in {**GROUPS, "Others": tuple(name for name in COMMANDS if name not in named)}.items():
            rows = [(f"{name:<{width}}", SUMMARIES[name]) for name in names if name in COMMANDS]
            if rows:
                with formatter.section(heading):
                    formatter.write_dl(rows)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if name not in COMMANDS and not name.startswith("-"):
            from difflib import get_close_matches

            from sppcli.cli.help_pages import ALIASES

            near = [ALIASES[name]] if name in ALIASES else get_close_matches(name, COMMANDS, n=1)
            hint = f"Did you mean '{near[0]}'?" if near else f"The commands are {', '.join(COMMANDS)}."
            raise click.UsageError(f"No such command {name!r}. {hint}", ctx)
        _take_settings(self, ctx, args)
        return super().resolve_command(ctx, args)


def _take_settings(group: click.Group, ctx: click.Context, args: Sequence[str]) -> None:
    """Let ``spp.toml`` set defaults; a broken one stops neither help nor `spp init`, which writes it anew."""
    from sppcli.cli import config
    from sppcli.cli.help_pages import WITHOUT_SETTINGS

    if ctx.resilient_parsing or args[0] in WITHOUT_SETTINGS or ctx.default_map is not None:
        return
    asks_help = not {"-h", "--help", "--help-all"}.isdisjoint(args)
    try:
        ctx.default_map = config.read_file(group)
    except SppError:
        if not asks_help:
            raise
    if not asks_help:
        from sppcli.cli import console

        for sentence in config.unknown_variables(group):
            console.warn(sentence)


@click.group(
    name="spp",
    cls=LazyGroup,
    context_settings={
        "help_option_names": ["-h", "--help"],
        "show_default": True,
        "max_content_width": 100,
        "auto_envvar_prefix": "SPP",
    },
    epilog="Results are written to standard output, progress and messages to standard error. "
    "Files and data sets may be URLs (s3://, gs://, az://, https://). "
    "'spp COMMAND --help' describes each command, --help-all with all its options.",
)
@click.version_option(__version__, prog_name="spp", message="%(prog)s %(version)s", allow_from_autoenv=False)
def spp() -> None:
    """SPP-net (spatial pyramid pooling, He et al. 2014): object detection from images to average precision.

    \b
      spp init photos/   looks at the data, writes spp.toml
      spp run            makes a detector and evaluates it

    Each stage is a command too. It writes a file, and reads the file that the command before it wrote in the
    current folder:

    \b
      spp propose VOCdevkit/VOC2007
      spp extract
      spp train-svm
      spp train-bbox
      spp evaluate

    'spp demo' shows all of it at work on data that it makes itself.
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run ``spp`` with ``args`` (default: the process's own) and return its exit code."""
    arguments = list(sys.argv[1:] if args is None else args)
    instruction = os.environ.get("_SPP_COMPLETE")
    if instruction:
        from click.shell_completion import shell_complete

        return shell_complete(spp, {}, "spp", "_SPP_COMPLETE", instruction)
    _wait_briefly()
    _open_streams()
    context: list[click.Context] = []
    try:
        with sigterm_ends_cleanly(), spp.make_context("spp", arguments) as opened:
            context.append(opened)
            spp.invoke(opened)
        sys.stdout.flush()
    except BaseException as error:
        # Every way out is decided here and nowhere else, so nothing may pass by.
        stopped = isinstance(error, KeyboardInterrupt | click.Abort | Terminated)
        command = (context[0].invoked_subcommand if stopped else _running(context[0])) if context else None
        meta = context[0].meta if context else {}
        return _exit_code(error, f"spp {command}" if command else "spp", meta)
    return 0


def _running(context: click.Context) -> str | None:
    """The command that was run; of `spp run` the stage."""
    from sppcli.cli.options import STAGE

    return context.meta.get(STAGE, context.invoked_subcommand)


def _wait_briefly() -> None:
    """Let torch's threads give their CPU up after some 0.1 ms without work, where the user has not said how they wait.

    GNU's OpenMP lets them turn idly for milliseconds. Our compiled kernels, and whatever else the machine does, want
    those CPUs: beside one other busy process SqueezeNet takes 1.3 times as long without this, alone as long as with it
    (``python -m tests.benchmarks.waiting``). torch reads the environment when it is imported, which no command has
    done yet.
    """
    if not {"OMP_WAIT_POLICY", "GOMP_SPINCOUNT"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "10000"


def _open_streams() -> None:
    """Lead streams that the caller has closed (``spp info >&-``) to nowhere.

    Python has None for them, and the next file that is opened would get their number and whatever is printed there.
    """
    for name in ("stdin", "stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115


def _exit_code(error: BaseException, command: str, meta: Mapping[str, Any]) -> int:
    """Say what there is to say about ``error`` on standard error, and return the exit code; ``meta``: click's."""
    if isinstance(error, SystemExit | GeneratorExit):
        raise error
    if isinstance(error, click.exceptions.Exit):
        return _flushed(error.exit_code)
    if isinstance(error, click.UsageError):
        from sppcli.cli.config import origin

        shown = io.StringIO()
        error.show(shown)
        _say(shown.getvalue().rstrip() + origin(error.ctx, getattr(error, "param", None)))
        return 2
    if isinstance(error, KeyboardInterrupt | click.Abort):
        from sppcli.cli.options import ENDLESS

        ended = meta.get(ENDLESS)
        _say(f"\n{command}: {ended or 'interrupted; nothing is left half-written, run it again to go on'}")
        return 130
    if isinstance(error, Terminated):
        _say(f"{command}: terminated; nothing is left half-written, run it again to go on")
        return 143
    if isinstance(error, BrokenPipeError) and _reader_left():
        return 0
    sentence, code = _explain(error)
    if sentence:
        _say(f"{command}: error: {sentence}")
        return code
    import traceback

    _say("".join(traceback.format_exception(error)).rstrip(), as_it_is=True)
    _say(f"{command}: error: this is a bug in spp {__version__}; please report it with the lines above")
    return 1


def _explain(error: BaseException) -> tuple[str, int]:
    """One sentence and the exit code of what is the user's or the machine's to mend; an empty one for a bug."""
    if isinstance(error, SppError):
        return _one_line(str(error)), error.exit_code
    if isinstance(error, click.ClickException):
        return _one_line(error.format_message()), SppError.exit_code
    # torch has its own exceptions for this; it is not imported here to ask.
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return _MEMORY, SppError.exit_code
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
        return _MEMORY, SppError.exit_code
    if isinstance(error, OSError) and error.errno in _REFUSALS:
        where = f"{error.filename}: " if error.filename else ""
        what, _, remedy = _REFUSALS[error.errno].partition("; ")
        if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename and _is_by_url(str(error.filename)):
            what, remedy = f"while it is made in the cache, {what}", _CACHE
        notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
        return f"{where}{what}{notes}; {remedy}", SppError.exit_code
    return "", 1


def _is_by_url(name: str) -> bool:
    from sppcli.runtime.urls import is_by_url

    return is_by_url(name)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _say(text: str, as_it_is: bool = False) -> None:
    """Lines on standard error, if anyone still reads it; on a terminal broken between words, or ``as_it_is``."""
    from sppcli.cli.cells import broken
    from sppcli.cli.printable import printable

    shown = printable(text)
    with suppress(OSError):
        if sys.stderr.isatty() and not as_it_is:
            columns = shutil.get_terminal_size().columns
            shown = "\n".join(broken(line, columns) for line in shown.split("\n"))
        click.echo(shown, err=True)


def _flushed(code: int) -> int:
    """``code``, unless the reader of standard output left before it had all (``spp --help | head -1``)."""
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _reader_left()
        return 0
    return code


def _reader_left() -> bool:
    """Whether standard output or error is a pipe that nobody reads any more; if so, what is left for it is dropped.

    A worker process that died breaks a pipe too, and that must not pass for a finished command.
    """
    import select

    gone = False
    for stream in (sys.stdout, sys.stderr):
        try:
            descriptor = stream.fileno()
        except (OSError, ValueError, AttributeError):
            continue
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        if any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0)):
            gone = True
            # Otherwise Python complains when it flushes at the end.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
    return gone
