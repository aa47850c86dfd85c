"""From a run folder to a version folder: weights, configuration, model card, provenance, archive, manifest.

Nothing in it depends on the clock or on this machine, so that packaging one run twice gives one version.
"""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

from model_archiver.model_archiver_config import ModelArchiverConfig
from model_archiver.model_packaging_utils import ModelExportUtils
from pydantic import ValidationError

from puzzlenet.config import ModelConfig, Serving, read_config
from puzzlenet.errors import BadVersionError, PuzzleNetError
from puzzlenet.files import canonical_json, new_folder, pretty_json
from puzzlenet.manifest import MANIFEST, Version, build_manifest, check_digest, verify
from puzzlenet.reference import REFERENCE, reference_for
from puzzlenet.signing import sign
from puzzlenet.weights import load_network

ARCHIVE = "puzzlenet.mar"
_ENTRY_FILE = "puzzlenet_entry.py"
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip file can hold

# The archive's handler is this line; the code itself comes from the image, where it was built and scanned.
_ENTRY = '''"""Entry point of a packaged PuzzleNet: the handler is part of the image, not of the model."""

from puzzlenet.handler import handle

__all__ = ["handle"]
'''

_INTENDED_USE = (
    "Classifies one photograph of one jigsaw piece as good or as one of the defects listed under classes. "
    "It has no class for pictures that show something else, and says nothing about lines it was not trained on."
)


def package(
    run: Path,
    target: Path,
    *,
    accept: tuple[str, ...] | None = None,
    views: int | None = None,
    parent: str | None = None,
    evaluations: tuple[Path, ...] = (),
    sign_key: Path | None = None,
    made_by: dict[str, str] | None = None,
) -> Version:
    """Write a version folder and return it verified. Raises BadVersionError for a run that is incomplete.

    ``made_by`` names the retraining run and its trigger. With a key the folder is signed; the signature is not part
    of the digest.
    """
    config = _with_serving(read_config(run / "config.json"), accept, views)
    training = _read_json(run / "training.json")
    load_network(run, config)  # a version that cannot be loaded is not written
    reference = reference_for(run, config)
    reports = [_read_json(path) for path in evaluations]
    if parent is not None:
        check_digest(parent)
    with new_folder(target) as work:
        (work / "model.safetensors").write_bytes((run / "model.safetensors").read_bytes())
        (work / "config.json").write_bytes(config.to_json())
        (work / "card.json").write_bytes(pretty_json(_card(config, training, reports)))
        (work / "provenance.json").write_bytes(pretty_json(_provenance(training, parent, made_by)))
        (work / REFERENCE).write_bytes(reference)
        (work / ARCHIVE).write_bytes(_archive(work))
        (work / MANIFEST).write_bytes(build_manifest(work).to_bytes())
        if sign_key is not None:
            sign(work, sign_key)
    return verify(target)


def _with_serving(config: ModelConfig, accept: tuple[str, ...] | None, views: int | None) -> ModelConfig:
    wanted = config.serving.model_dump()
    if accept is not None:
        wanted["accept"] = accept
    if views is not None:
        wanted["views"] = views
    try:
        return config.model_copy(update={"serving": Serving.model_validate(wanted)})
    except ValidationError as exc:
        reasons = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in exc.errors())
        raise PuzzleNetError(f"--accept or --views: {reasons}") from exc


def _card(config: ModelConfig, training: dict[str, Any], reports: list[dict[str, Any]]) -> dict[str, Any]:
    """The model card: what it is for, how good it was measured to be, and where it should not be used."""
    return {
        "schema": 1,
        "name": "PuzzleNet",
        "intended_use": _INTENDED_USE,
        "classes": list(config.classes),
        "input": f"PNG or JPEG, scaled to {config.image_size} × {config.image_size} pixels",
        "accepts": list(config.serving.accept),
        "views": config.serving.views,
        "network_parameters": training.get("network_parameters"),
        "trained_on": training.get("dataset"),
        "validation": training.get("validation"),
        "temperature": config.temperature,
        "evaluations": reports,
    }


def _provenance(training: dict[str, Any], parent: str | None, made_by: dict[str, str] | None) -> dict[str, Any]:
    """What made this version: code, data, parameters, seed and the version it was trained after."""
    keys = ("dataset", "parameters", "workers", "code", "packages", "epochs", "best_epoch")
    return {"schema": 1, "parent": parent, "run": made_by, **{key: training.get(key) for key in keys}}


def _archive(work: Path) -> bytes:
    """The TorchServe archive of the files in ``work``, with every trace of the clock removed.

    The manifest is torch-model-archiver's own. Its archiving step is not used: it goes through one fixed folder
    of the machine's temporary directory, which it deletes first, so that two runs at a time would mix.
    """
    described = json.loads(
        ModelExportUtils.generate_manifest_json(
            ModelArchiverConfig(model_name="puzzlenet", handler=_ENTRY_FILE, version="1.0")
        )
    )
    described["createdOn"] = "01/01/1980 00:00:00"
    files = {
        "MAR-INF/MANIFEST.json": canonical_json(described),
        _ENTRY_FILE: _ENTRY.encode(),
        "config.json": (work / "config.json").read_bytes(),
        "model.safetensors": (work / "model.safetensors").read_bytes(),
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(files.items()):
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.external_attr = 0o644 << 16
            info.create_system = 3
            archive.writestr(info, data)
    return out.getvalue()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except FileNotFoundError as exc:
        raise BadVersionError(f"{path} is missing: name a folder that `puzzlenet train` wrote, or a report") from exc
    except (ValueError, OSError) as exc:
        raise BadVersionError(f"{path} is not readable JSON: {exc}") from exc
    if not isinstance(value, dict):
        raise BadVersionError(f"{path} is not a JSON object")
    return value
