//! Bit strings in bytes, most significant bit first.

/// A writer of bits into bytes.
#[derive(Clone, Debug, Default)]
pub struct BitWriter {
    bytes: Vec<u8>,
    /// Bits of the last byte that are in use; 0 if it is full.
    used: u32,
}

impl BitWriter {
    /// Appends the lowest `count` bits of `value`, at most 32.
    pub fn write(&mut self, value: u32, count: u32) {
        for at in (0..count).rev() {
            if self.used == 0 {
                self.bytes.push(0);
            }
            if let Some(last) = self.bytes.last_mut() {
                *last |= ((value >> at & 1) as u8) << (7 - self.used);
            }
            self.used = (self.used + 1) % 8;
        }
    }

    /// Returns the bytes, the last one filled up with zeros.
    pub fn finish(self) -> Vec<u8> {
        self.bytes
    }
}

/// A reader of the bits that a [`BitWriter`] wrote.
#[derive(Clone, Debug)]
pub struct BitReader<'a> {
    bytes: &'a [u8],
    position: usize,
}

impl<'a> BitReader<'a> {
    /// Creates a reader at the first bit of `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, position: 0 }
    }

    /// Returns the next `count` bits, at most 32; `None` beyond the end.
    pub fn read(&mut self, count: u32) -> Option<u32> {
        (0..count).try_fold(0, |value, _| {
            let byte = self.bytes.get(self.position / 8)?;
            let bit = byte >> (7 - self.position % 8) & 1;
            self.position += 1;
            Some(value << 1 | u32::from(bit))
        })
    }

    /// Returns the bytes behind the one in which the last read bit lies.
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.position.div_ceil(8)..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bits_come_back_in_order() {
        let mut writer = BitWriter::default();
        let parts = [(5u32, 3u32), (0, 1), (0xabcd_ef01, 32), (1, 1), (77, 7)];
        parts.iter().for_each(|&(value, count)| writer.write(value, count));
        let mut bytes = writer.finish();
        assert_eq!((bytes.len(), bytes[0]), (6, 0b1010_1010));
        bytes.push(9);
        let mut reader = BitReader::new(&bytes);
        for (value, count) in parts {
            assert_eq!(reader.read(count), Some(value));
        }
        assert_eq!(reader.rest(), [9]);
        assert_eq!(BitReader::new(&[]).read(1), None);
    }
}
