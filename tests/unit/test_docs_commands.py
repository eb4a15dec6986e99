"""Every command line that the documentation shows is one that the real command line accepts.

Lines in console blocks are parsed whole, options and arguments included, without being run. Commands named in running
text must exist, and so must the options named with them, and every `make` target.
"""

from __future__ import annotations

import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.main import get_command

from strongroom.cli.app import app
from strongroom.cli.fields import read_fields
from strongroom.config import Settings

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    p
    for p in [ROOT / "README.md", ROOT / "samples" / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
    if "changelog" not in p.parts
]
BLOCK = re.compile(r"^ *```(\w*)\n(.*?)^ *```", re.DOTALL | re.MULTILINE)  # indented in a list
INLINE = re.compile(r"`(strongroom [^`]+)`")
MAKE = re.compile(r"`make ([a-z][a-z-]*)|^make ([a-z][a-z-]*)(?: +#.*)?$", re.MULTILINE)


def invocations(line: str) -> list[list[str]]:
    """Arguments of each call of `strongroom` in a shell line, also inside `sh -c '...'`."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
    lexer.whitespace_split = True
    found: list[list[str]] = []
    current: list[str] | None = None
    for token in lexer:
        if token and set(token) <= set("();<>|&"):
            current = None
        elif current is not None:
            current.append(token)
        elif token == "strongroom" or token.endswith("bin/strongroom"):
            current = []
            found.append(current)
        elif " " in token and "strongroom " in token:
            found.extend(invocations(token))
    return found


def shown_commands() -> list[tuple[str, list[str]]]:
    shown = []
    for page in PAGES:
        for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
            if language in {"console", "ini", "sh"}:
                for line in block.replace("\\\n", " ").splitlines():
                    shown += [(str(page.relative_to(ROOT)), args) for args in invocations(line)]
    return shown


def named_commands() -> list[tuple[str, str]]:
    named = set()
    for page in PAGES:
        for text in INLINE.findall(BLOCK.sub("", page.read_text(encoding="utf-8"))):
            named.add((str(page.relative_to(ROOT)), text))
    return sorted(named)


def resolve(args: list[str]) -> tuple[Any, list[str], str]:
    """The command that the first words name, the words left over, and the path. Raises `LookupError`."""
    command: Any = get_command(app)
    path, rest = "strongroom", list(args)
    while getattr(command, "commands", None) is not None and rest and not rest[0].startswith("-"):
        if rest[0] not in command.commands:
            raise LookupError(f"no command `{path} {rest[0]}`")
        path = f"{path} {rest[0]}"
        command = command.commands[rest.pop(0)]
    return command, rest, path


@pytest.mark.parametrize(("page", "args"), shown_commands(), ids=lambda v: v if isinstance(v, str) else " ".join(v))
def test_shown_command_parses(page: str, args: list[str]) -> None:
    command, rest, path = resolve(args)
    assert getattr(command, "commands", None) is None, f"{path} needs a subcommand"
    command.make_context(path, rest)  # raises a usage error when an option or argument is wrong


@pytest.mark.parametrize(("page", "text"), named_commands(), ids=lambda v: str(v))
def test_named_command_and_its_options_exist(page: str, text: str) -> None:
    command, rest, _ = resolve(text.split()[1:])
    known = {o for p in command.params for o in [*p.opts, *p.secondary_opts]} | {"--help", "-h"}
    assert [word for word in rest if word.startswith("-") and word not in known] == []


def leaves(command: Any, path: str = "strongroom") -> list[tuple[str, Any]]:
    """Every command that does something, with its full name."""
    below = getattr(command, "commands", None)
    if below is None:
        return [(path, command)]
    return [leaf for name, child in below.items() for leaf in leaves(child, f"{path} {name}")]


def test_help_of_every_command_shows_an_example_of_itself() -> None:
    without = [path for path, command in leaves(get_command(app)) if f"\n    {path}" not in (command.help or "")]
    assert without == []


def test_commands_on_pages_stand_in_blocks_that_are_looked_at() -> None:
    """What stands in another kind of block, or is only indented, was parsed by nobody."""
    unseen = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        found = [block for language, block in BLOCK.findall(text) if language not in {"console", "sh", "ini"}]
        found += re.findall(r"\n\n {4}(\S.*)", BLOCK.sub("", text))
        unseen += [(page.name, block) for block in found if re.search(r"^strongroom ", block, re.MULTILINE)]
    assert [seen for seen in unseen if seen[0] != "cli.md"] == []  # its usage lines are not calls


def test_pages_show_commands() -> None:
    """The two tests above must have something to do."""
    assert len(shown_commands()) > 40
    assert len(named_commands()) > 10


def test_a_wrong_option_is_noticed() -> None:
    command, rest, path = resolve(["search", "question", "--no-such-option"])
    with pytest.raises(Exception, match="no-such-option"):
        command.make_context(path, rest)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('strongroom ask "a b" --json > out.jsonl', [["ask", "a b", "--json"]]),
        ("cd x && .venv/bin/strongroom verify; echo $?", [["verify"]]),
        ("unshare -n -- sh -c 'ip link set lo up && bin/strongroom ask \"a b\"'", [["ask", "a b"]]),
        ("mv strongroom-data.tar /srv/strongroom", []),
    ],
)
def test_shell_lines_are_taken_apart(line: str, expected: list[list[str]]) -> None:
    assert invocations(line) == expected


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {a or b for page in PAGES for a, b in MAKE.findall(page.read_text(encoding="utf-8"))}
    assert {"run", "test", "setup"} <= named
    assert sorted(named - targets) == []


def test_settings_and_fields_in_toml_blocks_are_valid(tmp_path: Path) -> None:
    seen = {"settings": 0, "fields": 0}
    for page in PAGES:
        for language, block in BLOCK.findall(page.read_text(encoding="utf-8")):
            if language == "toml" and "field" in tomllib.loads(block):
                (tmp_path / "fields.toml").write_text(block, encoding="utf-8")
                read_fields(tmp_path / "fields.toml")
                seen["fields"] += 1
            elif language == "toml":
                Settings(**tomllib.loads(block))
                seen["settings"] += 1
    assert seen["settings"] >= 3
    assert seen["fields"] >= 1
