"""A SavedModel that is scored as it was exported: what flags and file decide together, and the proof."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from model.checkpoints.checkpoint import Checkpoint
from model.checkpoints.detect import exported_case
from model.checkpoints.tokenizer_files import read_tokenizer
from model.network.config import BertConfig
from model.serving.exported.as_exported import AsExported, Input, Network, load_network
from model.serving.exported.rows import Special, trial_rows
from model.serving.exported.scores import Proof, check_probabilities, look_like_probabilities
from model.serving.exported.signature import (
    LOGITS,
    MASK,
    PROBABILITIES,
    TYPES,
    Signature,
    Wiring,
    check_ids,
    check_keeps_nothing,
    read_signature,
    wire,
)
from model.serving.exported.trials import Trials
from model.tokenizer.tokenization import TokenizerSpec
from pipeline.bundling.import_job import (
    ImportJob,
    choose_activation,
    choose_labels,
    choose_task,
    choose_tokenizer,
    choose_vocabulary,
    label_notes,
)
from pipeline.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What a bundle is made of: the graph, its proof, and what stands in `bundle.json`."""

    graph: AsExported
    proof: Proof
    tokens: tuple[str, ...]
    spec: TokenizerSpec
    task: str
    labels: tuple[str, ...]
    activation: str
    model: dict[str, Any]
    origin: dict[str, Any]
    report: tuple[str, ...]


def read_exported(job: ImportJob, origin: str | None = None) -> Exported:
    """Reads, tries and describes the SavedModel of a job, which errors call `origin`; raises CheckpointError or
    ConfigError.
    """
    _check_flags(job)
    signature = read_signature(job.path, job.signature)
    signature = replace(signature, origin=origin or signature.origin)
    wiring = wire(signature, job.wired, job.said_output, job.said_kind)
    checkpoint = _described(signature)
    tokens = choose_vocabulary(job, checkpoint)
    check_ids(signature, wiring, len(tokens))
    network, trials = _load(signature, wiring, tokens)
    positions = trials.find_longest(job.max_tokens)
    outputs = trials.check_shape()
    trials.check_vocabulary()
    sizes = BertConfig(vocab_size=len(tokens), max_sequence_length=positions)
    checkpoint = replace(checkpoint, config=sizes)
    task = choose_task(job, checkpoint, outputs)
    labels = choose_labels(job, checkpoint, outputs)
    spec, notes = choose_tokenizer(job, checkpoint, tokens, task)
    _check_windows(signature, wiring, spec)
    notes += [*label_notes(checkpoint, labels), *_segments(signature, wiring, spec), *_limits(job, wiring, positions)]
    activation, more = _activation(job, wiring, checkpoint, outputs, task)
    rows = trial_rows(trials.special, len(tokens), spec.max_tokens, pairs=spec.segments == 2)
    proof = trials.prove(rows)
    trials.check_last_token()
    check_keeps_nothing(signature)
    notes += [*more, *proof.notes, *_kind(signature, wiring, proof, task)]
    graph = AsExported(network, outputs=outputs, kind=wiring.kind, activation=activation, longest=spec.max_tokens)
    model: dict[str, Any] = {"vocab_size": len(tokens), "max_sequence_length": spec.max_tokens}
    if wiring.length is not None:
        model["fixed_length"] = wiring.length
    about = {
        "weights": Path(job.path).absolute().name,
        "layout": checkpoint.layout,
        "signature": signature.name,
        "inputs": {role: port.name for role, port in wiring.inputs.items()},
        "output": wiring.output,
        "outputs_are": wiring.kind,
        "notes": notes,
    }
    return Exported(
        graph=graph,
        proof=proof,
        tokens=tokens,
        spec=spec,
        task=task,
        labels=labels,
        activation=activation,
        model=model,
        origin=about,
        report=_report(signature, wiring, network, proof, notes),
    )


def _check_flags(job: ImportJob) -> None:
    unused = {"--hidden-activation": job.hidden_activation, "--norm-first": job.norm_first, "--new-head": job.new_head}
    if given := [flag for flag, value in unused.items() if value is not None]:
        raise ConfigError(f"{given[0]}: with --as-exported the network is what its own graph computes; leave it out")


def _described(signature: Signature) -> Checkpoint:
    """What the files beside the graph say of tokenizer and vocabulary; of a BERT's sizes there are none."""
    found = Checkpoint(
        origin=signature.origin,
        layout="SavedModel, as exported",
        config=BertConfig(vocab_size=sys.maxsize),
        weights={},
        lower_case=exported_case(signature.graph),
        flavour_assumed=not signature.has_tokenizer,
        activation_assumed=True,
    )
    for folder in (signature.path / "assets", signature.path):
        said = {key: value for key, value in read_tokenizer(folder, sys.maxsize).items() if value is not None}
        if "vocabulary" in said:
            return replace(found, **said)
    return found


