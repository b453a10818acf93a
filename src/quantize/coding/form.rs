//! Tensors as streams of symbols, dense or sparse.
//!
//! A sparse tensor stores the elements other than zero, each with the number of zeros in front of it (relative indices,
//! Han 2016, section 2). A gap that exceeds the largest number of its stream is bridged by stored zeros.

use super::bits::{BitReader, BitWriter};
use super::{huffman, rans};

/// An entropy coder of symbols.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Coder {
    /// Canonical Huffman codes with lengths up to 15 bits.
    Huffman,
    /// Asymmetric numeral systems with a static model.
    Rans,
}

/// Elements of a tensor as symbols.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Elements {
    /// Planes of symbols: an element has one symbol in each.
    pub planes: Vec<Vec<u8>>,
    /// Bits of a symbol in the file, from 1 to 8.
    pub bits: u32,
    /// The symbols of the element zero.
    pub zero: Vec<u8>,
}

/// The widths of gaps that are tried, in bits.
const GAPS: std::ops::RangeInclusive<u32> = 2..=8;

impl Elements {
    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.planes.first().map_or(0, Vec::len)
    }

    /// Returns true if there are no elements.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns the elements in the shortest form that a coder yields: dense, or sparse with some width of gaps.
    ///
    /// The first byte is the width of gaps, 0 if dense.
    pub fn encode(&self, coder: Coder) -> Vec<u8> {
        let zeros = (0..self.len()).filter(|&i| self.is_zero(i)).count();
        let sparse = GAPS.filter(|_| 2 * zeros > self.len()).map(|width| self.sparse(coder, width));
        let mut dense = vec![0];
        self.planes.iter().for_each(|plane| dense.extend(stream(coder, plane, self.bits)));
        sparse.chain([dense]).min_by_key(Vec::len).unwrap_or_default()
    }

    /// Returns `count` elements that [`Elements::encode`] wrote, with planes and bits as given.
    ///
    /// The element zero is known only in the sparse form. `None` for other bytes.
    pub fn decode(coder: Coder, bytes: &[u8], count: usize, (planes, bits): (usize, u32)) -> Option<Self> {
        let (&width, mut rest) = bytes.split_first()?;
        if width == 0 {
            let planes = (0..planes)
                .map(|_| {
                    let (plane, behind) = read_stream(coder, rest, count, bits)?;
                    rest = behind;
                    Some(plane)
                })
                .collect::<Option<Vec<_>>>()?;
            return Some(Self { planes, bits, zero: vec![] });
        }
        let (zero, behind) = rest.split_at_checked(planes)?;
        let (entries, behind) = behind.split_first_chunk()?;
        let entries = u32::from_le_bytes(*entries) as usize;
        let (gaps, mut rest) = read_stream(coder, behind, entries, width.into())?;
        let mut dense = Self { planes: vec![], bits, zero: zero.to_vec() };
        for &zero in zero {
            let (stored, behind) = read_stream(coder, rest, entries, bits)?;
            rest = behind;
            let mut plane = vec![zero; count];
            let mut at = 0;
            for (&gap, symbol) in gaps.iter().zip(stored) {
                at += usize::from(gap);
                *plane.get_mut(at)? = symbol;
                at += 1;
            }
            dense.planes.push(plane);
        }
        Some(dense)
    }

    fn is_zero(&self, i: usize) -> bool {
        self.planes.iter().zip(&self.zero).all(|(plane, &zero)| plane[i] == zero)
    }

    /// Returns the sparse form: width, element zero, number of entries, gaps, and the entries' symbols.
    fn sparse(&self, coder: Coder, width: u32) -> Vec<u8> {
        let most = (1 << width) - 1;
        let (mut gaps, mut stored, mut gap) = (Vec::new(), Vec::new(), 0);
        for i in 0..self.len() {
            if gap < most && self.is_zero(i) {
                gap += 1;
                continue;
            }
            gaps.push(gap as u8);
            stored.push(i);
            gap = 0;
        }
        let mut bytes = vec![width as u8];
        bytes.extend(&self.zero);
        bytes.extend((stored.len() as u32).to_le_bytes());
        bytes.extend(stream(coder, &gaps, width));
        for plane in &self.planes {
            let symbols: Vec<u8> = stored.iter().map(|&i| plane[i]).collect();
            bytes.extend(stream(coder, &symbols, self.bits));
        }
        bytes
    }
}

