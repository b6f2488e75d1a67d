"""Makes examples of files as `homeport.backends.tuning` does, without a vocabulary: `fake_preparer.py FOLDER`.

A line is an example whose tokens are its bytes. A line `bad` is wrong, and one that begins with `warn` is warned of.
It imports nothing of ours: it begins in a moment, and says what the files are.
"""

import json
import sys
from pathlib import Path
from typing import Any

FOLDER = Path(sys.argv[1])


def report(name: str) -> dict[str, Any]:
    found: dict[str, Any] = {"lines": 0, "examples": 0, "tokens": 0, "wrong": 0, "errors": [], "warnings": []}
    with (FOLDER / f"{name}.jsonl").open("w") as file:
        for number, line in enumerate((FOLDER / f"{name}.raw.jsonl").read_bytes().splitlines(), 1):
            found["lines"] += 1
            if line == b"bad":
                found["wrong"] += 1
                found["errors"].append({"message": "it is bad", "line": number})
                continue
            if line.startswith(b"warn"):
                found["warnings"].append(f"Line {number} is odd.")
            file.write(json.dumps({"tokens": [*line], "learnt": [[1, len(line)]]}) + "\n")
            found["examples"] += 1
            found["tokens"] += len(line)
    return found


if __name__ == "__main__":
    told = json.loads((FOLDER / "prepare.json").read_bytes())
    assert Path(told["base"]).is_file()
    assert told["max_length"] == 512  # the model's context
    made = {"training": report("training")}
    if (FOLDER / "validation.raw.jsonl").exists():
        made["validation"] = report("validation")
    (FOLDER / "prepared.json").write_text(json.dumps(made))
