"""A notebook that is run by Jupyter's own client and kernel."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.conftest import FIXTURES, ROOT

SINGLE, DOUBLE = (str(FIXTURES / name / f"{name[:-3]}.h5") for name in ("single-h5", "double-h5"))

CELLS = [
    f"import ckptkit\ncheckpoint = ckptkit.open({SINGLE!r})\ncheckpoint",
    f"ckptkit.diff({SINGLE!r}, {DOUBLE!r})",
    f"ckptkit.plan({SINGLE!r}, {DOUBLE!r})",
    """
import threading, time

with ckptkit.progress_bar() as progress:

    def work():
        for done in range(1, 81):
            progress(done << 20, 80 << 20)
            time.sleep(0.01)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
""",
    f"with ckptkit.progress_bar() as progress:\n    verdict = ckptkit.diff({SINGLE!r}, {DOUBLE!r}, progress=progress).verdict",
    "checkpoint.close()\nverdict",
]


def test_a_notebook_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    nbclient = pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    from nbformat.v4 import new_code_cell, new_notebook

    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTER_DATA_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    notebook = new_notebook(cells=[new_code_cell(source) for source in CELLS])
    client = nbclient.NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    )
    client.execute()

    outputs = [cell.outputs for cell in notebook.cells]
    assert not [output for cell in outputs for output in cell if output.output_type in ("error", "stream")]
    for cell, plain in zip(outputs[:3], ("single.h5   Keras HDF5", "DIFFERENT   4 of 4", "4 of 4 target"), strict=True):
        assert len(cell) == 1
        assert plain in cell[0].data["text/plain"]
        assert "\n" not in cell[0].data["text/plain"]
        assert cell[0].data["text/html"].startswith('<div class="ckptkit">')
    (bar,) = outputs[3]  # one output, whatever number of updates, and its last state
    assert bar.data["text/plain"].startswith("80.0 MiB in ")
    assert outputs[4] == []  # too quick for a bar
    assert outputs[5][0].data["text/plain"] == "'different'"
