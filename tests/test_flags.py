"""Every flag of every verb, frozen: a new one is added here on purpose or not at all."""

import pytest
import typer

from vqfusion.commands.app import app

COMMON = ["--device", "--force", "--json", "--model", "--output", "--samples", "--seed", "--steps"]
RESTORE = [*COMMON, "--interval", "--method", "--mode", "--report", "--self-ensemble", "--sigma"]
EVAL = ["--data", "--limit", "--only", "--split"]
FLAGS = {
    "imagine": [*COMMON, "--language", "--style"],
    "describe": [*COMMON, "--language"],
    "speak": [*COMMON, "--language", "--speaker"],
    "transcribe": [*COMMON, "--language"],
    "speaker": COMMON,
    "translate": [*COMMON, "--from", "--to", "--via"],
    "write": [*COMMON, "--language"],
    "classify": [*COMMON, "--language", "--slot", "--top"],
    "any": [*COMMON, "--given", "--target"],
    "decide": [
        *COMMON,
        "--abstain",
        "--acquire",
        "--calibration",
        "--cases",
        "--costs",
        "--coverage",
        "--given",
        "--group",
        "--keep",
        "--target",
    ],
    "denoise": [*RESTORE, "--explain", "--noise"],
    "upscale": [*RESTORE, "--scale"],
    "inpaint": [*RESTORE, "--mask"],
    "deblur": [*RESTORE, "--blur", "--kernel"],
    "enhance": RESTORE,
    "data": [],
    "data show": ["--json"],
    "data check": [
        "--against",
        "--csv",
        "--fail-on",
        "--fix",
        "--force",
        "--json",
        "--limit",
        "--only",
        "--output",
        "--skip",
    ],
    "demo": ["--json", "--model", "--output", "--seed"],
    "doctor": ["--json"],
    "encode": ["--bits", "--device", "--force", "--json", "--model", "--output", "--search"],
    "decode": ["--device", "--force", "--json", "--model", "--output", "--trust"],
    "compress": ["--data", "--json", "--max-loss", "--output", "--target-mib"],
    "export": ["--force", "--json", "--output"],
    "runs": ["--json"],
    "explain": [
        "--answer",
        "--data",
        "--device",
        "--evaluations",
        "--force",
        "--given",
        "--json",
        "--output",
        "--seed",
        "--steps",
        "--target",
    ],
    "inspect": ["--data", "--device", "--force", "--json", "--limit", "--output"],
    "eval": [
        "--data",
        "--device",
        "--force",
        "--json",
        "--limit",
        "--model",
        "--only",
        "--output",
        "--seed",
        "--split",
    ],
    "open": ["--device", "--limit", "--model", "--runs"],
    "serve": [
        "--device",
        "--host",
        "--limit",
        "--model",
        "--open",
        "--port",
        "--quiet",
        "--runs",
        "--token",
        "--workers",
    ],
    "models": ["--json"],
    "models push": ["--json", "--licence", "--private"],
    "models pull": ["--json"],
    "models export": ["--force", "--json", "--licence", "--output"],
    "mcp": ["--device", "--limit", "--model"],
    "train": [
        "--device",
        "--dry-run",
        "--json",
        "--minutes",
        "--output",
        "--seed",
        "--start",
        "--steps",
        "--tensorboard",
    ],
}
COMMANDS = typer.main.get_command(app).commands
COMMANDS |= {
    f"{group} {name}": command
    for group, held in COMMANDS.items()
    for name, command in getattr(held, "commands", {}).items()
}


def test_the_verbs_are_these():
    assert sorted(COMMANDS) == sorted(FLAGS)


@pytest.mark.parametrize("verb", FLAGS)
def test_the_flags_are_these(verb):
    options = [parameter for parameter in COMMANDS[verb].params if parameter.param_type_name == "option"]
    long = {opt for parameter in options for opt in parameter.opts if opt.startswith("--")} - {"--help"}
    assert sorted(long) == sorted(FLAGS[verb])
    assert all(parameter.help for parameter in options), "every flag says what it does"
    assert COMMANDS[verb].help, "every verb says what it does"
