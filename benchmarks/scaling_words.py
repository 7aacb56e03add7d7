"""The words between the tables of docs/scaling.md."""

ABOUT = """
# Scaling out

What fits where, what each step costs, and which engine carries it, for models of 1.3B, 7B and 70B parameters. This
file is written by `python -m benchmarks.scaling`; a test compares them, and the formulas with real models. All of it
is arithmetic, none of it was measured: measured figures stand in [benchmarks.md](benchmarks.md).
"""

MANY = """
## Several processes

*Processes* in the form of a new run says how many share it, one a GPU (without GPUs: one or more CPU cores each). The
worker starts them with `torchrun`, listens to the first one's steps, passes on a stop, and starts all of them again
from the last checkpoint when one is killed. A run that asks for more than its worker has is refused. There is no
scheduler of our own: a worker works on one run at a time, with the GPUs that `CUDA_VISIBLE_DEVICES` shows it.

- Every process runs the whole trainer with the same seeds and order, takes every n-th row of each batch, and divides
  by counts of the whole batch. Gradients are added up once an optimizer step. So losses, accuracies, KL, the
  whitening of advantages and the length of the gradient are those of the whole batch, under any number of processes;
  what one process makes, two make to 1e-5 (dropout is drawn anew in each process).
- PPO's and RLOO's completions are drawn and scored by all processes, then known to all of them. Evaluation between
  epochs is the first process's work, and so are checkpoints and models.
- A run stopped under one number of processes goes on under another.
- Every process holds the whole model, unless an SFT or reward-model run is *sharded*: then weights, gradients and Adam
  lie in shards (torch's FSDP2), each layer is gathered when a pass comes to it, and losses and weights are the same
  to 1e-5. To evaluate and to save, the first process holds the model whole beside its shard, 4 bytes a parameter.
  PPO, DPO and RLOO are not sharded: what one GPU cannot hold needs LoRA there.

Several nodes: the task is a file that all of them can read, with its folders and its settings, as
`workers.training.launched.write_task` writes it. On each node:

    torchrun --nnodes 2 --nproc-per-node 8 --rdzv-backend c10d --rdzv-endpoint HOST:29400 \\
        -m workers.training.launched TASK

The first process prints each step as a line of JSON. Checkpoints and model lie in the task's folders, which the nodes
must share; started again, it goes on from there.

## Sampling workers

*Sampling workers* in the form of a PPO run says among how many workers each iteration's episodes are shared out; 0 is
none, the trainer draws. They are processes of their own, on any machine with the same settings (database, Redis,
artefact store), each for one device, and serve all runs in turn:

    CUDA_VISIBLE_DEVICES=1 touchstone worker --queue sampling

With the containers that is `docker compose --profile sampling up -d` (`--profile sampling-gpu` with a GPU). Scores,
values and the reference's log-probabilities stay with the trainer.

- After each iteration the trainer publishes its policy's weights under a version, in the artefact store: 4 bytes a
  parameter (5.3 GB at 1.3B, 27 GB at 7B), with LoRA the adapters alone. An answer is 12 bytes a token, for the paper's
  512 episodes about a megabyte.
- *Max staleness* 0: every episode is drawn by the very policy that the iteration starts from. The trainer waits while
  workers draw, and they wait while it learns; what several of them save is the time of drawing. One worker makes the
  same run as none, bit for bit on a CPU with one thread; several make it to 1e-5, since other rows share a batch and
  sums are taken in another order.
- Staleness n: iteration i is drawn by the policy that has finished i - n of them (in the first n by the initial one),
  so that drawing and learning overlap. What can be won is the smaller of the two times: by the table below a quarter
  of PPO without ptx at 1.3B, since drawing is 0.5 of 2.1 GPU-hours. What it costs is that the update starts n updates
  away from where the episodes were drawn: ratios start from the probabilities of the policy that drew, so the
  objective stays PPO's, but more of them are clipped, and reward and KL are those of the older policy. *Clip fraction*
  and *staleness* on the run's page show it. 1 is enough to overlap wherever drawing takes no longer than learning.
- Which version draws which iteration is settled by the settings, not by who is fast. So the result does not depend on
  the number of workers that live, on which of them are killed (their share is handed on when they fall silent), or on
  whether the trainer, when none of them gives a sign for `TOUCHSTONE_SAMPLING_PATIENCE_SECONDS`, draws a share itself;
  the run's page says when it does. A trainer that is killed goes on from its checkpoint to the same end, at any
  staleness: the versions that it needs are kept, n + 1 of them and as many before the checkpoint.
"""

