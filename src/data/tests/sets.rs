//! Tests of labels, WebDataset archives and parquet tables.

use std::sync::Arc;

use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;

use super::*;

/// The input of a network of 1×1×2 pictures.
const SMALL: [Option<usize>; 4] = [None, Some(1), Some(1), Some(2)];

/// A .png of two pixels, `level` and `level` + 1.
fn png(level: u8) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = GrayImage::from_raw(2, 1, vec![level, level + 1]).unwrap();
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn write_tar(path: &Path, entries: &[(&str, &[u8])]) {
    let mut archive = tar::Builder::new(fs::File::create(path).unwrap());
    for (name, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        archive.append_data(&mut header, name, *content).unwrap();
    }
    archive.finish().unwrap();
}

/// Writes a table of pictures (`None` for a missing one) and labels in row groups of `rows`, with a row a page.
fn write_table(path: &Path, schema: &str, pictures: &[Option<Vec<u8>>], labels: Option<&[i64]>, rows: usize) {
    let most = if schema.contains("group") { 2 } else { 1 };
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder()
        .set_compression(::parquet::basic::Compression::SNAPPY)
        .set_dictionary_enabled(false)
        .set_data_page_row_count_limit(1)
        .set_write_batch_size(1)
        .build();
    let file = fs::File::create(path).unwrap();
    let mut writer = SerializedFileWriter::new(file, schema, Arc::new(properties)).unwrap();
    for start in (0..pictures.len()).step_by(rows) {
        let part = &pictures[start..pictures.len().min(start + rows)];
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        let values: Vec<_> = part.iter().flatten().map(|b| ByteArray::from(b.clone())).collect();
        let levels: Vec<i16> = part.iter().map(|p| if p.is_some() { most } else { most - 1 }).collect();
        column.typed::<ByteArrayType>().write_batch(&values, Some(&levels), None).unwrap();
        column.close().unwrap();
        if let Some(labels) = labels {
            let mut column = group.next_column().unwrap().unwrap();
            let labels = &labels[start..start + part.len()];
            column.typed::<Int64Type>().write_batch(labels, Some(&vec![1; labels.len()]), None).unwrap();
            column.close().unwrap();
        }
        group.close().unwrap();
    }
    writer.close().unwrap();
}

/// The schema of Hugging Face's data sets of images.
const HUGGING_FACE: &str =
    "message schema { optional group img { optional binary bytes; } optional int64 fine_label; }";

