//! NumPy files and archives, written by hand.

use std::io::Write as _;

/// Creates a NumPy file with this type and shape.
pub(crate) fn npy(kind: &str, shape: &str, data: &[u8]) -> Vec<u8> {
    numpy_header(&format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}"), data)
}

/// Creates a NumPy file with this text as its header.
pub(crate) fn numpy_header(text: &str, data: &[u8]) -> Vec<u8> {
    let length = (text.len() as u16).to_le_bytes();
    [b"\x93NUMPY\x01\0", &length[..], text.as_bytes(), data].concat()
}

/// Creates an archive of arrays.
pub(crate) fn npz(arrays: &[(&str, &[u8])]) -> Vec<u8> {
    let mut archive = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in arrays {
        archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(bytes).unwrap();
    }
    archive.finish().unwrap().into_inner()
}