def _load(signature: Signature, wiring: Wiring, tokens: tuple[str, ...]) -> tuple[Network, Trials]:
    special = Special(*(tokens.index(token) for token in ("[CLS]", "[SEP]", "[PAD]")))
    inputs = {role: Input(port.name, port.dtype) for role, port in wiring.inputs.items()}
    network = load_network(
        signature.origin,
        signature.path,
        signature.name,
        inputs,
        wiring.output,
        length=wiring.length,
        pad=special.pad,
    )
    trials = Trials(
        origin=signature.origin,
        score=network.raw,
        behind=network.raw_behind,
        special=special,
        vocabulary=len(tokens),
        length=wiring.length,
        masked=MASK in wiring.inputs,
        probabilities=wiring.kind == PROBABILITIES,
    )
    return network, trials


def _segments(signature: Signature, wiring: Wiring, spec: TokenizerSpec) -> list[str]:
    """Raises ConfigError for pairs of a network that is not told which text a token is of."""
    if spec.segments == 1 or TYPES in wiring.inputs:
        return []
    if MASK not in wiring.inputs:
        raise ConfigError(
            f"--segments 2: {signature.origin} takes token ids alone, so the second text of a pair would score as if "
            "it were a part of the first; export it with its type ids (inputs_only=False), or import single texts"
        )
    return ["segments: 2, although the network takes no type ids: [SEP] alone tells the second text"]


def _check_windows(signature: Signature, wiring: Wiring, spec: TokenizerSpec) -> None:
    """Raises ConfigError for windows of a network that gives no logits: these are what windows make a text's of."""
    if spec.long_texts.windows and wiring.kind == PROBABILITIES:
        raise ConfigError(
            f"--long-texts windows: the logits of all windows make those of a text, and {signature.origin} gives "
            "probabilities; export its logits, or take --long-texts cut, tail or head-tail"
        )


def _limits(job: ImportJob, wiring: Wiring, positions: int) -> list[str]:
    if wiring.length is not None:
        return [f"padding: every row is padded to {wiring.length} tokens, the length that the signature asks for"]
    if job.max_tokens is None:
        return [f"max tokens: {positions} at most, found by trying (up to 512); --max-tokens says another limit"]
    return []


def _activation(
    job: ImportJob, wiring: Wiring, checkpoint: Checkpoint, outputs: int, task: str
) -> tuple[str, list[str]]:
    if wiring.kind == LOGITS:
        return choose_activation(job, checkpoint, outputs, task)
    if job.activation is not None:
        raise ConfigError(
            f"--activation {job.activation}: the output {wiring.output} of {checkpoint.origin} is a probability "
            "already; leave the flag out, or give --outputs-are logits"
        )
    return "softmax" if task == "classification" else "sigmoid", []


def _kind(signature: Signature, wiring: Wiring, proof: Proof, task: str) -> list[str]:
    """Raises CheckpointError, or ConfigError, if the scores of the trial rows are not what they are said to be."""
    if wiring.kind == PROBABILITIES:
        check_probabilities(signature.origin, proof.scores, sum_to_one=task == "classification")
        return []
    looks = look_like_probabilities(proof.scores)
    if looks is None:
        return []
    if not wiring.said:
        raise ConfigError(
            f"{signature.origin}: every row of its output {wiring.output} {looks}, as probabilities do; say what "
            "it is with --outputs-are probabilities, or --outputs-are logits"
        )
    return [f"outputs: {wiring.output} is taken for logits as asked, although every trial row {looks}"]


def _report(signature: Signature, wiring: Wiring, network: Network, proof: Proof, notes: list[str]) -> tuple[str, ...]:
    wired = ", ".join(f"{role} = {port.name}" for role, port in wiring.inputs.items())
    tried = [(name, value) for name, value in proof.differences.items() if value is not None]
    worst, rows = max(value for _, value in tried), proof.rows
    return (
        f"read     {signature.path}",
        f"layout   SavedModel, as exported: signature {signature.name}, {wired}; {wiring.kind} = {wiring.output}",
        f"loaded   {network.weights:,} weights, with the graph that was exported",
        f"proved   {len(tried)} trials on {len(rows.tokens)} rows of up to {int(rows.lengths.max())} tokens: "
        f"scores differ by {worst:.1e} at most",
        *(f"note     {note}" for note in notes),
    )
