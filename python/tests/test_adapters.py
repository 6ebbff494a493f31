"""The adapters, as far as they go without Ray, vLLM and PyTorch."""

from __future__ import annotations

import importlib
import importlib.util
from importlib import metadata
from pathlib import Path

import gputcp
import pytest
from gputcp._tensors import _settings


def test_the_variables_are_an_endpoints_settings(tmp_path: Path) -> None:
    assert _settings({}) == {} == _settings({"GPUTCP_STREAMS": ""})
    found = _settings({"GPUTCP_STREAMS": "3", "GPUTCP_TIMEOUT": "2.5", "GPUTCP_KEY": "0123456789abcdef"})
    assert found == {"streams": 3, "timeout": 2.5, "key": "0123456789abcdef"}
    gputcp.Endpoint(**found).close()
    file = tmp_path / "key"
    file.write_bytes(b"0123456789abcdef0\n")
    found = _settings({"GPUTCP_KEY_FILE": str(file), "GPUTCP_KEY": "another"})
    with gputcp.Endpoint(**found, timeout=5) as one, gputcp.Endpoint(key=b"0123456789abcdef0", timeout=5) as other:
        region, local = one.register(bytearray(b"bytes")), bytearray(5)
        other.connect(one.address).read([(other.register(local), 0, region.key, 0, 5)]).wait(5)
        assert local == b"bytes"
    with pytest.raises(gputcp.UsageError, match="the variable GPUTCP_STREAMS is 'many': give a number"):
        _settings({"GPUTCP_STREAMS": "many"})
    with pytest.raises(gputcp.UsageError, match=r"the key file /nowhere \(the variable GPUTCP_KEY_FILE\): No such"):
        _settings({"GPUTCP_KEY_FILE": "/nowhere"})


@pytest.mark.parametrize(("name", "needs"), [("ray", "Ray 2.57"), ("vllm", "vLLM 0.32")])
def test_an_adapter_without_its_package_is_a_sentence(name: str, needs: str) -> None:
    if importlib.util.find_spec(name):
        pytest.skip(f"{name} is installed")
    with pytest.raises(ImportError, match=f"gputcp.{name} needs {needs} or later"):
        importlib.import_module(f"gputcp.{name}")


def test_vllm_finds_the_backend_by_the_packages_entry_point(caplog: pytest.LogCaptureFixture) -> None:
    [entry] = [entry for entry in metadata.entry_points(group="vllm.general_plugins") if entry.name == "gputcp"]
    assert entry.value == "gputcp._plugin:vllm"
    # In a process without vLLM, or with an old one, it says so and does no harm.
    entry.load()()
    if not importlib.util.find_spec("vllm"):
        assert "gputcp.vllm needs vLLM 0.32 or later" in caplog.text
