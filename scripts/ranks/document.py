"""The document that `--json FILE` asks for: what was measured, on which machine, with which commit."""

import datetime
import json

from . import machine


def write(chosen, schema, **more):
    """Writes the document, if one was asked for."""
    if chosen.json:
        with open(chosen.json, "w") as file:
            file.write(text(head(chosen, schema) | more))


def text(fields):
    """The fields as JSON: each in a line, and of a list of objects each object, so that a changed figure is a changed line."""
    return "{\n" + ",\n".join(f" {json.dumps(name)}: {lines(value)}" for name, value in fields.items()) + "\n}\n"


def lines(value):
    """One value."""
    if isinstance(value, list) and value and all(isinstance(one, dict) for one in value):
        return "[\n" + ",\n".join("  " + json.dumps(one, ensure_ascii=False) for one in value) + "\n ]"
    return json.dumps(value, ensure_ascii=False)


def head(chosen, schema):
    """The fields that all documents have."""
    import torch

    return {
        "schema": schema,
        "machine": machine.facts(chosen.machine),
        "commit": chosen.commit or machine.commit(),
        "taken": datetime.date.today().isoformat(),
        # Before the ranks: `head` is made when they have ended.
        "load_per_core": chosen.load_per_core,
        "ranks": chosen.ranks,
        "torch": torch.__version__,
        "interface": chosen.interface,
        "backend": chosen.backend,
    }
