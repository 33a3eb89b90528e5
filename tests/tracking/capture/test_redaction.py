"""A06: what is struck out of code, command lines and addresses, and what stays readable."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from agentnn.tracking.capture.redaction import Redactor

if TYPE_CHECKING:
    from pathlib import Path

SECRET = "hunter2-Swordfish"
PLAIN = Redactor({})


@pytest.mark.parametrize(
    "line",
    [
        f'+password = "{SECRET}"',
        f"+DB_PASSWORD={SECRET}",
        f"+password: {SECRET}",
        f'+    "api_key": "{SECRET}",',
        f'+password: str = "{SECRET}"',
        f'+os.environ["WANDB_API_KEY"] = "{SECRET}"',
        f'+client = connect(user="ada", password="{SECRET}", host="db")',
        f"+github_token_2 = '{SECRET}'",
        f"+PASSWORD_PROD = '{SECRET}'",
        f"+accessToken: '{SECRET}'",
        f"+  --password {SECRET} \\",
        f"-uri = 'postgresql://ada:{SECRET}@db/runs'",
        f" requests.get('https://{SECRET}@host/x')",
        f"+headers = {{'Authorization': 'Bearer {SECRET}'}}",
        f'+os.environ.setdefault("SECRET", "{SECRET}")',
    ],
)
def test_a_value_that_is_named_a_secret_is_struck_out_of_a_line(line: str):
    shown = PLAIN.text(line)
    assert "Swordfish" not in shown
    assert "***" in shown
    assert shown[0] == line[0]


@pytest.mark.parametrize(
    "secret",
    [
        "ghp_abcdefghijklmnopqrstuvwxyz0123456789",
        "AKIAIOSFODNN7EXAMPLE",
        "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "xoxb-1234567890-abcdefghij",
        "sk-proj-abcdefghijklmnop",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "hf_abcdefghijklmnopqrst",
    ],
)
def test_what_looks_like_a_token_is_struck_out_wherever_it_stands(secret: str):
    assert secret not in PLAIN.text(f"+x = f({secret!r})")


def test_a_private_key_is_struck_out_with_all_its_lines():
    key = "+-----BEGIN OPENSSH PRIVATE KEY-----\n+b3BlbnNzaC1rZXkt\n+AAAA\n+-----END OPENSSH PRIVATE KEY-----\n+after"
    assert PLAIN.text(key).splitlines() == ["***"] * 4 + ["+after"]


def test_a_value_of_the_environment_is_struck_out_wherever_it_stands():
    redactor = Redactor({"MY_TOKEN": "correct horse", "HOME": "/home/ada", "TOKEN_COUNT": "7"})
    assert redactor.text("+say('correct horse', '/home/ada', 7)") == "+say('***', '/home/ada', 7)"
    assert redactor.known("the correct horse") == "the ***"


def test_ordinary_code_stays_as_it_is():
    code = "\n".join(
        [
            "diff --git a/agentnn/tracking/capture/redaction.py b/agentnn/tracking/capture/redaction.py",
            "index 1f2e3d4..5a6b7c8 100644",
            "@@ -1,4 +1,5 @@ def train_the_network_with_many_words(self):",
            " import torch",
            "-learning_rate = 0.001",
            "+learning_rate = 0.005",
            "+max_tokens = 512",
            "+n_tokens: int = 7",
            "+if authors == 3:",
            "+monkey = keyboard[0]",
            "+commit = 'f1bd569765eb716c0097bd30d8a77c73a8bc7273'",
        ]
    )
    assert PLAIN.text(code) == code


def test_a_very_long_line_is_not_searched_but_left_out():
    assert PLAIN.text("+" + "x" * 5000) == "+*** (a line of 5001 characters)"


@pytest.mark.parametrize(
    ("arguments", "shown"),
    [
        (["--epochs", "5", "--lr=1e-3", "-n", "2"], ["--epochs", "5", "--lr=1e-3", "-n", "2"]),
        (["--optimizer", "adam", "--quick"], ["--optimizer", "adam", "--quick"]),
        (["--model.hidden_layers", "[64, 32]"], ["--model.hidden_layers", "[64, 32]"]),
        (["--password", SECRET], ["--password", "***"]),
        ([f"--db-password={SECRET}"], ["--db-password=***"]),
        (["--tracking.api_key", "short"], ["--tracking.api_key", "***"]),
        (["--pin", "1234"], ["--pin", "***"]),
        (["-p", "swordfish"], ["-p", "***"]),
        (["swordfish"], ["***"]),
        ([f"--db=postgresql://ada:{SECRET}@db/x"], ["--db=***"]),
        (["--proxy", "ada:swordfish"], ["--proxy", "***"]),
        (["--name", "a b c"], ["--name", "***"]),
        (["--steps", "-5"], ["--steps", "-5"]),
    ],
)
def test_of_a_command_line_only_what_is_known_to_be_harmless_is_shown(arguments: list[str], shown: list[str]):
    assert PLAIN.arguments(arguments) == shown


def test_a_path_that_is_there_is_shown(tmp_path: Path):
    config = tmp_path / "train.yaml"
    config.touch()
    assert PLAIN.arguments([str(config), "--out", str(tmp_path)]) == [str(config), "--out", str(tmp_path)]
