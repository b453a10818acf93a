//! Parquet tables of encoded pictures, as Hugging Face stores data sets.
//!
//! Only the columns of pictures and labels are read. The labels are read once; the pictures of a batch are read in the
//! order of their rows, and whole pages between them are skipped. At most one page of pictures is decoded at a time.

use std::fmt;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use parquet::basic::{Compression, ConvertedType, Type};
use parquet::column::reader::{ColumnReaderImpl, get_column_reader, get_typed_column_reader};
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::serialized_reader::SerializedPageReader;
use parquet::schema::types::ColumnDescriptor;

use super::encoded::{EncodedPicture, Skipped};
use super::labels::{ClassNames, Labels, class_indices, label_column};
use crate::error::{Error, Result};

/// Names of the column of pictures, the preferred ones first.
const PICTURES: [&str; 6] = ["image", "img", "picture", "jpg", "png", "webp"];

/// The pictures of tables, in order.
pub(super) struct Tables {
    tables: Vec<Table>,
    /// Row groups with rows, in order.
    groups: Vec<Group>,
    len: usize,
    /// The reader behind the last picture that was read, which the next batch mostly continues.
    last: Mutex<Option<Cursor>>,
}

struct Table {
    path: PathBuf,
    metadata: ParquetMetaData,
    /// Index of the column of pictures.
    column: usize,
}

struct Group {
    /// Place of the first row in the set.
    first: usize,
    table: usize,
    /// Index in the table.
    index: usize,
    /// Row of the table at which the group starts.
    row: usize,
}

/// A reader of one row group's pictures, and the row of the group that it reads next.
struct Cursor {
    group: usize,
    next: usize,
    reader: ColumnReaderImpl<ByteArrayType>,
}

impl fmt::Debug for Tables {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files = self.tables.iter().map(|table| &table.path);
        f.debug_struct("Tables").field("files", &files.collect::<Vec<_>>()).field("len", &self.len).finish()
    }
}

/// Opens tables and reads their labels, if they have a column of labels.
///
/// # Errors
/// A damaged table, one without a column of pictures, an unsupported compression, or labels that are no classes.
pub(super) fn open(files: &[PathBuf], classes: Option<&ClassNames>) -> Result<(Tables, Option<Labels>)> {
    let mut opened = Tables { tables: Vec::new(), groups: Vec::new(), len: 0, last: Mutex::default() };
    let mut texts = Some(Vec::new());
    for path in files {
        let named = |e: Error| e.file(path);
        let file = Arc::new(File::open(path).map_err(|e| Error::io("open the data", path, e))?);
        let metadata = ParquetMetaDataReader::new().parse_and_finish(&*file).map_err(bad).map_err(named)?;
        let leaves = metadata.file_metadata().schema_descr().columns();
        let column = picture_column(leaves.iter().map(AsRef::as_ref)).map_err(named)?;
        let label = label_leaf(leaves.iter().map(AsRef::as_ref));
        let table = opened.tables.len();
        let mut row = 0;
        for (index, group) in metadata.row_groups().iter().enumerate() {
            let rows = usize::try_from(group.num_rows()).unwrap_or(0);
            if rows == 0 {
                continue;
            }
            let chunk = group.column(column);
            if !matches!(chunk.compression(), Compression::UNCOMPRESSED | Compression::SNAPPY) {
                return Err(named(
                    Error::new("a table of an unsupported compression")
                        .expected("Snappy or none")
                        .got(chunk.compression().to_string())
                        .remedy("write it again, for example with pandas.read_parquet(…).to_parquet(…)"),
                ));
            }
            if let (Some(label), Some(texts)) = (label, &mut texts) {
                texts.extend(labels(&file, group.column(label), rows).map_err(named)?);
            }
            opened.groups.push(Group { first: opened.len, table, index, row });
            opened.len += rows;
            row += rows;
        }
        if label.is_none() {
            texts = None;
        }
        opened.tables.push(Table { path: path.clone(), metadata, column });
    }
    if opened.len == 0 {
        let empty = Error::new("the table has no rows").remedy("give a table of pictures");
        return Err(files.first().map_or_else(|| empty.clone(), |file| empty.clone().file(file)));
    }
    // Hugging Face's test sets have −1 for labels that are kept secret.
    let Some(texts) = texts.filter(|texts| texts.iter().any(|text| text != "-1")) else {
        return Ok((opened, None));
    };
    let labels = class_indices(&texts, classes, |place| {
        Error::new("a label of the table is no class")
            .file(opened.name(place))
            .expected("class indices, names that `classes` lists, or names only")
            .got(if texts[place].is_empty() { "none".to_owned() } else { format!("{:?}", texts[place]) })
            .remedy("correct the label, or set `classes` to a file that names the classes")
    })?;
    Ok((opened, Some(labels)))
}

