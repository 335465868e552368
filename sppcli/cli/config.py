"""Where the values of options come from: flags, then the environment, then ``spp.toml`` in this folder, then defaults.

click chooses (`default_map` and `auto_envvar_prefix`); this module reads the file into such a map, and names what it
does not know. ``SPP_EXTRACT_SCALES=480,688`` is ``--scales`` of ``spp extract``; in the file it stands as::

    [data]                      # what every stage works on
    folder = "photos"

    [all]                       # any option that several commands have
    seed = 1

    [extract]                   # options of one command
    scales = [480, 688]
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from sppcli.cli.helpful import name_variables
from sppcli.errors import BadInput

FILE = Path("spp.toml")
PREFIX = "SPP"
DATA, ALL = "data", "all"
DATA_KEYS = {"folder": {"check": "source", "propose": "sources"}, "classes": {"train-svm": "classes"}}
"""Keys of ``[data]``, and which parameter of which command each one is."""

_HELP = ("help", "help_all", "version")
_STRENGTH = (ParameterSource.COMMANDLINE, ParameterSource.ENVIRONMENT, ParameterSource.DEFAULT_MAP)


def read_file(group: click.Group, path: Path = FILE) -> dict[str, Any]:
    """click's map of defaults for the commands of ``group``: parameters of each command with a value in ``path``.

    Empty if there is no such file. Every key and value is checked, also those of commands that are not run now.

    Raises:
        BadInput: not TOML, a section or key that nothing has, or a value that its option does not take.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: not text in UTF-8 ({error.reason}); save it as such") from None
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput(f"{path}: not TOML: {error}; mend that line") from None
    context = click.Context(group, info_name=group.name)
    names = group.list_commands(context)
    for section, values in content.items():
        if not isinstance(values, dict):
            raise BadInput(f"{path}: {section} stands outside a section; put it below one such as [extract] or [{ALL}]")
        if section not in (DATA, ALL, *names):
            raise BadInput(f"{path}: there is no command for [{section}]; {_nearest(section, [DATA, ALL, *names])}")
    commands = {name: command for name in names if (command := group.get_command(context, name))}
    found: dict[str, dict[str, Any]] = {name: {} for name in names}
    _shared(commands, content.get(ALL, {}), found, path)
    _data(commands, content.get(DATA, {}), found, path)
    for name in names:
        found[name] |= _section(commands[name], content.get(name, {}), f"{path}: [{name}]", name)
    return {name: values for name, values in found.items() if values}


def _shared(
    commands: Mapping[str, click.Command], values: Mapping[str, Any], found: dict[str, dict[str, Any]], path: Path
) -> None:
    keyed = {name: keys_of(command) for name, command in commands.items()}
    known = [key for keys in keyed.values() for key in keys]
    shared = {key for key in known if known.count(key) > 1} - {"output", "force", "overwrite", "json", "dry-run"}
    for key, value in values.items():
        key = key.replace("_", "-")
        if key not in shared:
            raise BadInput(f"{path}: [{ALL}] has no {key}; {_nearest(key, shared)}")
        for name, keys in keyed.items():
            if key in keys:
                parameter = keys[key]
                found[name][_name(parameter)] = _value(commands[name], parameter, value, f"{path}: [{ALL}]", key)


def _data(
    commands: Mapping[str, click.Command], values: Mapping[str, Any], found: dict[str, dict[str, Any]], path: Path
) -> None:
    for key, value in values.items():
        if key not in DATA_KEYS:
            raise BadInput(f"{path}: [{DATA}] has no {key}; {_nearest(key, DATA_KEYS)}")
        for name, target in DATA_KEYS[key].items():
            parameter = next(item for item in commands[name].params if item.name == target)
            found[name][target] = _value(commands[name], parameter, value, f"{path}: [{DATA}]", key)


def _section(command: click.Command, values: Mapping[str, Any], where: str, name: str) -> dict[str, Any]:
    keys = keys_of(command)
    inner = command.commands if isinstance(command, click.Group) else {}
    found: dict[str, Any] = {}
    for key, value in values.items():
        if key in inner and isinstance(value, dict):
            found[key] = _section(inner[key], value, f"{where[:-1]}.{key}]", key)
            continue
        key = key.replace("_", "-")
        if key not in keys:
            raise BadInput(f"{where} has no {key}; {_nearest(key, keys)}; 'spp {name} --help-all' lists its options")
        found[_name(keys[key])] = _value(command, keys[key], value, where, key)
    return found


def keys_of(command: click.Command) -> dict[str, click.Option]:
    """Name in ``spp.toml``, the flag without its dashes, -> option of ``command``."""
    return {
        flag.removeprefix("--"): item
        for item in command.params
        if isinstance(item, click.Option) and item.name not in _HELP
        for flag in item.opts
        if flag.startswith("--")
    }


def _value(command: click.Command, parameter: click.Parameter, value: Any, where: str, key: str) -> Any:
    """``value`` as click's map has it, after the option has taken it on trial."""
    many = parameter.multiple or parameter.nargs != 1
    if isinstance(value, dict) or hasattr(value, "isoformat"):
        raise BadInput(f"{where} {key}: a number, text, true or false, or a list of them is expected")
    if isinstance(parameter, click.Option) and parameter.is_flag:
        if not isinstance(value, bool):
            raise BadInput(f"{where} {key}: {value!r} is neither true nor false, and one of them is expected")
        if not parameter.is_bool_flag:
            return parameter.flag_value if value else None
        return value
    if many:
        value = [value] if not isinstance(value, list) else value
    elif isinstance(value, list):
        value = ",".join(map(str, value))
    elif isinstance(value, bool):
        raise BadInput(f"{where} {key}: {str(value).lower()} is not a value of this option")
    else:
        value = str(value)
    context = click.Context(command, info_name=command.name)
    try:
        parameter.type_cast_value(context, value)
    except click.BadParameter as error:
        raise BadInput(f"{where} {key}: {error.message}") from None
    return value


