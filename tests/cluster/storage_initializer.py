"""Entry point of the storage initializer's image: pairs of (source, target folder), as KServe passes them.

The downloading is KServe's own package; only its command line is not part of what PyPI has.
"""

import sys
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Download every source into its folder. Returns 1 on a failed download, 2 on a wrong call."""
    if not arguments or len(arguments) % 2:
        print("usage: storage_initializer SOURCE FOLDER [SOURCE FOLDER ...]", file=sys.stderr)
        return 2
    from kserve_storage import Storage  # type: ignore[import-untyped,import-not-found,unused-ignore]
    from kserve_storage.logging import (  # type: ignore[import-untyped,import-not-found,unused-ignore]
        configure_logging,
        logger,
    )

    configure_logging()
    sources, folders = arguments[0::2], arguments[1::2]
    for folder in folders:
        Path(folder).mkdir(parents=True, exist_ok=True)
    try:
        Storage.download_files(sources, folders)
    except Exception as failure:
        # one sentence in the pod's status beats a trace back
        logger.error("download of %s failed: %s", ", ".join(sources), failure)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
