//! WebDataset archives and parquet tables that do not contain images, or are damaged.

use std::sync::Arc;

use parquet::data_type::{ByteArray, ByteArrayType};
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::case::{Case, case};
use super::sets::{gz, png};

fn tar(entries: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.into_inner().unwrap()
}

/// A table of one row, with these values in columns of bytes or text.
fn table(schema: &str, row: &[&[u8]]) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(&format!("message schema {{ {schema} }}")).unwrap());
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::default()).unwrap();
    if !row.is_empty() {
        let mut group = writer.next_row_group().unwrap();
        for value in row {
            let mut column = group.next_column().unwrap().unwrap();
            let value = ByteArray::from(value.to_vec());
            column.typed::<ByteArrayType>().write_batch(&[value], Some(&[1]), None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.into_inner().unwrap()
}

pub(crate) fn cases() -> Vec<Case> {
    let picture = png(8, 8);
    let image = "optional binary image;";
    let labelled = "optional binary image; optional binary label (UTF8);";
    let good = table(image, &[&picture]);
    let one = |title, name: &str, bytes: Vec<u8>| {
        case(title, &format!("prune good.onnx --criterion l1 --keep-macs 0.7 -o out --data {name}"))
            .with(name, bytes)
    };
    let several = |title, data: &str| {
        let case =
            case(title, &format!("prune good.onnx --criterion l1 --keep-macs 0.7 -o out --data {data}"));
        let case = case.with("a.tar", tar(&[("a.png", &picture)])).with("b.parquet", good.clone());
        case.with("c.txt", "no shard")
    };
    let task = |title, shard: &str, variables: &[(&'static str, &'static str)]| {
        let line = format!("profile good.onnx --data random:4 --allow-random -o out --shard {shard}");
        case(title, &line).under(variables)
    };
    let array = |title, id, [first, last, count]: [&'static str; 3]| {
        let range = [("SLURM_ARRAY_TASK_MIN", first), ("SLURM_ARRAY_TASK_MAX", last)];
        let rest = [("SLURM_ARRAY_TASK_COUNT", count), ("SLURM_ARRAY_TASK_ID", id)];
        task(title, "auto", &[range, rest].concat())
    };
    let classes = |case: Case| case.with("names", b"dog\n".to_vec());
    vec![
        one("a WebDataset that was cut short", "a.tar", tar(&[("a.png", &picture)])[..600].to_vec()),
        one("a WebDataset without pictures", "a.tar", tar(&[("a.txt", b"text"), ("a.cls", b"1")])),
        one(
            "a WebDataset with a label too few",
            "a.tar",
            tar(&[("a.png", &picture), ("a.cls", b"1"), ("b.png", &picture)]),
        ),
        one(
            "a WebDataset with a label that is no class",
            "a.tar",
            tar(&[("a.png", &picture), ("a.cls", b"1"), ("b.png", &picture), ("b.cls", b"cat")]),
        ),
        one("a WebDataset that is compressed", "a.tar.gz", gz(&tar(&[("a.png", &picture)]))),
        one("a table that was cut short", "a.parquet", good[..good.len() / 2].to_vec()),
        one("a table without pictures", "a.parquet", table("optional binary text (UTF8);", &[b"text"])),
        one(
            "a table of two unknown columns",
            "a.parquet",
            table("optional binary left; optional binary right;", &[&picture, &picture]),
        ),
        one("a table without rows", "a.parquet", table(image, &[])),
        classes(
            case(
                "a table with a label that is no class",
                "prune good.onnx --criterion l1 --keep-macs 0.7 -o out --data a.parquet --classes names",
            )
            .with("a.parquet", table(labelled, &[&picture, b"cat"])),
        ),
        several("a pattern that is not closed", "{a,b"),
        several("shards of two formats", "{a.tar,b.parquet}"),
        several("a shard that is a text", "{a.tar,c.txt}"),
        task("a shard of a task that is none", "auto/8", &[]),
        task("a number of shards that is none", "auto/0", &[("JOB_COMPLETION_INDEX", "0")]),
        task("shards of an unknown number", "auto", &[("JOB_COMPLETION_INDEX", "0")]),
        task("a shard of a task beyond them", "auto/2", &[("JOB_COMPLETION_INDEX", "2")]),
        task("a task whose number is none", "auto/2", &[("SLURM_ARRAY_TASK_ID", "one")]),
        task(
            "a task with two numbers",
            "auto/2",
            &[("JOB_COMPLETION_INDEX", "0"), ("SLURM_ARRAY_TASK_ID", "0")],
        ),
        task("a task of an unknown array", "auto", &[("SLURM_ARRAY_TASK_ID", "1")]),
        array("a task of an array with gaps", "3", ["1", "7", "3"]),
    ]
}
