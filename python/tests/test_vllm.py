"""vLLM's weight transfer, from a trainer in this process to a real engine; skipped where vLLM is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import gputcp
import pytest

torch: Any = pytest.importorskip("torch", reason="needs PyTorch")
vllm: Any = pytest.importorskip("vllm", reason="needs vLLM 0.32 or later")
transformers: Any = pytest.importorskip("transformers", reason="needs Transformers")

pytestmark = pytest.mark.filterwarnings("ignore")
PROMPT, COUNT = [5, 9, 100, 3, 77], 8
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 256,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 512,
    "max_position_embeddings": 256,
    "torch_dtype": "float32",
    "tie_word_embeddings": False,
}


class Client:
    """The engine's control plane, in this process."""

    def __init__(self, engine: Any) -> None:
        self.engine, self.chunks = engine, 0

    def init_weight_transfer_engine(self, info: dict[str, Any]) -> None:
        from vllm.distributed.weight_transfer.base import WeightTransferInitRequest

        self.engine.init_weight_transfer_engine(WeightTransferInitRequest(info))

    def start_weight_update(self) -> None:
        self.engine.start_weight_update()

    def update_weights(self, info: dict[str, Any]) -> None:
        from vllm.distributed.weight_transfer.base import WeightTransferUpdateRequest

        self.chunks += 1
        # As over HTTP.
        self.engine.update_weights(WeightTransferUpdateRequest(json.loads(json.dumps(info))))

    def finish_weight_update(self, weight_version: str | None = None) -> None:
        self.engine.finish_weight_update()


def test_an_engine_gets_the_trainers_weights(tmp_path: Path) -> None:
    import gputcp.vllm
    from vllm.config import WeightTransferConfig
    from vllm.distributed.weight_transfer.base import ModuleSource
    from vllm.distributed.weight_transfer.factory import WeightTransferTrainerFactory

    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    # The entry point of the package has made the backend known, to the worker's process too.
    engine = vllm.LLM(
        model=str(tmp_path),
        load_format="dummy",
        dtype="float32",
        skip_tokenizer_init=True,
        enforce_eager=True,
        max_model_len=64,
        weight_transfer_config=WeightTransferConfig(backend="gputcp"),
    )
    model = transformers.LlamaForCausalLM(transformers.LlamaConfig.from_pretrained(tmp_path))
    client = Client(engine)
    trainer = WeightTransferTrainerFactory.trainer_init(
        gputcp.vllm.TrainerInfo(rank=0, chunk_bytes=500_000), client=client, source=ModuleSource(model)
    )

    def generated() -> list[int]:
        sampling = vllm.SamplingParams(temperature=0, max_tokens=COUNT, ignore_eos=True, detokenize=False)
        [found] = engine.generate({"prompt_token_ids": PROMPT}, sampling, use_tqdm=False)
        return list(found.outputs[0].token_ids)

    def expected() -> list[int]:
        with torch.no_grad():
            ids = model.generate(torch.tensor([PROMPT]), max_new_tokens=COUNT, do_sample=False, eos_token_id=None)
        return list(ids[0, len(PROMPT) :].tolist())

    seen = []
    for version in range(3):
        torch.manual_seed(version)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.normal_(std=0.3)
        trainer.send_weights()
        assert generated() == expected()
        seen.append(expected())
    assert len({tuple(tokens) for tokens in seen}) == 3 and client.chunks > 6
    trainer.shutdown()


def test_hostile_chunks_are_refused() -> None:
    from gputcp.vllm import Chunk

    with pytest.raises(ValueError, match="as many names as types"):
        Chunk(["a"], ["float32"], [[1]], ["", ""], [""])
    chunk = Chunk(["a", "b"], ["nn", "float32"], [[1], [0]], ["", ""], ["", ""])
    with pytest.raises(ValueError, match="the type 'nn', which torch has not"):
        chunk.allocate(0, "cpu")
    assert chunk.allocate(1, "cpu").numel() == 0 and chunk.place(1) is None
    with pytest.raises(ValueError):
        Chunk(["a"], ["float32"], [[1]], ["zz"], ["zz"]).place(0)


def test_a_trainer_that_is_not_reached_is_a_sentence() -> None:
    from gputcp.vllm import _own_address

    assert _own_address("127.0.0.1:0") == "127.0.0.1:0"
    with pytest.raises(gputcp.UsageError, match="'nowhere.invalid:0' is not reached from here"):
        _own_address("nowhere.invalid:0")