#[test]
fn tables_of_labels_have_several_headers_delimiters_and_names() {
    let folder = folder_of(&["a.png", "b.png", "c.png"]);
    let names = folder.path().join("classes.txt");
    fs::write(&names, "cat\ndog\n").unwrap();
    let open_with = |text: &str, classes: bool| {
        fs::write(folder.path().join("labels.csv"), text).unwrap();
        let classes = classes.then(|| names.clone());
        open(folder.path(), &DataOptions { classes, ..plain() }, &INPUT)
    };
    for text in [
        "file,label\nb.png,7\na.png,0\nc.png,2\n",
        "Image;Class\nb.png;7\na.png;0\nc.png;2\n",
        "filename\tremark\tlabel\nb.png\tx, y\t7.0\na.png\t\t0.0\nc.png\t\t2.0\n",
        "id,breed,path\nb,7,b.png\na,0,a.png\nc,2,c.png\n",
        "id,label\nb,7\na,0\nc,2\n",
    ] {
        assert_eq!(open_with(text, false).unwrap().labels(), Some(&[0, 7, 2][..]), "{text}");
    }
    let named = "image,class\na.png,dog\nb.png,ant\nc.png,dog\n";
    assert_eq!(open_with(named, false).unwrap().labels(), Some(&[1, 0, 1][..]), "ant, dog");
    let listed = "image,class\na.png,dog\nb.png,cat\nc.png,0\n";
    assert_eq!(open_with(listed, true).unwrap().labels(), Some(&[1, 0, 0][..]), "as listed");
    for (text, classes, words) in [
        (named, true, "no integer"),
        ("a.png,0\nb.png,1\nc.png,2\n", false, "no column of files"),
        ("file,weight\na.png,0\n", false, "no column of labels"),
    ] {
        let error = open_with(text, classes).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
}

#[test]
fn archives_of_pairs_are_read_in_any_order() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pictures: Vec<Vec<u8>> = (0..4).map(|i| png(10 * i)).collect();
    let long = format!("{}/c.png", "d".repeat(150));
    write_tar(
        &at("train-000.tar"),
        &[
            ("a.mask.png", &png(99)),
            ("a.png", &pictures[0]),
            ("a.cls", b"5\n"),
            ("a.json", b"{\"label\": 9}"),
            ("b.json", b"{\"caption\": \"b\", \"class\": 3}"),
            ("b.png", &pictures[1]),
            ("._b.png", b"attributes"),
        ],
    );
    write_tar(&at("train-001.tar"), &[(&long, &pictures[2]), ("x/d.PNG", &pictures[3])]);
    let expected = [0.0, 1.0, 10.0, 11.0, 20.0, 21.0, 30.0, 31.0];
    let pattern = at("train-{000..001}.tar");
    let without = open(&pattern, &plain(), &SMALL).unwrap_err();
    assert!(without.message().contains("have no label"), "{without}");
    let one = open(&at("train-000.tar"), &plain(), &SMALL).unwrap();
    assert_eq!(one.labels(), Some(&[5, 3][..]));
    assert_eq!(all(&one, 2).unwrap(), expected[..4]);
    write_tar(
        &at("train-001.tar"),
        &[
            (&long, &pictures[2]),
            ("x/d.PNG", &pictures[3]),
            ("x/d.cls", b"0"),
            (&long.replace("png", "cls"), b"1"),
        ],
    );
    for path in [&pattern, folder.path()] {
        let data = open(path, &plain(), &SMALL).unwrap();
        assert_eq!(data.labels(), Some(&[5, 3, 1, 0][..]));
        assert_eq!(all(&data, 3).unwrap(), expected);
        let shuffled = open(path, &DataOptions { order: Some(3), ..plain() }, &SMALL).unwrap();
        for batch in shuffled.batches(2) {
            let batch = batch.unwrap();
            for (label, pixels) in batch.labels.unwrap().iter().zip(batch.data.chunks(2)) {
                let place = [5, 3, 1, 0].iter().position(|l| l == label).unwrap();
                assert_eq!(pixels, &expected[2 * place..2 * place + 2]);
            }
        }
    }
    let classes = at("classes.txt");
    fs::write(&classes, "ant\nbee\n").unwrap();
    write_tar(&at("named.tar"), &[("a.png", &pictures[0]), ("a.cls", b"bee")]);
    let named = open(&at("named.tar"), &DataOptions { classes: Some(classes), ..plain() }, &SMALL).unwrap();
    assert_eq!(named.labels(), Some(&[1][..]));
}

#[test]
fn damaged_archives_are_refused_and_damaged_pictures_are_skipped() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.tar");
    write_tar(&path, &[("a.png", &png(1)), ("b.png", b"broken"), ("c.avif", b"\0\0\0\x14ftypavif\0\0\0\0")]);
    let data = open(&path, &plain(), &SMALL).unwrap();
    assert_eq!(all(&data, 3).unwrap(), [1.0, 2.0]);
    let skipped = data.skipped();
    assert_eq!((skipped.len(), &skipped[0].0), (2, &path.join("b.png")));
    assert!(skipped[1].1.contains("AVIF"), "{}", skipped[1].1);
    let whole = fs::read(&path).unwrap();
    for (content, words) in [
        (&whole[..600], "behind the end"),
        (&whole[..700], "behind the end"),
        (&whole[..1000], "behind the end"),
        (&[&whole[..20], &b"text"[..], &whole[24..]].concat(), "cannot read"),
        (&[0; 1024], "no pictures"),
    ] {
        fs::write(&path, content).unwrap();
        let error = open(&path, &plain(), &SMALL).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    }
    let packed = folder.path().join("a.tar.gz");
    fs::write(&packed, b"\x1f\x8b\x08\0").unwrap();
    assert!(open(&packed, &plain(), &SMALL).unwrap_err().message().contains("compressed"));
    assert!(open(&folder.path().join("{a,b}.tar"), &plain(), &SMALL).is_err(), "b.tar is missing");
}

