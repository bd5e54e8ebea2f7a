#!/usr/bin/env python3
"""A run's event files, read by PyPI's tensorboard: everything of metrics.jsonl is there, each step once, also after a
resume, for who reads the files afterwards and for who reads along.

Usage: tensorboard_test.py ROSA MODEL_FOLDER
"""
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy
from tensorboard.backend.event_processing import event_accumulator
from tensorboard.backend.event_processing.event_file_inspector import get_inspection_units
from tensorboard.plugins.hparams import plugin_data_pb2
from tensorboard.plugins.scalar import metadata as scalar_metadata

NUM_STEPS = 8


def train(rosa, model, folder):
    config = folder / "run.yaml"
    config.write_text(f"""
data: {{kind: phrases, sequence_length: 24, min_phrase_length: 3, max_phrase_length: 4}}
evaluation: {{every: 2, num_sequences: 2}}
logging: {{every: 1, tensorboard: true}}
model: {{folder: {model}}}
student: {{sliding_window: 6}}
adapter: {{num_heads: 4, query_key_bits: 4, value_bits: 4}}
checkpoint: {{every: 2, keep_last: 0}}
train: {{num_steps: {NUM_STEPS}, micro_batches: 4}}
run: {{folder: "{folder}/run", seed: 3}}
""")
    subprocess.run([rosa, "train", config], check=True, capture_output=True, text=True, timeout=300)
    return folder / "run"


def accumulator(run):
    everything = {name: 0 for name in event_accumulator.DEFAULT_SIZE_GUIDANCE}
    return event_accumulator.EventAccumulator(str(run / "tensorboard"), size_guidance=everything)


def scalars_of_metrics(run):
    """{tag: [(step, value)]} of what metrics.jsonl says."""
    found = {}

    def add(prefix, step, numbers):
        for name, value in numbers.items():
            if isinstance(value, (int, float)) and name not in ("step", "layer"):
                found.setdefault(f"{prefix}/{name}", []).append((step, value))

    for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()):
        add(line["kind"], line["step"], line)
        for layer in line.get("layers", []):
            add(f"layer_{layer['layer']}", line["step"], layer)
    return found


def check(events, run):
    expected = scalars_of_metrics(run)
    assert len(expected) > 30, sorted(expected)
    assert sorted(events.Tags()["scalars"]) == sorted(expected)
    for tag, points in expected.items():
        found = [(event.step, event.value) for event in events.Scalars(tag)]
        assert [step for step, _ in found] == [step for step, _ in points], (tag, found)
        assert numpy.array_equal(numpy.float32([value for _, value in found]), numpy.float32([value for _, value in points])), tag
        times = [event.wall_time for event in events.Scalars(tag)]
        assert times == sorted(times) and times[0] > 1e9, tag
    assert [event.step for event in events.Scalars("step/loss")] == list(range(NUM_STEPS))
    assert [event.step for event in events.Scalars("evaluation/ce")] == [2, 4, 6, 8]
    description = events.SummaryMetadata("step/loss").summary_description
    assert "distillation" in description and "nats a token" in description, description
    assert "step/loss" in events.PluginTagToContent(scalar_metadata.PLUGIN_NAME)


def check_histograms(events, run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    lines = [line for line in lines if line["kind"] == "step"]
    for number, layer in enumerate(lines[0]["layers"]):
        histograms = events.Histograms(f"layer_{layer['layer']}/match_lengths")
        assert [event.step for event in histograms] == list(range(NUM_STEPS))
        for line, event in zip(lines, histograms):
            counts = line["layers"][number]["match_lengths"]
            assert event.histogram_value.bucket == counts
            assert event.histogram_value.num == sum(counts)
            assert event.histogram_value.max == line["layers"][number]["max_match_length"]


def check_texts_and_hyperparameters(events, run):
    text = events.Tensors("configuration")[-1].tensor_proto.string_val[0].decode()
    assert text == (run / "config.yaml").read_text()
    content = events.PluginTagToContent("hparams")["_hparams_/session_start_info"]
    values = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info.hparams
    assert values["train.num_steps"].number_value == NUM_STEPS
    assert values["run.seed"].number_value == 3
    assert values["adapter.bias"].WhichOneof("kind") == "bool_value"
    assert values["adapter.estimator"].string_value
    assert "logging.every" not in values and "compute.automaton_threads" not in values, "only what decides"


def main(rosa, model):
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        run = train(rosa, model, folder)
        reads_along = accumulator(run)
        reads_along.Reload()
        check(reads_along, run)
        check_histograms(reads_along, run)
        check_texts_and_hyperparameters(reads_along, run)
        for last in (4, 3, 6):  # the checkpoint to go on from, again and again: steps come twice
            for step in range(last + 1, NUM_STEPS + 1):
                shutil.rmtree(run / "checkpoints" / f"step_{step:08d}", ignore_errors=True)
            train(rosa, model, folder)
            afterwards = accumulator(run)
            afterwards.Reload()
            reads_along.Reload()
            for events in (afterwards, reads_along):
                check(events, run)
                check_histograms(events, run)
                check_texts_and_hyperparameters(events, run)
        assert len(list((run / "tensorboard").iterdir())) > 1
        assert get_inspection_units(str(run / "tensorboard")), "tensorboard --inspect finds the files"
    print("event files: read by tensorboard, before and after three resumes")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2])
