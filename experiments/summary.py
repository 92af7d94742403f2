"""From the runs of a study to the one JSON that its table and picture are made from."""

from __future__ import annotations

import datetime
import json
import statistics

from experiments.definitions import Form, Study
from experiments.runs import Run
from gxnor.training.result import machine, versions

SAME = ("weights", "bits_per_weight", "train_state_bytes_per_weight", "zero_fraction")  # of every seed, about


def summarise(study: Study, form: Form, quick: bool, runs: list[Run], command: str) -> dict:
    """What is known so far: `complete` says whether every run is in it. Accuracies are shares in [0, 1].

    A row of several candidates is represented by the one with the best mean validation accuracy, `chosen`."""
    rows = [row for point in form.points if (row := _row(study, [run for run in runs if run.point is point]))]
    places = [{key: result[key] for key in ("machine", "versions")} for run in runs if (result := run.result)]
    return {
        "study": study.name, "form": "quick" if quick else "full", "data": form.recipe,
        "title": study.title + form.about, "text": study.text, "settings": form.settings, "command": command,
        **_total(rows, places or [{"machine": machine(), "versions": versions()}], len(runs)),
    }  # fmt: skip


def joined(summary: dict, before: dict, form: Form) -> dict:
    """`summary`, and the rows that it lacks and that `before` has, an earlier summary of this form whose run folders are
    elsewhere. Where the settings of the form or of a row are others by now, they are left out."""
    if before["settings"] != summary["settings"]:
        return summary
    known = {_place(row): row for row in [*before["rows"], *summary["rows"]]}
    rows = [known[place] for point in form.points if (place := _place(vars(point))) in known]
    return {**summary, **_total(rows, [*before["made_on"], *summary["made_on"]], summary["runs_planned"])}


def _place(row: dict) -> str:
    """Of a row, or of a point, among those of its form."""
    return json.dumps([row["row"], row["at"], row["settings"]])


def _total(rows: list[dict], places: list[dict], planned: int) -> dict:
    """The rows, with the chosen ones marked, and what they come to."""
    for row in rows:
        rivals = [other for other in rows if other["row"] == row["row"]]
        row["candidates"] = len(rivals)
        row["chosen"] = row is max(rivals, key=lambda rival: rival["val_mean"])
    seeds = [seed for row in rows for seed in row["seeds"]]
    return {
        "runs": len(seeds), "runs_planned": planned, "complete": len(seeds) == planned,
        "seconds": round(sum(seed["seconds"] for seed in seeds), 1),
        "made_on": [place for i, place in enumerate(places) if place not in places[:i]],
        "date": max((seed["date"] for seed in seeds), default=_now()), "rows": rows,
    }  # fmt: skip


def _row(study: Study, runs: list[Run]) -> dict | None:
    """A point, over its finished seeds."""
    done = [(run, result) for run in runs if (result := run.result)]
    if not done:
        return None
    run, result = done[0]
    test = [result["test_accuracy"] for _, result in done]
    row = {
        "row": run.point.row, "at": run.point.at, "settings": run.point.settings, "command": run.command,
        "epochs": result["epochs"],
        "seeds": [
            {"seed": run.seed, "val_accuracy": result["val_accuracy"], "test_accuracy": result["test_accuracy"],
             "best_epoch": result["best_epoch"], "seconds": result["seconds"], "date": result["date"]}
            for run, result in done
        ],
        "val_mean": statistics.mean(result["val_accuracy"] for _, result in done),
        "test_mean": statistics.mean(test), "test_min": min(test), "test_max": max(test),
        **{key: statistics.mean(result[key] for _, result in done) for key in SAME},
    }  # fmt: skip
    counted = [found for run, _ in done if (found := run.operations)]
    if counted:
        row["operations"] = {
            key: counted[0][key] if counted[0][key] is None or isinstance(counted[0][key], str)
            else statistics.mean(found[key] for found in counted)
            for key in counted[0]
        }  # fmt: skip
    if study.name == "curves":
        histories = [run.history for run, _ in done]
        row["curves"] = {
            key: [
                round(statistics.mean(values), 6)
                for values in zip(*([line[key] for line in history] for history in histories), strict=True)
            ]
            for key in ("train_loss", "val_accuracy")
        }  # fmt: skip
    return row


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