#[test]
fn tables_of_pictures_are_read_in_any_order() {
    let folder = tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let pictures: Vec<_> = (0..10).map(|i| Some(png(20 * i))).collect();
    let labels: Vec<i64> = (0..10).map(|i| 3 * i).collect();
    write_table(&at("test-00000-of-00002.parquet"), HUGGING_FACE, &pictures[..7], Some(&labels[..7]), 4);
    write_table(&at("test-00001-of-00002.parquet"), HUGGING_FACE, &pictures[7..], Some(&labels[7..]), 4);
    for options in
        [plain(), DataOptions { order: Some(4), ..plain() }, DataOptions { order: Some(9), ..plain() }]
    {
        for path in [folder.path(), &at("test-{00000..00001}-of-00002.parquet")] {
            let data = open(path, &options, &SMALL).unwrap();
            assert_eq!(data.len(), 10);
            for batch in [1, 3, 10] {
                for batch in data.batches(batch) {
                    let batch = batch.unwrap();
                    for (label, pixels) in batch.labels.unwrap().iter().zip(batch.data.chunks(2)) {
                        assert_eq!(pixels[0] as u32, label / 3 * 20);
                    }
                }
            }
        }
    }
    write_table(&at("train-00000-of-00001.parquet"), HUGGING_FACE, &pictures, Some(&[-1; 10]), 10);
    let error = open(folder.path(), &plain(), &SMALL).unwrap_err();
    assert!(error.message().contains("several data sets"), "two splits: {error}");
    let unlabelled = open(&at("train-00000-of-00001.parquet"), &plain(), &SMALL).unwrap();
    assert_eq!(unlabelled.labels(), None, "Hugging Face hides labels as −1");
    // A plain column of bytes, a missing picture, and one that is damaged.
    let flat = "message schema { optional binary photo; }";
    let broken = [Some(png(1)), None, Some(b"broken".to_vec()), Some(png(4))];
    write_table(&at("flat.parquet"), flat, &broken, None, 4);
    let data = open(&at("flat.parquet"), &plain(), &SMALL).unwrap();
    assert_eq!(all(&data, 4).unwrap(), [1.0, 2.0, 4.0, 5.0]);
    let skipped = data.skipped();
    assert_eq!(skipped[0], (at("flat.parquet").join("row 1"), "the row has no picture's bytes".to_owned()));
    assert_eq!(skipped[1].0, at("flat.parquet").join("row 2"));
}

#[test]
fn tables_without_pictures_or_damaged_ones_are_refused() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("a.parquet");
    let refused = |words: &str| {
        let error = open(&path, &plain(), &SMALL).unwrap_err().to_string();
        assert!(error.contains(words), "{words}: {error}");
    };
    write_table(&path, "message schema { optional binary caption (UTF8); }", &[Some(png(1))], None, 4);
    refused("no column of pictures");
    write_table(&path, HUGGING_FACE, &[], None, 4);
    refused("no rows");
    write_table(&path, HUGGING_FACE, &[Some(png(1))], Some(&[3]), 4);
    let whole = fs::read(&path).unwrap();
    fs::write(&path, &whole[..whole.len() - 20]).unwrap();
    refused("cannot read the table");
    let mut damaged = whole.clone();
    damaged[4..40].fill(0xff);
    fs::write(&path, &damaged).unwrap();
    let data = open(&path, &plain(), &SMALL);
    assert!(data.and_then(|data| all(&data, 1)).is_err(), "pages that cannot be read");
    fs::write(folder.path().join("b.tar"), [0; 1024]).unwrap();
    fs::write(&path, &whole).unwrap();
    let mixed = open(&folder.path().join("{a.parquet,b.tar}"), &plain(), &SMALL).unwrap_err();
    assert!(mixed.message().contains("different formats"), "{mixed}");
}
