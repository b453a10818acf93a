#!/usr/bin/env python3
"""Compares src/onnx/proto.rs with the messages of the installed onnx package.

Both must contain exactly the same messages and fields, with equal numbers, types, labels and packing: the program would
drop an undeclared field from every model. Exits with 1 and prints one line per difference. The Rust file is an optional
argument.
"""

import re
import sys
from pathlib import Path

import onnx

SCALARS = {1: "double", 2: "float", 3: "int64", 4: "uint64", 5: "int32", 9: "string", 12: "bytes"}
MESSAGE, ENUM = 11, 14
RUST_SCALARS = {
    "double": "f64", "float": "f32", "int64": "i64", "uint64": "u64", "int32": "i32",
    "string": "String", "bytes": "Bytes", "enum": "i32",
}  # fmt: skip


def is_repeated(field):
    # Newer protobuf packages deprecate `label`.
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == 3


def expected_messages(messages):
    """Returns {Rust name of the message: {field: (number, kind, Rust type, label, packed)}} from the onnx package."""
    found = {}
    for message in messages:
        fields = found[rust_name(message)] = {}
        for field in message.fields:
            if field.type == MESSAGE:
                kind, rust = "message", rust_name(field.message_type)
            elif field.type == ENUM:
                kind, rust = f"enum {field.enum_type.name}", "i32"
            else:
                kind = SCALARS[field.type]
                rust = RUST_SCALARS[kind]
            label = "repeated" if is_repeated(field) else "optional"
            packable = label == "repeated" and kind not in ("message", "string", "bytes")
            packed = field.GetOptions().packed if packable else None
            fields[field.name] = (field.number, kind, rust, label, packed)
        found |= expected_messages(message.nested_types)
    return found


def rust_name(message):
    """Returns the Rust name of a message: `TypeProtoTensor` for `onnx.TypeProto.Tensor`."""
    return message.full_name.removeprefix(message.file.package + ".").replace(".", "")


def written_messages(source):
    """Parses the Rust file into the structure of `expected_messages`."""
    found = {}
    for struct in re.finditer(r"^pub struct (\w+) \{\n(.*?)^\}", source, re.M | re.S):
        fields = found[struct[1]] = {}
        for field in re.finditer(r"#\[prost\(([^)]*)\)\]\s*pub (?:r#)?(\w+): ([^\n]+),\n", struct[2]):
            parts = re.sub(r'[\s"]', "", field[1]).split(",")
            options = dict(f"{part}=".split("=")[:2] for part in parts)
            kind = next(iter(options))
            if kind == "enumeration":
                kind = f"enum {options['enumeration']}"
            label = "repeated" if "repeated" in options else "optional"
            container = re.fullmatch(r"(Vec|Option)<(?:Box<)?(\w+)>{1,2}", field[3])
            rust = container[2] if container else field[3]
            if not container or (container[1] == "Vec") != (label == "repeated"):
                label = f"{label} in {field[3]}"
            packed = options["packed"] == "true" if "packed" in options else None
            fields[field[2]] = (int(options["tag"]), kind, rust, label, packed)
        attributes = struct[2].count("#[prost(")
        if attributes != len(fields):
            sys.exit(f"{struct[1]}: {attributes} fields but {len(fields)} could be read; fix this script")
    return found


def expected_enums(file):
    """Returns {enum: {number}} for the enums that fields use."""
    enums = {}

    def walk(messages):
        for message in messages:
            for field in message.fields:
                if field.type == ENUM:
                    enums[field.enum_type.name] = {value.number for value in field.enum_type.values}
            walk(message.nested_types)

    walk(file.message_types_by_name.values())
    return enums


def written_enums(source):
    enums = re.finditer(r"^pub enum (\w+) \{\n(.*?)^\}", source, re.M | re.S)
    return {enum[1]: {int(n) for n in re.findall(r"= (\d+),", enum[2])} for enum in enums}


def main():
    default = Path(__file__).resolve().parent.parent / "src" / "onnx" / "proto.rs"
    source = Path(sys.argv[1] if len(sys.argv) > 1 else default).read_text(encoding="utf-8")
    file = onnx.ModelProto.DESCRIPTOR.file
    want = expected_messages(file.message_types_by_name.values())
    have = written_messages(source)
    wrong = []
    for message in sorted(want.keys() | have.keys()):
        fields, written = want.get(message, {}), have.get(message, {})
        if message not in want or message not in have:
            wrong.append(f"message {message}: {'missing' if message in want else 'not in ONNX'}")
            continue
        for name in sorted(fields.keys() | written.keys()):
            if fields.get(name) != written.get(name):
                wrong.append(f"{message}.{name}: ONNX has {fields.get(name)}, Rust {written.get(name)}")
    for enum, values in expected_enums(file).items():
        if written_enums(source).get(enum) != values:
            wrong.append(f"enum {enum}: ONNX has {values}, Rust {written_enums(source).get(enum)}")
    print("\n".join(wrong) if wrong else f"{len(want)} messages, {sum(map(len, want.values()))} fields agree")
    print(f"onnx {onnx.__version__}, IR version {onnx.IR_VERSION}", file=sys.stderr)
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
