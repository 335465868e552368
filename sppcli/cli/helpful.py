"""Commands whose ``--help`` shows the everyday options and examples, and ``--help-all`` every option in panels."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Sequence
from typing import Any

import click

from sppcli.cli.help_pages import EVERYDAY, EXAMPLES, MACHINE, OUTPUT, PANELS
from sppcli.cli.options import ASKING

EVERYTHING = "sppcli.help-all"
"""Key in click's context: show every option."""
TITLES = {"everyday": "Everyday options", "method": "Method", "machine": "Machine", "output": "Output"}
"""Panel -> its heading."""
LARGEST = 10
"""Options in ``--help``, with ``--help`` itself."""


def _show_all(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and not context.resilient_parsing:
        from sppcli.cli import console

        context.meta[EVERYTHING] = True
        console.echo(context.get_help())
        context.exit()


class Helpful(click.Command):
    """A command with panels; its place in `help_pages` is its name, or that of its group and its own."""

    def make_context(
        self, info_name: str | None, args: list[str], parent: click.Context | None = None, **extra: Any
    ) -> click.Context:
        prefix = parent.auto_envvar_prefix if parent else None
        if prefix and info_name:
            name_variables(self, f"{prefix}_{info_name}")
        return super().make_context(info_name, args, parent, **extra)

    def get_params(self, ctx: click.Context) -> list[click.Parameter]:
        params = super().get_params(ctx)
        if not any(isinstance(item, click.Option) and not item.hidden and _key(item) != "help" for item in params):
            return params
        return [*params, _HELP_ALL]

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """As click does, with a hint where a name with blanks came as several words, or a name is missing."""
        whole = "" if ctx.resilient_parsing else _with_blanks(args)
        if whole:
            raise click.UsageError(f"{whole!r} is one name with blanks; put it in quotes.", ctx)
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter as error:
            examples = EXAMPLES.get(place_of(ctx), ())
            if isinstance(error.param, click.Argument) and examples and not error.message:
                example = f"For example: {examples[0][0]}"
                raise click.MissingParameter(example, ctx, error.param, error.param_hint, error.param_type) from None
            raise

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = panels(self, ctx)
        everything = bool(ctx.meta.get(EVERYTHING))
        shown = {name: rows[name] for name in (PANELS if everything else PANELS[:1]) if rows[name]}
        for name, options in shown.items():
            with formatter.section(TITLES[name]):
                formatter.write_dl([record for item in options if (record := record_of(item, ctx))])
        hidden = sum(len(options) for name, options in rows.items() if name not in shown)
        helps = [item for item in self.get_params(ctx) if _key(item) in ("help", "help-all")]
        if shown or helps:
            with formatter.section("Help" if shown else "Options"):
                records = [record for item in helps if (record := item.get_help_record(ctx))]
                more = f"Show all options: {hidden} more, of method, machine and output."
                formatter.write_dl([(flag, more if "all" in flag and hidden else text) for flag, text in records])

    def invoke(self, ctx: click.Context) -> Any:
        from sppcli.cli import by_url, console

        with console.waiting(f"{ctx.info_name}: starting"), by_url.at_hand(ctx):
            if not ctx.meta.get(ASKING):
                return super().invoke(ctx)
            from sppcli.artefacts.output import WouldWork, only_asking
            from sppcli.cli import chain

            try:
                with only_asking():
                    return super().invoke(ctx)
            except WouldWork as found:
                if ctx.params.get("as_json"):
                    console.print_json({"would_make": str(found), "dry_run": True})
                else:
                    console.echo(f"would make {found}")
                    chain.foretell(ctx)
                return None
            finally:
                ctx.meta.pop(ASKING)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        examples = EXAMPLES.get(place_of(ctx), ())
        if examples:
            formatter.write_paragraph()
            formatter.write("Examples:\n")
            width = max(len(line) for line, _ in examples)
            beside = width <= 48 and all(2 + width + 2 + len(text) <= formatter.width for _, text in examples)
            for line, text in examples:
                formatter.write(f"  {line:<{width}}  {text}\n" if beside else f"  # {text}\n  {line}\n")
        super().format_epilog(ctx, formatter)


def _with_blanks(words: Sequence[str]) -> str:
    """The name of a file or folder that several of ``words`` are together and not each by itself; "" if none is."""
    for first in range(min(len(words), 20)):
        for end in range(first + 2, min(len(words), first + 20) + 1):
            part = words[first:end]
            if part[-1].startswith("-"):
                break
            whole = " ".join(part)
            if os.path.exists(whole) and not all(map(os.path.exists, part)):  # noqa: PTH110 (refuses no name)
                return whole
    return ""


class HelpfulGroup(Helpful, click.Group):
    """A group that is a command too; its commands are listed below its options."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        Helpful.format_options(self, ctx, formatter)
        self.format_commands(ctx, formatter)


_HELP_ALL = click.Option(
    ["--help-all"],
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_all,
    help="Show all options.",
    show_default=False,
)
_HELP_ALL.allow_from_autoenv = False


def command(name: str) -> Callable[[Callable[..., Any]], click.Command]:
    """As `click.command`, with panels and examples."""
    return click.command(name, cls=Helpful)


def record_of(item: click.Option, ctx: click.Context) -> tuple[str, str] | None:
    """Flags and help of an option; a default that is told in words stands there as others do, without brackets."""
    record = item.get_help_record(ctx)
    return record and (record[0], re.sub(r"\[default: \((.*)\)([;\]])", r"[default: \1\2", record[1]))


def name_variables(command: click.Command, prefix: str) -> None:
    """Name the environment variable of each option after its flag, which the user knows, and not its parameter."""
    for item in command.params:
        if isinstance(item, click.Option) and item.envvar is None and item.opts[-1].startswith("--"):
            item.envvar = f"{prefix}_{_key(item)}".replace("-", "_").upper()


def place_of(ctx: click.Context) -> str:
    """The command's key in `help_pages`."""
    return " ".join(ctx.command_path.split()[1:]) or (ctx.info_name or "")


def panels(command: click.Command, ctx: click.Context) -> dict[str, list[click.Option]]:
    """Panel -> options of ``command`` in order, without those that show help."""
    everyday = EVERYDAY.get(place_of(ctx))
    found: dict[str, list[click.Option]] = {name: [] for name in PANELS}
    options = [item for item in click.Command.get_params(command, ctx) if isinstance(item, click.Option)]
    options = [item for item in options if _key(item) not in ("help", "help-all") and not item.hidden]
    for item in options:
        key = _key(item)
        # One without an entry of its own is everyday as far as there is room.
        first = key in everyday if everyday is not None else len(found["everyday"]) < LARGEST - 2
        panel = "everyday" if first else "machine" if key in MACHINE else "output" if key in OUTPUT else "method"
        found[panel].append(item)
    if everyday is not None:
        found["everyday"].sort(key=lambda item: everyday.index(_key(item)))
    return found


def _key(item: click.Parameter) -> str:
    return next((flag[2:] for flag in item.opts if flag.startswith("--")), item.name or "")