FITS = """
## What fits where

A parameter that trains takes 16 bytes (fp32 weight 4, gradient 4, Adam 8; with bf16 the products are cast, the
weights stay fp32), one that does not takes 4. PPO trains policy and value network, keeps reference and reward model,
and averages the policy's weights: 44 bytes; with LoRA policy and reference are one set of weights, value network and
reward model another: 8. Adapters of rank 16 add less than 1 %. The last column leaves a fifth of each GPU for
activations. A number above 1 needs shards: *sharded* at 7B (SFT and reward model, 16 / n bytes a parameter on each of n
GPUs and 4 more on the first). Full PPO at 7B, and everything at 70B, is beyond Touchstone's own trainers, since the
base weights are kept in fp32 on every GPU and the first one must hold the model whole; LoRA carries PPO at 7B.
"""

COSTS = """
Activations are those of SFT in bf16, for each token of a micro-batch; *recomputed* is with
`activation_checkpointing`, which makes a step a third longer. Logits are never held: losses are taken in pieces of 64
MiB. Keys and values are bf16; Touchstone draws 64 rows at a time, so an eighth of the last column in each process.

## What a step costs

FLOPs, with the paper's batches (32 demonstrations, 64 prompts, 512 episodes) and its mean lengths: 408 + 38 tokens a
demonstration, 199 a ranking's prompt, 166 a PPO prompt. The paper does not give the rest; assumed are 6 completions
of 100 tokens a ranking, read with the prompt encoded once, 200 tokens an episode and 256 a ptx example. A pass is 2 x
weights x tokens + attention, training three of them; all of PPO's networks are of one size here (the paper keeps
reward model and value network at 6B).
"""

HOURS = """
## GPU-hours of the paper's runs

16 epochs over 12,725 demonstrations, one over 33,207 rankings, 256,000 episodes, on H100s (989 TFLOP/s in bf16, 3.35
TB/s) at {training:.0%} of the peak where arithmetic decides and {reading:.0%} of the bandwidth where drawing reads
weights and caches, 512 rows side by side. Both shares are assumptions. GPU-hours do not depend on how many GPUs share
the work, as long as they wait for nobody. As a check, the same formulas give {sft:.1f} petaflop/s-days for the
paper's SFT at 175B and {ppo:.0f} for PPO-ptx, with every row as long as its context of 2,048 tokens (episodes 1,024,
as its limits say); the paper reports 4.9 and 60 (5.1).

*Drawing* is a small part only with many rows side by side: with 64 rows the weights are read eight times as often.
That is what an engine such as vLLM is for: paged caches, hundreds of rows in flight, weights split over GPUs.
"""

MOVED = """
## Bytes moved

Adding up gradients sends 2 (n - 1) / n x 4 bytes a parameter once an optimizer step, whatever the micro-batches; with
LoRA only the adapters'. The times are for links of 450 GB/s within a node and 50 GB/s between nodes, each GPU its
own; beside them the arithmetic of an SFT step of 32 demonstrations over 8 GPUs. Within a node the sum costs about as
much as half of so small a step, because it waits for the backward pass to end; DDP, which overlaps both, would hide
most of it. FSDP moves as many bytes for each micro-batch where it gathers weights in bf16, as here in the table;
*sharded* gathers them in fp32, half as much again, and so wants few and large micro-batches.
Between nodes a batch of 32 short rows is too small for 16 GPUs, overlapped
or not. A reward-model step is four times as long and PPO's update takes 8 steps an iteration of the same gradient.
Episodes, figures and checkpoints' signals are kilobytes.
"""
