"""schemathesis: what the OpenAPI document promises is what a running monitor does, for thousands of odd requests."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.integration.monitor.live import TOKENS, Server, a_record, send

_EXAMPLES = 25
_CONFIG = """
[generation]
max-examples = {examples}
deterministic = true
no-shrink = true

[phases.stateful]
enabled = false

# A schema cannot say that probabilities sum to 1, or that a picture's prediction has to be there.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "400", "401", "403", "404", "409", "422", "429"]
"""


def test_no_server_error_and_nothing_undocumented(tmp_path: Path) -> None:
    """One token may do everything here, so that requests come through to the inside."""
    server = Server(tmp_path, f"sqlite:///{tmp_path}/monitor.db")
    (tmp_path / "tokens").write_text(f"all ingest,feedback,read,operator,drift {TOKENS['trainer']}\n")
    server.start()
    try:
        with server.client("trainer") as client:
            # The id of the document's example: requests for it get to the inside.
            send(client, [a_record(id="0b9c6a34-8d0e-4a5e-9a8e-1f6f5a3c2b10")])
        (tmp_path / "schemathesis.toml").write_text(_CONFIG.format(examples=_EXAMPLES))
        command = [
            str(Path(sys.executable).with_name("schemathesis")),
            f"--config-file={tmp_path}/schemathesis.toml",
            "run",
            f"{server.url}/openapi.json",
            f"--header=Authorization: Bearer {TOKENS['trainer']}",
            "--no-color",
            "--request-timeout=10",
        ]
        found = subprocess.run(command, check=False, capture_output=True, text=True, timeout=110, cwd=tmp_path)
        assert found.returncode == 0, found.stdout[-6000:] + found.stderr[-2000:]
        assert "Traceback" not in server.log()
    finally:
        server.kill()
