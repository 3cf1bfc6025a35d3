"""The records as JSON Schema (draft 7), for editors.

A key's description is what its record's docstring says after `key:`; text before the first of
them describes the record. `source` and `description` mean the same in all records: `Record`.
"""

from __future__ import annotations

import inspect
import json
import re
from fractions import Fraction
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from accelsim.spec.load import RECORDS
from accelsim.spec.records import Record

DIALECT = "http://json-schema.org/draft-07/schema#"


def schema(kind: str) -> dict[str, Any]:
    """What a file of `kind` (a key of RECORDS) may hold, but for what its names refer to."""
    made = RECORDS[kind].model_json_schema(
        schema_generator=_Generator, ref_template="#/definitions/{model}"
    )
    definitions = made.pop("$defs", {})
    return {"$schema": DIALECT, "title": f"accelsim {kind}", **made, "definitions": definitions}


def text(kind: str) -> str:
    """The schema of `kind` as it is written to a file."""
    return json.dumps(schema(kind), indent=1, ensure_ascii=False) + "\n"


def about(record: type[Record]) -> tuple[str, dict[str, str]]:
    """What the docstrings of a record say of it, and of its keys."""
    own, keys = _parts(record, record)
    return own, {**_parts(Record, record)[1], **keys}


def _parts(documented: type[Record], record: type[Record]) -> tuple[str, dict[str, str]]:
    words = " ".join((inspect.getdoc(documented) or "").split())
    key = "|".join(map(re.escape, record.model_fields))
    own, *rest = re.split(rf"(?:^|(?<=[.;] ))((?:{key})(?:, (?:{key}))*): ", words)
    found = {}
    for names, said in zip(rest[::2], rest[1::2], strict=True):
        said = said.strip(" ;.")
        for name in names.split(", "):
            found[name] = said[:1].upper() + said[1:] + "."
    return own.strip(), found


class _Generator(GenerateJsonSchema):
    """Described by docstrings; without titles, which would only repeat the keys."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
        made = super().model_schema(schema)
        made.pop("title")
        made["description"], keys = about(schema["cls"])
        for name, value in made["properties"].items():
            default = schema["cls"].model_fields[name].default
            if default is None or default == "" or isinstance(default, Fraction):
                value.pop("default", None)  # an editor would insert it, and not as it is written
            expected = value.get("description", "")
            value["description"] = " ".join(filter(None, (keys.get(name), expected)))
        return made

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        """Every key has to fit; the library's own schema lets those pass that do not.

        Not by `propertyNames`: editors would hold the `<<` of a YAML merge against it, too.
        """
        keys = self.generate_inner(schema["keys_schema"])
        values = self.generate_inner(schema["values_schema"])
        return {
            "type": "object",
            "patternProperties": {keys["pattern"]: values},
            "additionalProperties": False,
        }