fn bad(error: ParquetError) -> Error {
    Error::new("cannot read the table")
        .got(error.to_string())
        .remedy("the file is damaged or was cut short; write or download it again")
}

/// Finds the column of encoded pictures: bytes, or the field `bytes` of a structure.
fn picture_column<'a>(leaves: impl Iterator<Item = &'a ColumnDescriptor>) -> Result<usize> {
    let mut present = Vec::new();
    let mut found = Vec::new();
    for (index, leaf) in leaves.enumerate() {
        present.push(leaf.path().string());
        let binary = leaf.physical_type() == Type::BYTE_ARRAY && leaf.converted_type() == ConvertedType::NONE;
        if let [name] | [name, "bytes"] =
            leaf.path().parts().iter().map(String::as_str).collect::<Vec<_>>()[..]
            && binary
            && leaf.max_rep_level() == 0
        {
            found.push((name.to_owned(), index));
        }
    }
    let preferred = PICTURES.iter().find_map(|name| found.iter().find(|(held, _)| held == name));
    let refused = |error: Error| {
        error
            .expected("a column \"image\" of encoded pictures, as Hugging Face stores them")
            .got(present.join(", "))
            .remedy("name the column of pictures \"image\"")
    };
    match (preferred, &found[..]) {
        (Some((_, index)), _) | (None, [(_, index)]) => Ok(*index),
        (None, []) => Err(refused(Error::new("the table has no column of pictures"))),
        (None, _) => {
            Err(refused(Error::new("the table has several columns of bytes, none named as pictures")))
        }
    }
}

/// Finds the column of labels: integers, or texts that name classes.
fn label_leaf<'a>(leaves: impl Iterator<Item = &'a ColumnDescriptor>) -> Option<usize> {
    let leaf = |(index, leaf): (usize, &ColumnDescriptor)| {
        let text = leaf.physical_type() == Type::BYTE_ARRAY && leaf.converted_type() == ConvertedType::UTF8;
        let single = leaf.path().parts().len() == 1 && leaf.max_rep_level() == 0;
        let known = single && (text || matches!(leaf.physical_type(), Type::INT32 | Type::INT64));
        known.then(|| (leaf.name().to_lowercase(), index))
    };
    let (names, places): (Vec<String>, Vec<usize>) = leaves.enumerate().filter_map(leaf).unzip();
    Some(places[label_column(&names)?])
}

fn column<T: DataType>(
    file: &Arc<File>,
    chunk: &ColumnChunkMetaData,
    rows: usize,
) -> Result<ColumnReaderImpl<T>> {
    let pages = SerializedPageReader::new(Arc::clone(file), chunk, rows, None).map_err(bad)?;
    Ok(get_typed_column_reader(get_column_reader(chunk.column_descr_ptr(), Box::new(pages))))
}

