"""The command and the NCCL plugin of the wheel."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import gputcp
import pytest
from gputcp import nccl

GPUTCP = str(Path(sys.executable).with_name("gputcp"))
CLEAN = {name: value for name, value in os.environ.items() if not name.startswith("NCCL_")}


def run(*command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = CLEAN | variables
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environment)


def test_the_command_moves_data_and_loads_the_plugin() -> None:
    assert run(GPUTCP, "--version").stdout.startswith("gputcp ")
    done = run(GPUTCP, "loopback", "-m", "host", "-s", "1M", "-n", "3", "--no-ceiling", "--quiet")
    assert done.returncode == 0, done.stderr
    done = run(GPUTCP, "plugin", "list", str(nccl.plugin()))
    assert done.returncode == 0 and done.stdout, done.stderr
    assert run(sys.executable, "-m", "gputcp", "plugin", "list", "/no/such.so").returncode != 0


def test_the_nixl_backend_lies_beside_the_command() -> None:
    done = run(GPUTCP, "doctor", "--nixl")
    folder = nccl.plugin().parent
    assert (folder / "libplugin_GPUTCP.so").is_file()
    assert f"NIXL_PLUGIN_DIR={folder}" in done.stdout.replace("'", ""), done.stdout


def test_run_switches_the_plugin_on() -> None:
    program = "import os; print(*(os.environ[name] for name in ('NCCL_NET_PLUGIN', 'NCCL_NET')))"
    for separator in (["--"], []):
        done = run(GPUTCP, "run", *separator, sys.executable, "-c", program)
        assert done.stdout.split() == [str(nccl.plugin()), "gputcp"]
        assert "gputcp: NCCL's network is" in done.stderr
    assert run(GPUTCP, "run", "--", sys.executable, "-c", "raise SystemExit(7)").returncode == 7
    done = run(GPUTCP, "run", "--", sys.executable, NCCL_NET_PLUGIN="other")
    assert done.returncode == 2 and "the variable NCCL_NET_PLUGIN is 'other' already" in done.stderr
    done = run(GPUTCP, "run", "--", "no-such-program")
    assert done.returncode == 127 and "could not start no-such-program: No such file" in done.stderr
    assert run(GPUTCP, "run").returncode == 2 and run(GPUTCP, "run", "--").returncode == 2
    assert run(GPUTCP, "run", "--help").stdout.startswith("usage: gputcp run")


def test_the_variables_are_printed_for_a_shell() -> None:
    done = run("sh", "-c", f'eval "$({sys.executable} -m gputcp.nccl)"; echo "$NCCL_NET_PLUGIN $NCCL_NET"')
    assert done.stdout.split() == [str(nccl.plugin()), "gputcp"] and not done.stderr
    done = run(sys.executable, "-m", "gputcp.nccl", NCCL_NET="Socket")
    assert done.returncode == 0 and "the variable NCCL_NET is 'Socket' already" in done.stderr


def test_an_old_nccl_is_a_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    def version(package: str) -> str:
        if package != "nvidia-nccl-cu12":
            raise metadata.PackageNotFoundError
        return "2.10.3"

    monkeypatch.setattr(metadata, "version", version)
    assert [sentence for sentence in nccl.objections(CLEAN) if "is NCCL 2.10.3" in sentence]


def test_an_installation_without_the_plugin_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(nccl, "__file__", str(tmp_path / "nccl.py"))
    with pytest.raises(gputcp.UsageError, match="this installation has no NCCL plugin"):
        nccl.variables()
