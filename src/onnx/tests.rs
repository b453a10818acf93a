//! Round trips, damaged and hostile files, every encoding of tensors. No file from elsewhere is needed.

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use tempfile::TempDir;

use super::attrs::{Attrs, node_label, set_int, set_ints};
use super::proto::{AttributeProto, AttributeType, NodeProto, StringStringEntryProto, TensorProto};
use super::tensor::{decode, encode, keep, shape, zero};
use super::*;
use crate::tensor::{DType, Tensor};

fn text(s: &str) -> Option<String> {
    Some(s.to_owned())
}

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto { key: text(key), value: text(value) }
}

fn floats(name: &str, shape: &[usize]) -> TensorProto {
    let count = shape.iter().product::<usize>();
    encode(name, &Tensor::float(shape, (0..count).map(|i| i as f32 - 3.5).collect()))
}

/// A small valid model with an initializer, a constant in an attribute, and one in a subgraph.
fn small() -> ModelProto {
    let constant = |name: &str, tensor: TensorProto| NodeProto {
        op_type: text("Constant"),
        output: vec![name.to_owned()],
        attribute: vec![AttributeProto {
            name: text("value"),
            r#type: Some(AttributeType::Tensor as i32),
            t: Some(Box::new(tensor)),
            ..Default::default()
        }],
        ..Default::default()
    };
    let branch = GraphProto {
        node: vec![constant("inner", floats("in_branch", &[2]))],
        initializer: vec![floats("branch_weight", &[3, 1])],
        ..Default::default()
    };
    let conditional = NodeProto {
        op_type: text("If"),
        input: vec!["c".to_owned()],
        output: vec!["y".to_owned()],
        attribute: vec![AttributeProto {
            name: text("then_branch"),
            r#type: Some(AttributeType::Graph as i32),
            g: Some(Box::new(branch)),
            ..Default::default()
        }],
        ..Default::default()
    };
    ModelProto {
        ir_version: Some(8),
        producer_name: text("test"),
        opset_import: vec![OperatorSetIdProto { domain: text(""), version: Some(17) }],
        graph: Some(GraphProto {
            name: text("g"),
            node: vec![constant("c", floats("in_attribute", &[1])), conditional],
            initializer: vec![floats("w", &[4, 3, 2]), floats("b", &[4])],
            output: vec![ValueInfoProto { name: text("y"), ..Default::default() }],
            ..Default::default()
        }),
        metadata_props: vec![entry("k", "v")],
        ..Default::default()
    }
}

fn parse(proto: &ModelProto) -> Result<Model> {
    Model::from_bytes(proto.encode_to_vec(), Path::new("test.onnx"))
}

/// The error of a model that was changed so that it must not load.
fn refused(change: impl FnOnce(&mut ModelProto)) -> String {
    let mut proto = small();
    change(&mut proto);
    parse(&proto).expect_err("this model must be refused").to_string()
}

fn weight(proto: &mut ModelProto) -> &mut TensorProto {
    &mut proto.graph.as_mut().unwrap().initializer[0]
}

