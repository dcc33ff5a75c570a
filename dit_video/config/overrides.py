"""What a user types, as Hydra wants it: `a.b=c` becomes `++a.b=c`, and what does not exist is refused with a hint."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from dit_video.config.mistakes import nearest
from dit_video.errors import ConfigError

MULTIRUN = frozenset({"-m", "--multirun"})


def rewrite(
    arguments: Sequence[str], *, conf: Path, name: str, texts: Collection[str] = (), paths: Collection[str] = ()
) -> list[str]:
    """Overrides as Hydra wants them: `a.b=c` becomes `++a.b=c`, `group=null` is `~group`, the rest stays.

    `name` is the primary config's; `a.b=c` chooses of the group `a/b` if there is one. Keys in `texts` (prompts) and
    `paths` take their value letter by letter: no quoting rules; in paths `${key}` still stands for another setting,
    {a: 1, b: 2} are several with a value each, and with -m a comma parts the values of a sweep. Options of groups may
    lie in the folder of --config-dir too. Overrides come last, as argparse wants them. Raises ConfigError for a group,
    an option of a group, or a top-level key that does not exist.
    """
    confs = [conf, *_added(arguments)]
    swept = {item.partition("=")[0] for item in arguments if "," in item} if MULTIRUN & set(arguments) else set()
    single = [key for key in paths if key not in swept]
    rewritten = [_rewrite(item, confs=confs, name=name, texts=texts, paths=single) for item in arguments]
    overrides = {item for item in rewritten if "=" in item and not item.startswith("-")}
    return sorted(rewritten, key=lambda item: item in overrides)


def _added(arguments: Sequence[str]) -> list[Path]:
    """The folder of --config-dir, where a site may have files of its own."""
    found = re.search(r"(?:^|\0)(?:--config-dir|-cd)[=\0]([^\0]*)", "\0".join(arguments))
    return [Path(found[1])] if found else []


def _rewrite(item: str, *, confs: Sequence[Path], name: str, texts: Collection[str], paths: Collection[str]) -> str:
    matched = re.fullmatch(r"(\+{0,2}|~)([A-Za-z_][\w./@:]*)=(.*)", item, flags=re.DOTALL)
    if matched is None:
        return item
    prefix, key, value = matched.groups()
    if key.split(".")[0].split("/")[0] == "hydra" or prefix == "~" or "@" in key:
        return item
    group = key.replace(".", "/")
    if "/" in key or (confs[0] / group).is_dir():
        _check_option(group, value, confs=confs, name=name, added=bool(prefix))
        return f"~{group}" if value == "null" else f"{prefix}{group}={value}"
    top = key.split(".")[0]
    if top not in (known := top_level(confs[0], name)):
        raise ConfigError(f"there is no setting {key}; {nearest(top, known)}")
    if key in paths and not re.fullmatch(r"\{.*\}", value):  # several of them, with a value each
        value = quote(value, interpolate=True)
    return f"++{key}={quote(value) if key in texts else value}"


def _check_option(group: str, value: str, *, confs: Sequence[Path], name: str, added: bool) -> None:
    known = groups(confs[0]) if added else [*chosen(confs[0], name), "experiment"]
    if group not in known:
        raise ConfigError(f"there is no config group {group}; {nearest(group, known)}")
    offered = [option for conf in confs for option in options(conf, group)]
    for option in (part.strip() for part in value.strip("[]").split(",")):
        if option not in {*offered, "null", ""}:
            raise ConfigError(f"{group} has no option {option!r}; {nearest(option, offered)}")


def quote(value: str, *, interpolate: bool = False) -> str:
    """A value that Hydra's grammar reads as this very text, unless the user has quoted it already.

    With `interpolate`, `${key}` in it stands for that setting.
    """
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        return value
    escaped = re.sub(r"(\\*)'", r"\1\1\\'", value)
    escaped = re.sub(r"(\\+)$", r"\1\1", escaped)
    return "'" + (escaped if interpolate else escaped.replace("${", "\\${")) + "'"


def groups(conf: Path) -> list[str]:
    """Every config group: folders that hold a YAML file."""
    folders = {path.parent.relative_to(conf).as_posix() for path in conf.rglob("*.yaml")} - {"."}
    return sorted(folders)


def options(conf: Path, group: str) -> list[str]:
    """The names a group offers: `tiny`, or `quickstart/dit` in a folder of the group that is no group of its own."""
    folder = conf / group
    chosen_from = [other for root in conf.glob("*.yaml") for other in chosen(conf, root.stem)]
    deeper = [conf / other for other in chosen_from if other.startswith(f"{group}/")]
    files = [path for path in folder.rglob("*.yaml") if not any(path.is_relative_to(other) for other in deeper)]
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in files)


def top_level(conf: Path, name: str) -> list[str]:
    """Keys a composed config may have at its top: the primary file's own, and the groups of its defaults list."""
    text = (conf / f"{name}.yaml").read_text(encoding="utf-8")
    own = set(re.findall(r"^([A-Za-z_]\w*):", text, flags=re.MULTILINE)) - {"defaults", "hydra"}
    return sorted(own | {group.split("/")[0] for group in chosen(conf, name)})


def chosen(conf: Path, name: str) -> list[str]:
    """The groups that a primary config's defaults list chooses from; experiments have no key of their own."""
    text = (conf / f"{name}.yaml").read_text(encoding="utf-8")
    found = re.findall(r"^ +- /?([a-z]\w*(?:/\w+)*): ", text, flags=re.MULTILINE)
    return sorted(set(found) - {"experiment"})