def beats(context: click.Context, winner: str, loser: str) -> bool:
    """Whether the value of parameter ``winner`` was given in a stronger place than that of ``loser``.

    Of two options that exclude each other the weaker then stands aside, so that a flag can overrule ``spp.toml``.
    """
    ranks = [
        _STRENGTH.index(source) if source in _STRENGTH else len(_STRENGTH)
        for source in (context.get_parameter_source(winner), context.get_parameter_source(loser))
    ]
    return ranks[0] < ranks[1]


def origin(context: click.Context | None, parameter: click.Parameter | None) -> str:
    """The environment variable that a value came from, as a remark for an error; else ""."""
    if context is None or parameter is None or not parameter.name:
        return ""
    if context.get_parameter_source(parameter.name) is not ParameterSource.ENVIRONMENT:
        return ""
    return f" It came from the environment variable {variable_of(context, parameter)}."


def _name(parameter: click.Parameter) -> str:
    assert parameter.name is not None
    return parameter.name


def _nearest(name: str, names: Iterable[str]) -> str:
    near = get_close_matches(name, sorted(set(names)), n=1)
    return f"did you mean {near[0]}?" if near else f"it has {', '.join(sorted(set(names)))}"


@dataclass(frozen=True)
class Setting:
    """The value of one option. ``source``: what won; ``beaten``: sources that had a value too, the stronger first."""

    command: str
    option: str
    value: Any
    source: str
    beaten: tuple[str, ...] = ()

    @property
    def is_default(self) -> bool:
        return self.source == "default"


def settings(group: click.Group, defaults: Mapping[str, Any]) -> Iterator[Setting]:
    """The options of every command with the values that they have without flags; ``defaults`` of `read_file`."""
    context = click.Context(group, info_name=group.name, default_map=dict(defaults), auto_envvar_prefix=PREFIX)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        yield from _settings_of(command, name, context)


def _settings_of(command: click.Command, name: str, parent: click.Context) -> Iterator[Setting]:
    context = click.Context(command, info_name=name.split()[-1], parent=parent)
    name_variables(command, str(context.auto_envvar_prefix))
    found: dict[str, tuple[int, Setting]] = {}
    for parameter in command.params:
        if parameter.name in _HELP:
            continue
        value, source = parameter.consume_value(context, {})
        in_file = parameter.name in (context.default_map or {})
        label = {ParameterSource.ENVIRONMENT: variable_of(context, parameter), ParameterSource.DEFAULT_MAP: str(FILE)}
        beaten = (str(FILE),) if in_file and source is ParameterSource.ENVIRONMENT else ()
        shown = None if type(value).__name__ == "Sentinel" else value
        if shown is None and isinstance(parameter, click.Option) and isinstance(parameter.show_default, str):
            shown = parameter.show_default
        # Flags that choose one value between them (--voc2007, --coco) are one setting: that of the strongest.
        rank = _STRENGTH.index(source) if source in _STRENGTH else len(_STRENGTH)
        setting = Setting(name, key_of(parameter), shown, label.get(source, "default"), beaten)
        if rank < found.get(_name(parameter), (len(_STRENGTH) + 1, setting))[0]:
            found[_name(parameter)] = (rank, setting)
    yield from (setting for _, setting in found.values())
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            yield from _settings_of(inner, f"{name} {inner.name}", context)


def key_of(parameter: click.Parameter) -> str:
    """An option's name in ``spp.toml``; of an argument its own."""
    flags = [flag.removeprefix("--") for flag in parameter.opts if flag.startswith("--")]
    return flags[0] if flags else _name(parameter)


def variable_of(context: click.Context, parameter: click.Parameter) -> str:
    """The environment variable that ``parameter`` reads."""
    if isinstance(parameter.envvar, str):
        return parameter.envvar
    return f"{context.auto_envvar_prefix}_{_name(parameter).upper()}"


def unknown_variables(group: click.Group, environment: Mapping[str, str] = os.environ) -> Iterator[str]:
    """A sentence for each variable that looks like an option of a command and is none."""
    context = click.Context(group, info_name=group.name, auto_envvar_prefix=PREFIX)
    names = sorted(group.list_commands(context), key=len, reverse=True)
    for variable in sorted(environment):
        prefixes = {f"{PREFIX}_{name.replace('-', '_').upper()}_": name for name in names}
        prefix = next((item for item in prefixes if variable.startswith(item)), None)
        if prefix is None:
            continue
        command = group.get_command(context, prefixes[prefix])
        assert command is not None
        if isinstance(command, click.Group):
            continue
        inner = click.Context(command, info_name=prefixes[prefix], parent=context)
        name_variables(command, prefix.removesuffix("_"))
        known = {variable_of(inner, item) for item in command.params if isinstance(item, click.Option)}
        if variable not in known:
            yield f"{variable} is no option of spp {prefixes[prefix]}; {_nearest(variable, known)}"