fn files_in(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_saved_model_is_the_loaded_one() {
    let folder = TempDir::new().unwrap();
    let (a, b) = (folder.path().join("a.onnx"), folder.path().join("b.onnx"));
    let bytes = small().encode_to_vec();
    fs::write(&a, &bytes).unwrap();
    let model = Model::load(&a).unwrap();
    model.save(&b).unwrap();
    assert_eq!(fs::read(&b).unwrap(), bytes);
    assert_eq!(model.to_bytes(), bytes);
    assert_eq!(model.opset(), 17);
    assert_eq!(model.bytes, bytes.len() as u64);
    assert_eq!(files_in(folder.path()), ["a.onnx", "b.onnx"], "no temporary file stays");
    let again = Model::load(&b).unwrap();
    assert_eq!((&again.proto, &again.sha256), (&model.proto, &model.sha256));
}

#[test]
fn the_hash_is_sha256_of_the_file() {
    let mut proto = small();
    let one = parse(&proto).unwrap().sha256;
    let expected = Sha256::digest(proto.encode_to_vec());
    assert_eq!(one, expected.iter().map(|b| format!("{b:02x}")).collect::<String>());
    proto.producer_name = text("other");
    assert_ne!(parse(&proto).unwrap().sha256, one);
}

#[test]
fn members_of_a_oneof_keep_protobufs_order() {
    // TypeProto { denotation: "d", optional_type: {} }: field 6, then field 9.
    let written = [0x32, 1, b'd', 0x4a, 0];
    let decoded = TypeProto::decode(&written[..]).unwrap();
    assert!(decoded.optional_type.is_some());
    assert_eq!(decoded.encode_to_vec(), written);
}

#[test]
fn what_is_no_model_is_refused_in_words() {
    let load = |bytes: &[u8]| {
        let bytes = Bytes::copy_from_slice(bytes);
        Model::from_bytes(bytes, Path::new("x.onnx")).expect_err("not a model").to_string()
    };
    for bytes in [&b""[..], b"hello, I am text", b"PK\x03\x04zip", b"<html>", &[0xff; 64], &[0; 64]] {
        let error = load(bytes);
        assert!(error.contains("not an ONNX model") && error.contains("x.onnx"), "{bytes:?}: {error}");
    }
    assert!(load(b"version https://git-lfs.github.com/spec/v1\n").contains("git lfs pull"));
    let whole = small().encode_to_vec();
    assert!(load(&whole[..whole.len() / 2]).contains("not an ONNX model"));
    let missing = Model::load(Path::new("/nowhere/at/all.onnx")).unwrap_err().to_string();
    assert!(missing.contains("cannot read the model") && missing.contains("all.onnx"), "{missing}");
}

#[test]
fn what_a_model_must_have_is_asked_for() {
    assert!(refused(|m| m.graph = None).contains("not an ONNX model"));
    assert!(refused(|m| m.ir_version = None).contains("without an IR version"));
    assert!(refused(|m| m.opset_import.clear()).contains("not an ONNX model"));
    let old = refused(|m| m.opset_import[0].version = Some(6));
    assert!(old.contains("version_converter") && old.contains("got: 6"), "{old}");
    let other = refused(|m| m.opset_import[0].domain = text("com.other"));
    assert!(other.contains("com.other"), "{other}");
    let twice = refused(|m| m.graph.as_mut().unwrap().initializer[1].name = text("w"));
    assert!(twice.contains("initializer \"w\" is defined twice"), "{twice}");
}

#[test]
fn a_tensor_that_claims_what_it_does_not_hold_is_refused() {
    let claims: [&[i64]; 7] = [
        &[5, 3, 2],
        &[3, 3, 2],
        &[-4, -3, 2],
        &[i64::MAX, i64::MAX],
        &[1 << 62, 2, 2],
        &[0, i64::MAX, i64::MAX],
        &[1 << 40],
    ];
    for dims in claims {
        let error = refused(|m| weight(m).dims = dims.to_vec());
        assert!(error.contains("tensor w: "), "{dims:?}: {error}");
    }
    // Nothing held: a product that wraps around to 0, or a 0 that hides it, would look right.
    for dims in [&[1 << 32, 1 << 32][..], &[0, i64::MAX, i64::MAX], &[i64::MAX, 0, i64::MAX]] {
        let empty = Some(Bytes::new());
        let error = refused(|m| {
            *weight(m) = TensorProto { dims: dims.to_vec(), raw_data: empty, ..weight(m).clone() };
        });
        assert!(error.contains("more elements than can be addressed"), "{dims:?}: {error}");
    }
    let deep = refused(|m| {
        let node = &mut m.graph.as_mut().unwrap().node[1];
        node.attribute[0].g.as_mut().unwrap().initializer[0].dims = vec![9];
    });
    assert!(deep.contains("tensor branch_weight: ") && deep.contains("If → y"), "{deep}");
}

#[test]
fn unwritable_paths_leave_nothing() {
    let folder = TempDir::new().unwrap();
    let model = parse(&small()).unwrap();
    let missing = folder.path().join("no/such/folder/a.onnx");
    assert!(model.save(&missing).unwrap_err().to_string().contains("cannot write the model"));
    let taken = folder.path().join("folder.onnx");
    fs::create_dir(&taken).unwrap();
    assert!(model.save(&taken).unwrap_err().to_string().contains("got: a folder"));
    assert_eq!(files_in(folder.path()), ["folder.onnx"]);
    #[cfg(unix)]
    assert!(model.save(Path::new("/dev/null")).is_err());
}

#[cfg(unix)]
#[test]
fn a_saved_file_has_the_permissions_of_any_new_file() {
    use std::os::unix::fs::PermissionsExt;
    let folder = TempDir::new().unwrap();
    let (ours, plain) = (folder.path().join("a.onnx"), folder.path().join("plain"));
    parse(&small()).unwrap().save(&ours).unwrap();
    fs::write(&plain, b"").unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode();
    assert_eq!(mode(&ours), mode(&plain));
}

/// `small`, its weight as external data at `location` with further entries.
fn external(entries: &[(&str, &str)]) -> ModelProto {
    let mut proto = small();
    let w = weight(&mut proto);
    w.raw_data = None;
    w.data_location = Some(proto::DataLocation::External as i32);
    w.external_data = entries.iter().map(|(key, value)| entry(key, value)).collect();
    proto
}

#[test]
fn external_data_makes_a_round_trip() {
    let folder = TempDir::new().unwrap();
    let inside = weight(&mut small()).raw_data.clone().unwrap();
    let mut file = vec![7; 100];
    file.extend_from_slice(&inside);
    fs::write(folder.path().join("w.bin"), &file).unwrap();
    let path = folder.path().join("a.onnx");
    for entries in [
        &[("location", "w.bin"), ("offset", "100"), ("length", "96")][..],
        &[("location", "./w.bin"), ("offset", "100")],
    ] {
        let encoded = external(entries).encode_to_vec();
        fs::write(&path, &encoded).unwrap();
        let mut model = Model::load(&path).unwrap();
        assert_eq!(model.proto, small(), "the rest of the program sees no external data");
        assert_eq!(model.bytes, encoded.len() as u64 + 196);
        assert_eq!(Vec::from_iter(&model.external), ["w"]);

        // Over its own source: the old data file is another one and stays.
        model.save(&path).unwrap();
        assert_eq!(files_in(folder.path()), ["a.onnx", "a.onnx.data", "w.bin"]);
        assert_eq!(fs::read(folder.path().join("a.onnx.data")).unwrap(), inside);
        let mut raw = ModelProto::decode(&fs::read(&path).unwrap()[..]).unwrap();
        assert_eq!(
            weight(&mut raw).external_data,
            [entry("location", "a.onnx.data"), entry("offset", "0"), entry("length", "96")]
        );
        let again = Model::load(&path).unwrap();
        assert_eq!(again.proto, small());

        // Other bytes outside are another model.
        let mut other = inside.to_vec();
        other[0] ^= 1;
        fs::write(folder.path().join("a.onnx.data"), other).unwrap();
        assert_ne!(Model::load(&path).unwrap().sha256, again.sha256);
        model.proto = small();
        model.save(&path).unwrap();
        assert_eq!(Model::load(&path).unwrap().sha256, again.sha256);
    }
}

#[test]
fn a_model_over_the_limit_moves_its_large_tensors_out() {
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("big.onnx");
    let mut proto = small();
    *weight(&mut proto) = floats("w", &[300]);
    proto.graph.as_mut().unwrap().initializer.push(floats("wide", &[100, 200]));
    let model = parse(&proto).unwrap();
    save::save(&model, &path, 4000).unwrap();
    assert!(fs::metadata(&path).unwrap().len() < 1000);
    let raw = ModelProto::decode(&fs::read(&path).unwrap()[..]).unwrap();
    let of = |t: &TensorProto| t.external_data.iter().map(|e| e.value().to_owned()).collect::<Vec<_>>();
    let moved: Vec<_> = raw.graph.as_ref().unwrap().initializer.iter().map(of).collect();
    assert_eq!(moved, [vec!["big.onnx.data", "0", "1200"], vec![], vec!["big.onnx.data", "4096", "80000"]]);
    assert_eq!(Model::load(&path).unwrap().proto, proto);

    let tiny = folder.path().join("tiny.onnx");
    assert!(save::save(&model, &tiny, 100).unwrap_err().to_string().contains("too large"));
    assert_eq!(files_in(folder.path()), ["big.onnx", "big.onnx.data"]);
}

#[test]
fn external_data_stays_in_the_models_folder_and_its_size() {
    let outer = TempDir::new().unwrap();
    fs::write(outer.path().join("secret"), [0; 96]).unwrap();
    let folder = outer.path().join("model");
    fs::create_dir(&folder).unwrap();
    fs::write(folder.join("w.bin"), [0; 96]).unwrap();
    #[cfg(unix)]
    std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
    let path = folder.join("a.onnx");
    let error = |entries: &[(&str, &str)]| {
        Model::from_bytes(external(entries).encode_to_vec(), &path)
            .expect_err("this external data must be refused")
            .to_string()
    };
    let absolute = outer.path().join("secret");
    let mut leaving = vec!["../secret", "x/../../secret", absolute.to_str().unwrap()];
    if cfg!(unix) {
        leaving.push("link");
    }
    for location in leaving {
        let error = error(&[("location", location)]);
        assert!(error.contains("outside the model's folder") && error.contains("tensor w"), "{error}");
    }
    fs::write(folder.join("long.bin"), [0; 97]).unwrap();
    let cases: [(&[(&str, &str)], &str); 10] = [
        (&[("location", "long.bin")], "does not fit its dimensions"),
        (&[("location", "none.bin")], "cannot be read"),
        (&[("location", "")], "not a file"),
        (&[], "no location"),
        (&[("location", "w.bin"), ("offset", "-1")], "offset is not a number"),
        (&[("location", "w.bin"), ("offset", "1")], "does not fit its dimensions"),
        (&[("location", "w.bin"), ("offset", "97")], "beyond the end"),
        (&[("location", "w.bin"), ("offset", "18446744073709551615"), ("length", "96")], "beyond the end"),
        (&[("location", "w.bin"), ("length", "1000000000000")], "beyond the end"),
        (&[("location", "w.bin"), ("length", "95")], "does not fit its dimensions"),
    ];
    for (entries, words) in cases {
        let error = error(entries);
        assert!(error.contains(words) && error.contains("tensor w"), "{entries:?}: {error}");
    }
    assert!(Model::from_bytes(external(&[("location", "w.bin")]).encode_to_vec(), &path).is_ok());
}

/// Encodes four values in every encoding that ONNX has for the type.
fn encodings(code: i32, values: [f64; 4]) -> Vec<TensorProto> {
    let dtype = DType::from_onnx(code).unwrap();
    let raw = encode("t", &Tensor::from_f64(dtype, &[2, 2], &values));
    let mut typed = TensorProto { raw_data: None, ..raw.clone() };
    let bits16 = |v: f64| match dtype {
        DType::F16 => i32::from(half::f16::from_f64(v).to_bits()),
        DType::BF16 => i32::from(half::bf16::from_f64(v).to_bits()),
        _ => v as i32,
    };
    match dtype {
        DType::F32 => typed.float_data = values.map(|v| v as f32).to_vec(),
        DType::F64 => typed.double_data = values.to_vec(),
        DType::I64 => typed.int64_data = values.map(|v| v as i64).to_vec(),
        DType::U32 | DType::U64 => typed.uint64_data = values.map(|v| v as u64).to_vec(),
        _ => typed.int32_data = values.map(bits16).to_vec(),
    }
    vec![raw, typed]
}

fn every_encoding() -> impl Iterator<Item = (TensorProto, [f64; 4])> {
    let cases = [
        (1, [1.5, -2.0, 0.25, 3e30]),
        (10, [1.5, -2.0, 0.25, 65504.0]),
        (11, [1.5, -2.0, 0.25, 3e30]),
        (16, [1.5, -2.0, 0.25, 256.0]),
        (2, [0.0, 1.0, 128.0, 255.0]),
        (3, [0.0, 1.0, -128.0, 127.0]),
        (4, [0.0, 1.0, 32768.0, 65535.0]),
        (5, [0.0, 1.0, -32768.0, 32767.0]),
        (6, [0.0, 1.0, -2147483648.0, 2147483647.0]),
        (7, [0.0, 1.0, -9007199254740992.0, 9007199254740992.0]),
        (12, [0.0, 1.0, 2147483648.0, 4294967295.0]),
        (13, [0.0, 1.0, 2.0, 9007199254740992.0]),
        (9, [0.0, 1.0, 1.0, 0.0]),
    ];
    cases.into_iter().flat_map(|(code, values)| encodings(code, values).into_iter().map(move |t| (t, values)))
}

#[test]
fn every_encoding_decodes_to_its_values() {
    let mut seen = 0;
    for (tensor, values) in every_encoding() {
        let decoded = decode(&tensor).unwrap();
        assert_eq!(decoded.shape, [2, 2]);
        assert_eq!(decoded.dtype.to_onnx(), tensor.data_type());
        let exact: Vec<f64> = match decoded.dtype.is_float() {
            true => values.map(|v| f64::from(v as f32)).to_vec(),
            false => values.to_vec(),
        };
        assert_eq!(decoded.to_f64(), exact, "{tensor:?}");
        // And back into its own type, to the bit.
        let raw = encode("t", &decoded);
        assert_eq!(decode(&raw).unwrap(), decoded);
        assert_eq!(raw.data_type, tensor.data_type);
        seen += 1;
    }
    assert_eq!(seen, 26);
}

#[test]
fn raw_data_is_little_endian_as_the_standard_says() {
    // By hand, so that the encoder is not its own judge: 1.5 in each float type, 258 in int16.
    for (code, raw, value) in [
        (1, &[0, 0, 0xc0, 0x3f][..], 1.5),
        (10, &[0, 0x3e], 1.5),
        (16, &[0xc0, 0x3f], 1.5),
        (11, &[0, 0, 0, 0, 0, 0, 0xf8, 0x3f], 1.5),
        (5, &[2, 1], 258.0),
        (9, &[2], 1.0),
    ] {
        let raw_data = Some(Bytes::copy_from_slice(raw));
        let tensor = TensorProto { data_type: Some(code), raw_data, ..Default::default() };
        assert_eq!(decode(&tensor).unwrap().to_f64(), [value]);
    }
}

#[test]
fn unsupported_types_are_named() {
    let text = TensorProto {
        name: text("labels"),
        dims: vec![1],
        data_type: Some(8),
        string_data: vec![Bytes::from_static(b"cat")],
        ..Default::default()
    };
    let error = decode(&text).unwrap_err().to_string();
    assert!(error.contains("tensor labels") && error.contains("string"), "{error}");
    // Three 4-bit floats take two bytes: counted right, not decoded, not cut.
    let raw_data = Some(Bytes::from_static(&[0x21, 0x03]));
    let floats = TensorProto { dims: vec![3], data_type: Some(23), raw_data, ..Default::default() };
    assert_eq!(shape(&floats).unwrap(), [3]);
    assert!(decode(&floats).unwrap_err().to_string().contains("float4e2m1"));
    assert!(zero(&floats, 0, &[true, false, false]).is_err());
    // Integers of 4 bits, the lower half of each byte first.
    let values = |tensor: &TensorProto| decode(tensor).unwrap().to_f64();
    let raw_data = Some(Bytes::from_static(&[0x2f, 0x03]));
    let nibbles = |code| TensorProto { data_type: Some(code), raw_data: raw_data.clone(), ..floats.clone() };
    assert_eq!((values(&nibbles(21)), values(&nibbles(22))), (vec![15.0, 2.0, 3.0], vec![-1.0, 2.0, 3.0]));
    assert_eq!(values(&zero(&nibbles(22), 0, &[true, false, false]).unwrap()), [0.0, 2.0, 3.0]);
    let huge = encode("u", &Tensor { dtype: DType::U64, ..Tensor::int(&[1], vec![-1]) });
    assert!(decode(&huge).unwrap_err().to_string().contains("exceeds the range of int64"));
}

#[test]
fn cutting_keeps_type_encoding_and_names() {
    for (mut tensor, values) in every_encoding() {
        tensor.doc_string = text("kept");
        tensor.metadata_props = vec![entry("k", "v")];
        let cut = keep(&tensor, &[None, Some(vec![false, true])]).unwrap();
        assert_eq!(cut.dims, [2, 1]);
        let of = |t: &TensorProto| decode(t).unwrap().to_f64();
        assert_eq!(of(&cut), [of(&tensor)[1], of(&tensor)[3]], "{values:?}");
        assert_eq!(cut.raw_data.is_some(), tensor.raw_data.is_some());
        assert_eq!((cut.name(), cut.doc_string(), cut.metadata_props.len()), ("t", "kept", 1));
        let zeroed = zero(&tensor, 0, &[true, false]).unwrap();
        assert_eq!(of(&zeroed), [0.0, 0.0, of(&tensor)[2], of(&tensor)[3]]);
        assert_eq!(zeroed.raw_data.is_some(), tensor.raw_data.is_some());
        assert_eq!(zeroed.dims, tensor.dims);
    }
}

#[test]
fn masks_that_do_not_fit_are_refused() {
    let tensor = floats("w", &[2, 3]);
    for masks in [vec![], vec![None], vec![None; 3], vec![None, Some(vec![true; 2])]] {
        assert!(keep(&tensor, &masks).unwrap_err().to_string().contains("tensor w"));
    }
    assert!(zero(&tensor, 2, &[]).is_err());
    assert!(zero(&tensor, 1, &[true; 2]).is_err());
    let scalar = floats("s", &[]);
    assert_eq!(keep(&scalar, &[]).unwrap(), scalar);
}

proptest! {
    #[test]
    fn keep_takes_what_its_definition_says(
        masks in prop::collection::vec(prop::collection::vec(any::<bool>(), 0..4), 0..4),
        all in prop::collection::vec(any::<bool>(), 4),
    ) {
        let dims: Vec<usize> = masks.iter().map(Vec::len).collect();
        let tensor = floats("w", &dims);
        let masks: Vec<_> = masks.into_iter().zip(all).map(|(mask, all)| (!all).then_some(mask)).collect();
        // The definition: element `i` stays when each of its indices stays.
        let stays = |mut i: usize| dims.iter().zip(&masks).rev().all(|(&d, mask)| {
            let index = i % d;
            i /= d;
            mask.as_ref().is_none_or(|mask| mask[index])
        });
        let values = decode(&tensor).unwrap().to_f64();
        let expected: Vec<f64> = (0..values.len()).filter(|&i| stays(i)).map(|i| values[i]).collect();
        let cut = keep(&tensor, &masks).unwrap();
        prop_assert_eq!(decode(&cut).unwrap().to_f64(), expected);
    }

    #[test]
    fn damaged_bytes_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        end in any::<prop::sample::Index>(),
        truncate in any::<bool>(),
    ) {
        let mut bytes = external(&[("location", "w.bin")]).encode_to_vec();
        for (place, byte) in changes {
            *place.get_mut(&mut bytes) = byte;
        }
        if truncate {
            bytes.truncate(end.index(bytes.len()));
        }
        let folder = TempDir::new().unwrap();
        fs::write(folder.path().join("w.bin"), [0; 96]).unwrap();
        if let Ok(mut model) = Model::from_bytes(bytes, &folder.path().join("a.onnx")) {
            // A model that loads must be usable.
            visit_tensors(&mut model.proto.clone(), &mut |tensor| {
                let _ = decode(tensor);
                let _ = keep(tensor, &vec![None; tensor.dims.len()]);
                Ok(())
            }).unwrap();
            model.graph_mut().name = None;
            model.save(&folder.path().join("b.onnx")).unwrap();
        }
    }
}

