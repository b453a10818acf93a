//! Indices of 4, 6 and 8 bits in bytes.
//!
//! Operators of old opsets have no integers of less than a byte. A *table* has a row for each byte, with the parts of
//! the byte: a Gather from the table by packed bytes yields the parts one after the other. Indices of 6 bits are split
//! into 4 low and 2 high bits, each packed by itself.

use serde::Serialize;

/// The size of an index, and so of a codebook.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum PaletteBits {
    /// 16 values for each layer.
    #[serde(rename = "4bit")]
    #[cfg_attr(feature = "cli", value(name = "4bit"))]
    Four,
    /// 64 values for each layer.
    #[serde(rename = "6bit")]
    #[cfg_attr(feature = "cli", value(name = "6bit"))]
    Six,
    /// 256 values for each layer.
    #[serde(rename = "8bit")]
    #[cfg_attr(feature = "cli", value(name = "8bit"))]
    Eight,
}

/// Parts of all indices: `bits` of each, from bit `shift` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Bits of a part: 2, 4 or 8.
    pub bits: u32,
    /// The lowest bit of the part in an index.
    pub shift: u32,
}

impl PaletteBits {
    /// Returns the number of bits.
    pub fn bits(self) -> u32 {
        match self {
            Self::Four => 4,
            Self::Six => 6,
            Self::Eight => 8,
        }
    }

    /// Returns the largest number of values of a codebook.
    pub fn values(self) -> usize {
        1 << self.bits()
    }

    /// Returns the planes that hold the bits of indices.
    pub fn planes(self) -> &'static [Plane] {
        match self {
            Self::Four => &[Plane { bits: 4, shift: 0 }],
            Self::Six => &[Plane { bits: 4, shift: 0 }, Plane { bits: 2, shift: 4 }],
            Self::Eight => &[Plane { bits: 8, shift: 0 }],
        }
    }
}

/// The name of the option's value.
impl std::fmt::Display for PaletteBits {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(f, "{}bit", self.bits())
    }
}

impl Plane {
    /// Returns the parts of a byte.
    pub fn per_byte(self) -> usize {
        8 / self.bits as usize
    }

    /// Returns part `at` of a byte, moved to its place in an index.
    pub fn part(self, byte: u8, at: usize) -> u8 {
        let lowest = byte >> (at as u32 * self.bits);
        let mask = u8::MAX >> (8 - self.bits);
        (lowest & mask) << self.shift
    }

    /// Packs the plane's part of each index, the first in the lowest bits of a byte.
    pub fn pack(self, indices: &[u8]) -> Vec<u8> {
        let mask = u8::MAX >> (8 - self.bits);
        let byte = |parts: &[u8]| {
            let parts = parts.iter().enumerate();
            parts.fold(0, |byte, (at, index)| byte | (index >> self.shift & mask) << (at as u32 * self.bits))
        };
        indices.chunks(self.per_byte()).map(byte).collect()
    }

    /// Adds the plane's part to each index.
    pub fn unpack(self, bytes: &[u8], indices: &mut [u8]) {
        let parts = bytes.iter().flat_map(|&byte| (0..self.per_byte()).map(move |at| self.part(byte, at)));
        indices.iter_mut().zip(parts).for_each(|(index, part)| *index |= part);
    }

    /// Returns the table: the parts of byte 0, of byte 1, and so on.
    pub fn table(self) -> Vec<u8> {
        (0..=255).flat_map(|byte| (0..self.per_byte()).map(move |at| self.part(byte, at))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_come_back_from_their_planes() {
        for bits in [PaletteBits::Four, PaletteBits::Six, PaletteBits::Eight] {
            for count in [0, 1, 5, 256, 1023] {
                let indices: Vec<u8> = (0..count).map(|i| (i * 37 % bits.values()) as u8).collect();
                let mut back = vec![0; count];
                let mut bytes = 0;
                for plane in bits.planes() {
                    let packed = plane.pack(&indices);
                    bytes += packed.len();
                    plane.unpack(&packed, &mut back);
                    // As the nodes of a file compute it.
                    let table = plane.table();
                    let row = |&byte: &u8| &table[usize::from(byte) * plane.per_byte()..][..plane.per_byte()];
                    let parts: Vec<u8> = packed.iter().flat_map(row).copied().collect();
                    let mask = (u8::MAX >> (8 - plane.bits)) << plane.shift;
                    assert!(indices.iter().zip(parts).all(|(index, part)| index & mask == part));
                }
                assert_eq!(back, indices);
                assert!(bytes * 8 < count * bits.bits() as usize + 16, "{bits} {count}");
            }
        }
    }
}