/// Reads the labels of one row group as text; a missing one is empty.
fn labels(file: &Arc<File>, chunk: &ColumnChunkMetaData, rows: usize) -> Result<Vec<String>> {
    fn all<T: DataType>(
        (file, chunk, rows): (&Arc<File>, &ColumnChunkMetaData, usize),
        text: impl Fn(&T::T) -> String,
    ) -> Result<Vec<String>> {
        let mut reader = column::<T>(file, chunk, rows)?;
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let (read, ..) = reader.read_records(rows, Some(&mut levels), None, &mut values).map_err(bad)?;
        let most = chunk.column_descr().max_def_level();
        let mut values = values.iter();
        let mut next = |present: bool| if present { values.next().map(&text) } else { None };
        let texts = (0..read).map(|row| next(levels.get(row).is_none_or(|&level| level == most)));
        let texts: Vec<String> = texts.map(Option::unwrap_or_default).collect();
        if texts.len() == rows {
            Ok(texts)
        } else {
            Err(bad(ParquetError::EOF(format!("{} labels of {rows}", texts.len()))))
        }
    }
    let from = (file, chunk, rows);
    match chunk.column_descr().physical_type() {
        Type::INT32 => all::<Int32Type>(from, ToString::to_string),
        Type::INT64 => all::<Int64Type>(from, ToString::to_string),
        _ => all::<ByteArrayType>(from, |value| String::from_utf8_lossy(value.data()).into_owned()),
    }
}

impl Tables {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// Returns the index of the group of a place, and the row in it.
    fn locate(&self, place: usize) -> (usize, usize) {
        let group = self.groups.partition_point(|group| group.first <= place) - 1;
        (group, place - self.groups[group].first)
    }

    /// Returns the table's path with the row, counted from 0.
    fn name(&self, place: usize) -> PathBuf {
        let (group, row) = self.locate(place);
        let group = &self.groups[group];
        self.tables[group.table].path.join(format!("row {}", group.row + row))
    }

    /// Reads the pictures at these places, in their order.
    ///
    /// # Errors
    /// A table that cannot be opened any more, or is damaged.
    pub(super) fn read(&self, places: &[usize]) -> Result<Vec<Result<EncodedPicture, Skipped>>> {
        let mut by_row: Vec<usize> = (0..places.len()).collect();
        by_row.sort_by_key(|&i| places[i]);
        let mut cursor = self.last.lock().unwrap_or_else(PoisonError::into_inner).take();
        let mut read: Vec<(usize, Result<EncodedPicture, Skipped>)> = Vec::with_capacity(places.len());
        for i in by_row {
            let (group, row) = self.locate(places[i]);
            let mut at = match cursor {
                Some(at) if at.group == group && at.next <= row => at,
                _ => self.cursor(group)?,
            };
            let path = &self.tables[self.groups[group].table].path;
            let bytes = at.read(row).map_err(|e| bad(e).file(path))?;
            let name = self.name(places[i]);
            read.push((
                i,
                match bytes {
                    Some(bytes) => Ok(EncodedPicture { name, bytes: bytes.data().to_vec().into() }),
                    None => Err((name, "the row has no picture's bytes".to_owned())),
                },
            ));
            cursor = Some(at);
        }
        *self.last.lock().unwrap_or_else(PoisonError::into_inner) = cursor;
        read.sort_by_key(|(i, _)| *i);
        Ok(read.into_iter().map(|(_, picture)| picture).collect())
    }

    /// Starts reading a group's pictures.
    fn cursor(&self, number: usize) -> Result<Cursor> {
        let group = &self.groups[number];
        let Table { path, metadata, column: index } = &self.tables[group.table];
        let file = Arc::new(File::open(path).map_err(|e| Error::io("open the data", path, e))?);
        let metadata = metadata.row_group(group.index);
        let rows = usize::try_from(metadata.num_rows()).unwrap_or(0);
        let reader = column(&file, metadata.column(*index), rows).map_err(|e| e.file(path))?;
        Ok(Cursor { group: number, next: 0, reader })
    }
}

impl Cursor {
    /// Reads the value of a row at or behind the next one; `None` for a missing value.
    fn read(&mut self, row: usize) -> Result<Option<ByteArray>, ParquetError> {
        let skipped = self.reader.skip_records(row - self.next)?;
        let (mut levels, mut values) = (Vec::new(), Vec::new());
        let (read, ..) = self.reader.read_records(1, Some(&mut levels), None, &mut values)?;
        if read != 1 || skipped != row - self.next {
            return Err(ParquetError::EOF(format!("the row group ends before its row {row}")));
        }
        self.next = row + 1;
        Ok(values.pop())
    }
}
