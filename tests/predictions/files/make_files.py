"""Write the files in this folder by the programs they come from.

In an environment of its own: ``pip install inspect-ai lmms-eval megadetector-utils`` (written by 0.3.285,
0.7.3 and 10.0.28), then ``python make_files.py`` here. The ``events`` of Inspect
are left out, which nobody reads.
"""

import json
import tempfile
from pathlib import Path

import tiktoken


class Words:
    """Counts tokens: the vocabulary that Inspect's mock model counts with would be downloaded."""

    def encode(self, text, **_):
        return text.split()


tiktoken.get_encoding = lambda _name: Words()

from inspect_ai import Task, eval  # noqa: A004, E402
from inspect_ai.dataset import Sample  # noqa: E402
from inspect_ai.model import ModelOutput, get_model  # noqa: E402
from inspect_ai.scorer import choice, includes  # noqa: E402
from inspect_ai.solver import generate, multiple_choice  # noqa: E402
from lmms_eval.loggers.evaluation_tracker import EvaluationTracker  # noqa: E402
from megadetector.postprocessing.validate_batch_results import (  # noqa: E402
    ValidateBatchResultsOptions,
    validate_batch_results,
)

HERE = Path(__file__).parent
NAMES = ["fox", "hare", "deer", "boar"]
TRUE = [("site1/a.jpg", "fox"), ("site1/b.jpg", "hare"), ("site1/c.jpg", "deer"), ("site1/d.jpg", "boar")]
LETTERS, TEXTS = "ABAD", ["fox", "Hare.", "a fox", "boar"]


def write_inspect(name, task, answers):
    outputs = [ModelOutput.from_content("mockllm/model", text) for text in answers]
    model = get_model("mockllm/model", custom_outputs=outputs)
    with tempfile.TemporaryDirectory() as folder:
        eval(task, model=model, log_dir=folder, log_format="json", display="none", max_samples=1)
        (file,) = Path(folder).glob("*.json")
        log = json.loads(file.read_text())
    for sample in log["samples"]:
        sample.pop("events")
    (HERE / name).write_text(json.dumps(log, indent=1))


asked = [
    Sample(input="What is it?", choices=NAMES, target="ABCD"[NAMES.index(true)], metadata={"path": path})
    for path, true in TRUE
]
write_inspect(
    "inspect-choice.json",
    Task(dataset=asked, solver=multiple_choice(), scorer=choice(), name="animals"),
    [f"ANSWER: {letter}" for letter in LETTERS],
)
free = [Sample(input="What is it?", target=true, id=path) for path, true in TRUE]
write_inspect(
    "inspect-text.json", Task(dataset=free, solver=generate(), scorer=includes(), name="free"), TEXTS
)

with tempfile.TemporaryDirectory() as folder:
    tracker = EvaluationTracker(output_path=folder)
    tracker.general_config_tracker.model_name_sanitized, tracker.date_id = "mine", "1"
    about = {"doc_hash": "", "prompt_hash": "", "target_hash": "", "doc": {}, "arguments": [["What is it?"]]}
    samples = [
        {"doc_id": number, "target": true, "resps": [[text]], "filtered_resps": [text], **about}
        for number, ((_, true), text) in enumerate(zip(TRUE, TEXTS, strict=True))
    ]
    tracker.save_results_samples("animals", samples)
    (file,) = Path(folder).rglob("*.jsonl")
    (HERE / "lmms-eval.jsonl").write_text(file.read_text())

box = [0.1, 0.1, 0.5, 0.5]
animal = {"category": "1", "bbox": box}
images = [
    {
        "file": "site1/a.jpg",
        "detections": [{**animal, "conf": 0.94, "classifications": [["0", 0.9], ["1", 0.1]]}],
    },
    {
        "file": "site1/b.jpg",
        "detections": [
            {"category": "2", "bbox": box, "conf": 0.22},
            {**animal, "conf": 0.31, "classifications": [["1", 0.6]]},
        ],
    },
    {"file": "site1/c.jpg", "detections": [{**animal, "conf": 0.12}]},
    {"file": "site1/d.jpg", "detections": []},
    {"file": "site2/a.jpg", "detections": [{"category": "2", "bbox": box, "conf": 0.8}]},
    {"file": "site2/b.jpg", "detections": None, "failure": "Failure image access"},
]
results = {
    "info": {"format_version": "1.5", "detector": "md_v5a.0.0.pt", "detector_metadata": {}},
    "detection_categories": {"1": "animal", "2": "person", "3": "vehicle"},
    "classification_categories": dict(zip("0123", NAMES, strict=True)),
    "images": images,
}
(HERE / "megadetector.json").write_text(json.dumps(results, indent=1))
options = ValidateBatchResultsOptions()
options.check_image_existence = False
assert not validate_batch_results(str(HERE / "megadetector.json"), options)["validation_results"]["errors"]
