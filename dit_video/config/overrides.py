"""What a user types, as Hydra wants it: `a.b=c` becomes `++a.b=c`, and what does not exist is refused with a hint."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from dit_video.config.mistakes import nearest
from dit_video.errors import ConfigError


def rewrite(
    arguments: Sequence[str], *, conf: Path, name: str, texts: Collection[str] = (), paths: Collection[str] = ()
) -> list[str]:
    """Overrides as Hydra wants them: `a.b=c` becomes `++a.b=c`, `group=null` is `~group`, the rest stays.

    `name` is the primary config's. Keys in `texts` (prompts) and `paths` take their value letter by letter: no quoting
    rules; in paths `${key}` still stands for another setting, and {a: 1, b: 2} are several with a value each.
    Overrides come last, as argparse wants them. Raises
    ConfigError for a group, an option of a group, or a top-level key that does not exist.
    """
    rewritten = [_rewrite(item, conf=conf, name=name, texts=texts, paths=paths) for item in arguments]
    overrides = {item for item in rewritten if "=" in item and not item.startswith("-")}
    return sorted(rewritten, key=lambda item: item in overrides)


def _rewrite(item: str, *, conf: Path, name: str, texts: Collection[str], paths: Collection[str]) -> str:
    matched = re.fullmatch(r"(\+{0,2}|~)([A-Za-z_][\w./@:]*)=(.*)", item, flags=re.DOTALL)
    if matched is None:
        return item
    prefix, key, value = matched.groups()
    if key.split(".")[0].split("/")[0] == "hydra" or prefix == "~" or "@" in key:
        return item
    if "/" in key or (conf / key).is_dir():
        _check_option(key, value, conf=conf, name=name, added=bool(prefix))
        return f"~{key}" if value == "null" else item
    top = key.split(".")[0]
    if top not in (known := top_level(conf, name)):
        raise ConfigError(f"there is no setting {key}; {nearest(top, known)}")
    if key in paths and not re.fullmatch(r"\{.*\}", value):  # several of them, with a value each
        value = quote(value, interpolate=True)
    return f"++{key}={quote(value) if key in texts else value}"


def _check_option(group: str, value: str, *, conf: Path, name: str, added: bool) -> None:
    known = groups(conf) if added else [*chosen(conf, name), "experiment"]
    if group not in known:
        raise ConfigError(f"there is no config group {group}; {nearest(group, known)}")
    offered = options(conf, group)
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
    """The names a group offers: `tiny`, or `quickstart/dit` in a folder of the group."""
    folder = conf / group
    return sorted(path.relative_to(folder).with_suffix("").as_posix() for path in folder.rglob("*.yaml"))


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
