"""Container files, which no test can build: what they copy, install and call has to exist, and they end as no root."""

import configparser
import json
import pathlib
import re

import pytest

from prm_jax import cli

ROOT = pathlib.Path(__file__).parents[2]
INSTRUCTIONS = {"FROM", "RUN", "WORKDIR", "ENV", "COPY", "USER", "VOLUME", "ENTRYPOINT", "CMD"}


@pytest.fixture(params=["gpu", "tpu"])
def instructions(request) -> list[tuple[str, str]]:
    """The instructions of one file, each with its arguments."""
    text = (ROOT / f"launch/Containerfile.{request.param}").read_text()
    lines = [line for line in re.sub(r"\\\n", " ", text).splitlines() if line.strip() and not line.startswith("#")]
    return [tuple(line.split(maxsplit=1)) for line in lines]


def of(instructions, name: str) -> list[str]:
    return [arguments for instruction, arguments in instructions if instruction == name]


def test_only_instructions_that_there_are(instructions):
    assert {name for name, _ in instructions} == INSTRUCTIONS
    assert instructions[0][0] == "FROM" and len(of(instructions, "FROM")) == 1


def test_what_is_copied_is_there_and_makes_the_package(instructions):
    copied = [source for arguments in of(instructions, "COPY") for source in arguments.split()[:-1]]
    assert all((ROOT / source).exists() for source in copied)
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    needed = {"prm_jax", "setup.cfg", "pyproject.toml", setup["metadata"]["license_files"]}
    assert needed | {setup["metadata"]["long_description"].removeprefix("file: ")} <= set(copied)


def test_what_is_installed_is_an_extra_and_the_python_will_do(instructions):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (extra,) = re.findall(r'pip install "\.\[(\w+)\]"', "\n".join(of(instructions, "RUN")))
    assert extra in setup["options.extras_require"]
    (version,) = re.findall(r"python:3\.(\d+)", of(instructions, "FROM")[0])
    assert int(version) >= 11


def test_the_entry_point_is_the_command_line(instructions):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    (program,) = json.loads(of(instructions, "ENTRYPOINT")[0])
    assert program in setup["options.entry_points"]["console_scripts"].split()
    assert json.loads(of(instructions, "CMD")[0])[0] in cli.PLAIN


def test_no_root(instructions):
    (user,) = of(instructions, "USER")
    assert f"--create-home {user} " in "\n".join(of(instructions, "RUN")) and user != "root"
    names = [name for name, _ in instructions]
    assert "RUN" not in names[names.index("USER") :]
