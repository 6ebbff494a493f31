"""What a rank does in train_step.py: training steps of a small GPT, and the operations that larger jobs add to them.

Each rank has its own tokens, so that weights stay equal on all ranks only if the gradients were exchanged. Everything is timed
on each rank from a barrier on; a step takes as long as on the slowest one.
"""

import contextlib
import dataclasses
import math

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.algorithms.ddp_comm_hooks import default_hooks
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel

from ranks import pattern
from ranks.timed import Timed

RATE = 1e-3
# Two ways to take the same steps round differently. A rank that never heard of the others' gradients is off by half and more.
LOSS_BOUND = 0.02
UPDATE_BOUND = 0.3


@dataclasses.dataclass(frozen=True)
class Shape:
    """The size of a model and of its batch."""

    vocabulary: int = 32000
    width: int = 1024
    blocks: int = 24
    heads: int = 16
    length: int = 512
    sequences: int = 8


#: For rehearsals.
TINY = Shape(vocabulary=128, width=32, blocks=2, heads=2, length=16, sequences=2)


class Attention(nn.Module):
    """Causal self-attention with several heads."""

    def __init__(self, shape):
        super().__init__()
        self.heads = shape.heads
        self.inward = nn.Linear(shape.width, 3 * shape.width)
        self.outward = nn.Linear(shape.width, shape.width)

    def forward(self, hidden):
        parts = self.inward(hidden).unflatten(-1, (3, self.heads, -1)).transpose(1, 3).unbind(2)
        mixed = functional.scaled_dot_product_attention(*parts, is_causal=True)
        return self.outward(mixed.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention, then two layers for each token, each behind a norm and added to what came in."""

    def __init__(self, shape):
        super().__init__()
        self.before_attention, self.before_tokens = nn.LayerNorm(shape.width), nn.LayerNorm(shape.width)
        self.attention = Attention(shape)
        self.tokens = nn.Sequential(
            nn.Linear(shape.width, 4 * shape.width), nn.GELU(), nn.Linear(4 * shape.width, shape.width)
        )

    def forward(self, hidden):
        hidden = hidden + self.attention(self.before_attention(hidden))
        return hidden + self.tokens(self.before_tokens(hidden))


class Gpt(nn.Module):
    """Tokens to the logits of the next ones."""

    def __init__(self, shape):
        super().__init__()
        self.words, self.places = nn.Embedding(shape.vocabulary, shape.width), nn.Embedding(shape.length, shape.width)
        self.blocks = nn.ModuleList(Block(shape) for _ in range(shape.blocks))
        self.norm = nn.LayerNorm(shape.width)
        self.head = nn.Linear(shape.width, shape.vocabulary, bias=False)

    def forward(self, tokens):
        hidden = self.words(tokens) + self.places.weight[: tokens.shape[1]]
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(self.norm(hidden))


class Training:
    """The measurements of one rank, in the same order on all."""

    def __init__(self, rank, chosen):
        self.rank, self.chosen = rank, chosen
        self.shape = TINY if chosen.tiny else Shape()

    def all(self):
        rank, shape = self.rank, self.shape
        rank.open_group(timeout_s=120)
        torch.manual_seed(1000 + rank.number)
        self.batch = torch.randint(0, shape.vocabulary, (shape.sequences, shape.length + 1), device=rank.device)
        self.loss, self.trained = None, None
        self.steps("alone", lambda model: model)
        self.steps("DDP, fp32 gradients", self.replicated)
        self.steps("DDP, bf16 hook", lambda model: self.replicated(model, default_hooks.bf16_compress_hook))
        self.steps("FSDP2", self.sharded)
        self.trained = None
        for bytes_ in self.chosen.all_to_all:
            self.all_to_all(bytes_)
        self.both_ways(self.chosen.both_ways)
        dist.destroy_process_group()

    def replicated(self, model, hook=None):
        devices = [self.rank.device] if self.rank.device.type == "cuda" else None
        # Few large buckets for the hook, which costs a launch for each.
        large = {"bucket_cap_mb": 100, "gradient_as_bucket_view": True} if hook else {}
        made = DistributedDataParallel(model, device_ids=devices, **large)
        if hook:
            made.register_comm_hook(None, hook)
        return made

    def sharded(self, model):
        from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard

        policy = MixedPrecisionPolicy(param_dtype=torch.bfloat16, reduce_dtype=torch.float32)
        for block in model.blocks:
            fully_shard(block, mp_policy=policy)
        return fully_shard(model, mp_policy=policy)

    def fresh(self):
        """The model before its first step, the same on all ranks."""
        torch.manual_seed(1)
        with torch.device(self.rank.device):
            return Gpt(self.shape)

    def steps(self, kind, wrap):
        """Steps of a fresh model."""
        rank, timed = self.rank, Timed()
        model = wrap(self.fresh())
        optimizer = torch.optim.SGD(model.parameters(), lr=RATE)
        losses = []
        for step in range(self.chosen.warm_up + self.chosen.steps):
            dist.barrier()
            rank.finish_device()
            with timed.iteration(step >= self.chosen.warm_up):
                with torch.autocast(rank.device.type, torch.bfloat16):
                    logits = model(self.batch[:, :-1])
                loss = functional.cross_entropy(logits.flatten(0, 1).float(), self.batch[:, 1:].flatten())
                loss.backward()
                optimizer.step()
                optimizer.zero_grad(set_to_none=True)
                rank.finish_device()
            losses.append(loss.item())
        self.say(kind, 0, timed, list(self.faults(model, losses)))
        del model, optimizer, logits, loss
        if rank.device.type == "cuda":
            torch.cuda.empty_cache()

    def faults(self, model, losses):
        """What is wrong after the steps. The first ones, without communication, are what the others' losses are held against, and
        those of DDP with full gradients what the others' weights are."""
        if not all(map(math.isfinite, losses)):
            yield f"the loss is {losses}"
        elif self.loss is None:
            self.loss = losses[0]
            return
        if abs(losses[0] / self.loss - 1) > LOSS_BOUND:
            yield f"the first loss is {losses[0]:.4f}, and {self.loss:.4f} without communication"
        is_sharded = any(hasattr(parameter, "full_tensor") for parameter in model.parameters())
        if not is_sharded and not self.is_equal(model):
            yield "the weights differ between ranks"
        if self.trained is None:
            self.trained = [parameter.detach().clone() for parameter in model.parameters()]
            return
        off, moved = 0.0, 0.0
        for now, trained, before in zip(model.parameters(), self.trained, self.fresh().parameters()):
            now = now.full_tensor() if is_sharded else now
            off += (now.detach() - trained).double().square().sum().item()
            moved += (trained - before.detach()).double().square().sum().item()
        if not off <= UPDATE_BOUND**2 * moved:
            yield f"the weights moved {math.sqrt(off / moved) if moved else math.inf:.2f} of their way elsewhere than under DDP"

    def is_equal(self, model):
        """Whether all ranks have the same weights, by two sums of their bits."""
        words = [parameter.detach().flatten().view(torch.int32).to(torch.int64) for parameter in model.parameters()]
        sums = torch.stack([torch.stack([word.sum(), (word * word.bitwise_and(0xFFFF)).sum()]) for word in words])
        least, most = sums.clone(), sums.clone()
        dist.all_reduce(least, dist.ReduceOp.MIN)
        dist.all_reduce(most, dist.ReduceOp.MAX)
        return torch.equal(least, most)

    def all_to_all(self, bytes_):
        """Equal parts from everybody to everybody, as experts exchange tokens."""
        rank = self.rank
        part = max(bytes_ // 4 // rank.count, 1)
        mine = self.parts(rank.number, part)
        expected = torch.cat([self.parts(source, part)[rank.number * part :][:part] for source in range(rank.count)])
        got = torch.empty_like(mine)
        self.operation("all-to-all", bytes_, got, expected, lambda: dist.all_to_all_single(got, mine))

    def parts(self, source, part):
        """What one rank sends in an all-to-all, part by part."""
        return pattern.data(torch.float32, 100 + source, part * self.rank.count, 1, self.rank.device)

    def both_ways(self, bytes_):
        """A send and a receive at once with the neighbour, as stages of a pipeline exchange activations."""
        rank, count = self.rank, max(bytes_ // 4, 1)
        other = rank.number ^ 1
        # With an odd number of ranks the last one has no neighbour.
        has_other = other < rank.count
        mine = pattern.data(torch.float32, 200 + rank.number, count, 1, rank.device)
        expected = pattern.data(torch.float32, 200 + other, count, 1, rank.device)
        got = torch.empty_like(mine)

        def exchange():
            for work in dist.batch_isend_irecv([dist.P2POp(dist.isend, mine, other), dist.P2POp(dist.irecv, got, other)]):
                work.wait()

        self.operation("both ways", bytes_, got, expected, exchange, has_other)

    def operation(self, kind, bytes_, got, expected, run, takes_part=True):
        """An operation, as often as --operations says, each verified."""
        rank, timed, faults = self.rank, Timed(), []
        for iteration in range(self.chosen.warm_up + self.chosen.operations):
            got.view(torch.uint8).fill_(pattern.POISON)
            dist.barrier()
            rank.finish_device()
            with timed.iteration(iteration >= self.chosen.warm_up) if takes_part else contextlib.nullcontext():
                if takes_part:
                    run()
                    rank.finish_device()
            if takes_part and (fault := pattern.fault(got, expected)):
                faults.append(fault)
        if takes_part:
            self.say(kind, bytes_, timed, faults)

    def say(self, kind, bytes_, timed, faults):
        self.rank.say(kind=kind, bytes=bytes_, faults=faults[:3], **timed.fields())