/// Returns a stream: a byte 1 and the code, or 0 and the symbols themselves if these are shorter.
fn stream(coder: Coder, symbols: &[u8], bits: u32) -> Vec<u8> {
    let coded = match coder {
        Coder::Huffman => huffman::encode(symbols),
        Coder::Rans => rans::encode(symbols),
    };
    let plain = (symbols.len() * bits as usize).div_ceil(8);
    if coded.len() < plain {
        return [vec![1], coded].concat();
    }
    let mut writer = BitWriter::default();
    symbols.iter().for_each(|&symbol| writer.write(symbol.into(), bits));
    [vec![0], writer.finish()].concat()
}

/// Returns the symbols of a [`stream`] and the bytes behind it.
fn read_stream(coder: Coder, bytes: &[u8], count: usize, bits: u32) -> Option<(Vec<u8>, &[u8])> {
    let (&is_coded, rest) = bytes.split_first()?;
    if is_coded == 0 {
        let mut reader = BitReader::new(rest);
        let symbols =
            (0..count).map(|_| reader.read(bits).map(|symbol| symbol as u8)).collect::<Option<_>>()?;
        return Some((symbols, reader.rest()));
    }
    match coder {
        Coder::Huffman => huffman::decode(rest, count),
        Coder::Rans => rans::decode(rest, count),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::synthetic::splitmix64;

    fn round_trips(elements: &Elements) -> [usize; 2] {
        [Coder::Huffman, Coder::Rans].map(|coder| {
            let bytes = elements.encode(coder);
            let shape = (elements.planes.len(), elements.bits);
            let back = Elements::decode(coder, &bytes, elements.len(), shape).expect("a code");
            assert!(back.planes == elements.planes, "{coder:?}");
            bytes.len()
        })
    }

    fn words(count: usize, seed: u64) -> Vec<u64> {
        splitmix64(seed).take(count).collect()
    }

    #[test]
    fn random_symbols_stay_as_they_are() {
        let planes = vec![words(1001, 1).iter().map(|w| (w % 16) as u8).collect()];
        let elements = Elements { planes, bits: 4, zero: vec![0] };
        assert_eq!(round_trips(&elements), [2 + 501, 2 + 501]);
    }

    #[test]
    fn sparse_tensors_store_gaps() {
        for share in [2, 10, 500] {
            let is_zero: Vec<bool> = words(40_000, 2).iter().map(|w| w % share != 0).collect();
            let plane = |seed| -> Vec<u8> {
                let values = words(40_000, seed);
                values.iter().zip(&is_zero).map(|(w, &zero)| if zero { 5 } else { (w % 16) as u8 }).collect()
            };
            let elements = Elements { planes: vec![plane(3), plane(4)], bits: 4, zero: vec![5, 5] };
            let p = 1.0 / share as f64;
            let entropy = -(p * p.log2() + (1.0 - p) * (1.0 - p).log2()) + p * 8.0;
            let [huffman, rans] = round_trips(&elements).map(|n| 8.0 * n as f64 / 40_000.0);
            assert!(
                huffman < 1.1 * entropy + 0.04 && rans < 1.1 * entropy + 0.04,
                "{huffman} {rans} {entropy}"
            );
        }
    }

    #[test]
    fn awkward_tensors_come_back() {
        let of = |plane: Vec<u8>| Elements { planes: vec![plane], bits: 8, zero: vec![0] };
        for plane in
            [vec![], vec![0], vec![3], vec![0; 1000], vec![255; 1000], [vec![0; 999], vec![1]].concat()]
        {
            round_trips(&of(plane));
        }
        assert_eq!(Elements::decode(Coder::Rans, &[], 1, (1, 8)), None);
        assert_eq!(Elements::decode(Coder::Huffman, &[0, 0], 1, (1, 8)), None);
    }
}
