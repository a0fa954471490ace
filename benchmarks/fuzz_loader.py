"""Malformed models against the loader: no crash, no hang, no traceback, whatever the file holds.

Models of most kinds are damaged, from a seed: by the structure of the protobuf (fields changed,
messages moved and given twice, names dangling, shapes absurd) or byte by byte. Each goes through
what `hal.load` and a first run do, on one of the devices in turn, in a worker process; a worker
that dies or does not answer is found out, named with the number of the mutation, and replaced.
Printed are the counts by outcome. The exit code is 1 when one is a crash, a hang or a traceback.

    python benchmarks/fuzz_loader.py [--structure 5000] [--bytes 2000] [--seed 1]
    python benchmarks/fuzz_loader.py --only structure:1234      one mutation, in this process
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import multiprocessing as mp
import os
import resource
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))

import fuzz_mutations

LIMIT = 60.0
"""Seconds after which a mutation hangs. Each takes milliseconds; on a busy machine all wait."""
MEMORY = 12 << 30
"""Bytes of address space of a worker: what asks for more fails at once instead of swapping."""
LOOPING = "running a Loop"
"""A model may loop for ever, and be right to: `hal.load(..., isolate=True)` has a deadline."""
BAD = ("crash", "hang", "traceback")

Job = tuple[str, int]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n\n")[0])
    parser.add_argument("--structure", type=int, default=5000, help="mutations of the protobuf")
    parser.add_argument("--bytes", type=int, default=2000, help="mutations byte by byte")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1))
    parser.add_argument("--devices", nargs="+", default=["ort:cpu", "torch:cpu"])
    parser.add_argument("--limit", type=float, default=LIMIT, help="seconds for one mutation")
    parser.add_argument("--only", help="KIND:NUMBER, run here and shown")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        os.environ["HAL_HOME"] = home  # made-up models are nothing to remember
        if arguments.only:
            kind, _, number = arguments.only.partition(":")
            print(*outcome((kind, int(number)), arguments.seed, arguments.devices, print))
            return 0
        jobs = [
            (kind, i) for kind in ("structure", "bytes") for i in range(getattr(arguments, kind))
        ]
        return report(run(jobs, arguments.jobs, arguments.seed, arguments.devices, arguments.limit))


def run(
    jobs: list[Job], workers: int, seed: int, devices: list[str], limit: float
) -> Iterator[tuple[Job, str, str]]:
    """Every job with its outcome and what was said, as they end."""
    context = mp.get_context("spawn")
    waiting = collections.deque(jobs)
    busy: dict[Connection, tuple[Any, Job, float]] = {}
    stages: dict[Connection, str] = {}

    def start() -> tuple[Any, Connection]:
        ours, theirs = context.Pipe()
        process = context.Process(target=work, args=(theirs, seed, devices), daemon=True)
        process.start()
        theirs.close()
        return process, ours

    def give(process: Any, connection: Connection) -> None:
        if waiting:
            job = waiting.popleft()
            connection.send(job)
            busy[connection] = process, job, time.monotonic()
        else:
            connection.close()
            process.join()

    for _ in range(workers):
        process, connection = start()
        connection.recv()  # it has imported what it needs
        give(process, connection)
    while busy:
        for ready in wait(list(busy), timeout=1.0):
            assert isinstance(ready, Connection)
            process, job, _ = busy[ready]
            try:
                answer = ready.recv()
            except EOFError:
                process.join()
                del busy[ready]
                yield job, "crash", f"exit {process.exitcode} in {stages.get(ready, 'reading')}"
                process, ready = start()
                ready.recv()
                give(process, ready)
                continue
            if answer[0] == "stage":
                stages[ready] = answer[1]
                continue
            del busy[ready]
            yield job, *answer[1:]
            give(process, ready)
        for connection, (process, job, since) in list(busy.items()):
            if time.monotonic() - since > limit:
                process.kill()
                process.join()
                del busy[connection]
                stage = stages.get(connection, "reading")
                what = "endless loop" if stage.startswith(LOOPING) else "hang"
                yield job, what, f"{limit:.0f} s in {stage}"
                process, connection = start()
                connection.recv()
                give(process, connection)


def work(connection: Connection, seed: int, devices: list[str]) -> None:
    """A worker: jobs in, outcomes out."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    sys.stdout = sys.stderr = Path(os.devnull).open("w")  # noqa: SIM115 (until the process ends)
    warnings.simplefilter("ignore")
    for device in devices:  # imports count for no mutation
        outcome(("none", 0), seed, [device], lambda stage: None)
    connection.send("ready")
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        connection.send(
            ("done", *outcome(job, seed, devices, lambda s: connection.send(("stage", s))))
        )


def outcome(job: Job, seed: int, devices: list[str], say: Any) -> tuple[str, str]:
    """What becomes of a mutation, and what was said about it."""
    import hal
    from hal.arrays import array_of
    from hal.errors import HalError, UnsupportedError
    from hal.graph import read_model, read_signature
    from hal.inputs import draw_inputs
    from hal.split._source import Source

    kind, number = job
    device = devices[number % len(devices)]
    stage = "reading"
    try:
        say(stage)
        with tempfile.TemporaryDirectory() as folder:
            model = fuzz_mutations.mutated(kind, number, seed, Path(folder))
            graph = read_model(model)
            stage = "signature"
            read_signature(model)
            stage = "cutting"
            say(stage)
            source = Source(model, graph)
            for index in range(min(len(source.nodes), 3)):
                with contextlib.suppress(UnsupportedError):  # a type that is not known
                    source.part([index])
            stage = "inputs"
            say(stage)
            feeds = draw_inputs(graph)
            stage = "loading"
            say(f"{stage} on {device}")
            with hal.load(model, device) as session:
                stage = "running"
                if any(node.op_type == "Loop" for node in graph.graph.nodes):
                    stage = LOOPING
                say(f"{stage} on {device}")
                session.run(None, {n: array_of(v) for n, v in feeds.items()})
        return "ran", ""
    except HalError as error:
        text = str(error)
        if not text or "\n" in text:
            return "traceback", f"{stage}: an error of several lines, or none: {text!r}"
        return f"{stage}: {type(error).__name__}", text
    except Exception as error:  # noqa: BLE001 (which is what is looked for)
        return "traceback", f"{stage}: {type(error).__name__}: {traceback.format_exc()}"


def report(found: Iterator[tuple[Job, str, str]]) -> int:
    counts: dict[str, collections.Counter[str]] = {}
    bad: list[str] = []
    total = 0
    start = shown = time.monotonic()
    for (kind, number), what, said in found:
        total += 1
        counts.setdefault(kind, collections.Counter())[what] += 1
        if what in BAD:
            bad.append(f"{kind}:{number} {what}: {said}")
            print(bad[-1], file=sys.stderr)
        if time.monotonic() - shown > 5:
            shown = time.monotonic()
            print(f"{total} in {shown - start:.0f} s, {len(bad)} bad", file=sys.stderr)
    for kind, counter in counts.items():
        print(f"{kind}: {sum(counter.values())} mutations")
        for what, count in counter.most_common():
            print(f"  {count:6}  {what}")
    print(
        f"{total} in {time.monotonic() - start:.0f} s: "
        + ", ".join(f"{sum(c[b] for c in counts.values())} {b}" for b in BAD)
    )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
