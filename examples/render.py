"""Run the notebooks of this folder, each in a process and a folder of its own, and keep what their cells show.

python examples/render.py                          # all of them
python examples/render.py examples/1_segment_and_measure.ipynb

An error or a warning in a cell ends it. Needs IPython (`pip install ipython`), but no Jupyter.
"""

import argparse
import base64
import json
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent

Outputs = list[dict[str, Any]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="those to render; none: all")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        print(json.dumps(run_here(asked.notebooks[0])), file=sys.__stdout__)
        return
    for path in asked.notebooks or sorted(HERE.glob("*.ipynb")):
        print(path.name, flush=True)
        path.write_text(as_text(rendered(path)), encoding="utf-8")


def rendered(path: Path) -> dict[str, Any]:
    """Return a notebook with what its cells showed, run on a copy of this folder."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place, "examples")
        shutil.copytree(HERE, copy, ignore=shutil.ignore_patterns("out", "__pycache__"))
        shutil.copyfile(path, copy / path.name)
        command = [sys.executable, str(copy / "render.py"), "--inside", str(copy / path.name)]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path)), "IPYTHONDIR": place}
        environment["PYTHONDONTWRITEBYTECODE"] = "1"
        environment["MPLBACKEND"] = "module://matplotlib_inline.backend_inline"
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{path.name} failed:\n{done.stderr}")
    shown = iter(json.loads(done.stdout))
    for number, cell in enumerate((cell for cell in notebook["cells"] if cell["cell_type"] == "code"), start=1):
        cell["execution_count"], cell["outputs"] = number, next(shown)
    return notebook


def as_text(notebook: dict[str, Any]) -> str:
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


def run_here(path: Path) -> list[Outputs]:
    """Run all cells in this process; return what each showed, as a notebook's file holds it."""
    from IPython.core.displayhook import DisplayHook
    from IPython.core.displaypub import DisplayPublisher
    from IPython.core.interactiveshell import InteractiveShell

    outputs: Outputs = []

    class Published(DisplayPublisher):
        def publish(self, data: Any, metadata: Any = None, *, transient: Any = None, update: bool = False, **_: Any):
            add_display(outputs, data, metadata or {}, (transient or {}).get("display_id"), update)

        def clear_output(self, wait: bool = False) -> None:
            outputs.clear()

    class Returned(DisplayHook):
        def write_output_prompt(self) -> None:
            pass

        def write_format_data(self, format_dict: Any, md_dict: Any = None) -> None:
            outputs.append(
                {
                    "output_type": "execute_result",
                    "execution_count": shell.execution_count,
                    "data": plain(format_dict),
                    "metadata": md_dict or {},
                }
            )

    shell = InteractiveShell.instance(display_pub_class=Published, displayhook_class=Returned)
    shell.history_manager.enabled = False
    warnings.simplefilter("error")
    sys.stdout, sys.stderr = Stream("stdout", outputs), Stream("stderr", outputs)
    cells = [cell for cell in json.loads(path.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]
    shown = []
    for cell in cells:
        outputs.clear()
        done = shell.run_cell("".join(cell["source"]), store_history=True)
        if not done.success:
            told = "".join("".join(output.get("text", "")) for output in outputs)
            print(f"in the cell\n{''.join(cell['source'])}\n{told}", file=sys.__stderr__)
            raise SystemExit(1)
        shown.append([without_id(output) for output in outputs])
    return shown


class Stream:
    """Where a cell prints to."""

    def __init__(self, name: str, outputs: Outputs) -> None:
        self.name, self.outputs = name, outputs

    def write(self, text: str) -> int:
        last = self.outputs[-1] if self.outputs else {}
        if last.get("name") == self.name:
            last["text"] = lines("".join(last["text"]) + text)
        elif text:
            self.outputs.append({"output_type": "stream", "name": self.name, "text": lines(text)})
        return len(text)

    def flush(self) -> None:
        pass

    def isatty(self) -> bool:
        return False


def add_display(outputs: Outputs, data: Any, metadata: Any, display_id: str | None, update: bool) -> None:
    """Show something new, or something else in its place."""
    for output in outputs:
        if update and output.get("display_id") == display_id:
            output["data"], output["metadata"] = plain(data), metadata
            return
    outputs.append({"output_type": "display_data", "data": plain(data), "metadata": metadata, "display_id": display_id})


def without_id(output: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in output.items() if name != "display_id"}


def plain(data: dict[str, Any]) -> dict[str, Any]:
    """Return what JSON can hold: pictures as base64, text in lines."""
    return {
        kind: base64.b64encode(value).decode() if isinstance(value, bytes) else lines(value)
        for kind, value in data.items()
    }


def lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)


if __name__ == "__main__":
    main()