#[test]
fn attributes_are_read_with_their_types() {
    let typed = |name: &str, kind: AttributeType| AttributeProto {
        name: text(name),
        r#type: Some(kind as i32),
        ..Default::default()
    };
    let mut node = NodeProto {
        op_type: text("Conv"),
        output: vec!["y".to_owned()],
        attribute: vec![
            AttributeProto { i: Some(3), ..typed("group", AttributeType::Int) },
            AttributeProto { ints: vec![1, 2], ..typed("pads", AttributeType::Ints) },
            AttributeProto { f: Some(0.5), ..typed("alpha", AttributeType::Float) },
            AttributeProto {
                s: Some(Bytes::from_static(b"SAME")),
                ..typed("auto_pad", AttributeType::String)
            },
            AttributeProto { s: Some(Bytes::from_static(b"\xff")), ..typed("bad", AttributeType::String) },
            AttributeProto { i: Some(7), name: text("untyped"), ..Default::default() },
            AttributeProto { t: Some(Box::new(floats("", &[2]))), ..typed("value", AttributeType::Tensor) },
            AttributeProto { ref_attr_name: text("outer"), ..typed("ref", AttributeType::Int) },
            typed("empty", AttributeType::Ints),
            typed("valueless", AttributeType::Int),
        ],
        ..Default::default()
    };
    let attrs = Attrs::new(&node);
    assert_eq!(attrs.int("group").unwrap(), Some(3));
    assert_eq!(attrs.int("none").unwrap(), None);
    assert_eq!(attrs.int_or("none", 1).unwrap(), 1);
    assert_eq!(attrs.int("untyped").unwrap(), Some(7));
    assert_eq!(attrs.ints("pads").unwrap(), Some(vec![1, 2]));
    assert_eq!(attrs.ints("empty").unwrap(), Some(vec![]));
    assert_eq!(attrs.float_or("alpha", 0.0).unwrap(), 0.5);
    assert_eq!(attrs.string("auto_pad").unwrap().as_deref(), Some("SAME"));
    assert_eq!(attrs.tensor("value").unwrap().unwrap().to_f64(), [-3.5, -2.5]);
    for error in [attrs.ints("group").unwrap_err(), attrs.floats("group").unwrap_err()] {
        let error = error.to_string();
        assert!(error.contains("attribute group") && error.contains("Conv → y"), "{error}");
        assert!(error.contains("got: int"), "{error}");
    }
    for name in ["ref", "valueless", "pads"] {
        assert!(attrs.int(name).is_err(), "{name}");
    }
    assert!(attrs.string("bad").is_err());

    set_int(&mut node, "group", 5);
    set_ints(&mut node, "group2", &[4, 4]);
    set_ints(&mut node, "untyped", &[9]);
    let attrs = Attrs::new(&node);
    assert_eq!(attrs.int("group").unwrap(), Some(5));
    assert_eq!(attrs.ints("group2").unwrap(), Some(vec![4, 4]));
    assert_eq!(attrs.ints("untyped").unwrap(), Some(vec![9]));
    assert_eq!(attrs.names().filter(|&name| name == "untyped").count(), 1);
    assert_eq!(node_label(&NodeProto { name: text("c1"), ..node }), "c1");
}
