"""A stored trial as an exported folder: gathers what is known, writes it, has it checked, and only then lets it appear.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from pathlib import Path

import torch

import nas
from nas.checkpoint import copy_of, read_checkpoint
from nas.data import Dataset
from nas.data import load as load_data
from nas.errors import NasError, one_line
from nas.export.card import card
from nas.export.checks import check, text
from nas.export.choice import exportable
from nas.export.example_text import EXAMPLE
from nas.export.folder import whole, write
from nas.export.formats import FILE_OF, asked, write_formats
from nas.exported import manifest
from nas.exported.loading import load
from nas.exported.manifest import ARCHITECTURE, CARD, CHECKS, CODE, FACTS, FILES, WEIGHTS, Manifest
from nas.exported.start import start_facts
from nas.model import modules, source
from nas.network_yaml import network_section
from nas.own_block import file_of
from nas.plan import plan
from nas.settings import Data
from nas.store import TrialRecord
from nas.studies import StoredStudy, yaml_text

_LONGEST_NAME = 56      # nas train puts its own word before it
_LEAST_STD = 1e-6       # as nas.train normalises


def export(
    stored: StoredStudy, number: int, folder: Path | None = None, formats: Collection[str] | None = None
) -> Path:
    """Write trial `number` as a folder, check it, and return its path.

    folder: default `export/trial-N` in the study's own. An earlier export there is replaced, once the new one is
    whole and has passed. formats: of `pt2` and `onnx` (which needs the onnx extra); default: all that can be written;
    `checks.json` says what was left out, and why. Raises `NasError` where the trial has no weights, where they or the
    data are not what they were, where a check fails, or where the folder holds anything else.
    """
    wanted = None if formats is None else asked(formats)
    record = exportable(stored, number)
    weights, dataset = weights_of(stored, record), dataset_of(stored.study.data, record)
    target = folder if folder is not None else stored.folder / "export" / f"trial-{number}"
    _own(target, stored.name, number)
    with whole(target, [*FILES, *(file_of(module).name for module in _modules(record))]) as draft:
        facts = _facts(stored, record, dataset, weights)
        _write_all(draft, stored, record, facts, weights)
        left_out = write_formats(draft, load(draft), facts.shape, wanted)
        written = [name for name, file in FILE_OF.items() if (draft / file).exists()]
        write(draft / CARD, card(facts, record, written, _modules(record)))
        checks = check(draft, record, dataset.validation, stored.study.recipe.flip_test, left_out)
        write(draft / CHECKS, text(checks))
    return target


def weights_of(stored: StoredStudy, record: TrialRecord) -> bytes:
    """The weights of an `exportable` trial, safetensors bytes. Raises `NasError` where they are not what they were."""
    assert record.checkpoint is not None, "an exportable trial has weights"
    copy = copy_of(record.checkpoint, stored.study.search.artifacts)
    return read_checkpoint(stored.home / record.checkpoint, record.checkpoint_sha256, copy)


def dataset_of(data: Data, record: TrialRecord) -> Dataset:
    """The data of a trial. Raises `NasError` where `data` are not the images that it was trained on."""
    dataset = load_data(data)
    if dataset.checksum != record.evaluation_key.data_key:
        raise NasError(f"the images of {data.source} are not those that trial {record.number} was "
                       "trained on; put them back, or train it again with nas train")
    return dataset


def _own(target: Path, study: str, number: int) -> None:
    """Refuse to replace the export of another trial. One that cannot be read may be replaced."""
    try:
        there = manifest.read_manifest(target).training
    except NasError:
        return
    if (there.study, there.trial) != (study, number):
        raise NasError(f"{target}: holds trial {there.trial} of {there.study}; choose another folder, or move it away")


def _write_all(draft: Path, stored: StoredStudy, record: TrialRecord, facts: Manifest, weights: bytes) -> None:
    network = plan(record.architecture, facts.shape, len(facts.classes))
    write(draft / WEIGHTS, weights)
    write(draft / ARCHITECTURE, _architecture(stored, record))
    about = f"{record.line}\n\nIt is {_about(stored, record)}. Needs only torch."
    write(draft / CODE, source(network, about))
    write(draft / FACTS, facts.text())
    write(draft / manifest.EXAMPLE, EXAMPLE)
    for module in _modules(record):
        write(draft / file_of(module).name, file_of(module).read_bytes())


def _modules(record: TrialRecord) -> list[str]:
    """Of users' blocks that are torch modules, which model.py imports. They do not depend on the images."""
    return sorted(modules(plan(record.architecture, (3, 64, 64), 2)))


def _architecture(stored: StoredStudy, record: TrialRecord) -> str:
    """The network and its data as a study file. No recipe and no seed: `nas train` trains it in full, by its own."""
    suffix = f"-{record.number}"
    return yaml_text({
        "name": stored.name[: _LONGEST_NAME - len(suffix)] + suffix,
        "about": f"{record.line}; {_about(stored, record)}",
        "network": network_section(record.architecture),
        "data": {"source": stored.study.data.source, **stored.study.data.model_dump(exclude_defaults=True)},
    })


def _start(stored: StoredStudy) -> manifest.Start | None:
    return start_facts(stored.study.recipe.start, stored.study.search.start)


def _about(stored: StoredStudy, record: TrialRecord) -> str:
    """Where the network comes from, in words."""
    start = _start(stored)
    begun = f", begun with the weights {start.weights_sha256[:12]} of {one_line(start.folder)}" if start else ""
    return f"trial {record.number} of study {stored.name}{begun}"


def _facts(stored: StoredStudy, record: TrialRecord, dataset: Dataset, weights: bytes) -> Manifest:
    key, info, recipe = record.evaluation_key, dataset.info, stored.study.recipe.model_dump()
    first = record.trainings[0]     # whose weights they are
    assert first.accuracy is not None, "a COMPLETE trial has an accuracy"
    return Manifest(
        network=manifest.Network(id=record.architecture_id, line=record.line),
        input=manifest.Input(channels=1 if info.channels == 1 else 3, resolution=info.resolution),
        classes=info.classes,
        normalisation=manifest.Normalisation(mean=dataset.mean, std=tuple(max(s, _LEAST_STD) for s in dataset.std)),
        validation=manifest.Validation(accuracy=first.accuracy, loss=first.loss, images=info.n_validation),
        test=None if first.test_accuracy is None or first.tested is None else manifest.Test(
            accuracy=first.test_accuracy, loss=first.test_loss, images=info.n_test, read=first.tested.isoformat()),
        costs=manifest.Costs(params=record.params, macs=record.macs, activations=record.activations,
                             latency_ms=record.latency_ms),
        data=manifest.Data(name=info.name, source=stored.study.data.source, checksum=dataset.checksum,
                           train_images=info.n_train),
        training=manifest.Training(
            study=stored.name, trial=record.number, trained_by=record.trained_by, recipe=recipe, seed=key.seed,
            epochs=record.epochs, seconds=first.seconds, device=record.device, torch=torch.__version__,
            nas=nas.__version__, start=_start(stored)),
        weights_sha256=hashlib.sha256(weights).hexdigest(),
    )
