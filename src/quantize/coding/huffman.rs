//! Canonical Huffman codes of at most 15 bits.
//!
//! Lengths are optimal under the limit, by the package-merge algorithm (Larmore & Hirschberg 1990). The table in front
//! of the code holds the number of symbols minus one in a byte, and 4 bits for the length of each.

use super::bits::{BitReader, BitWriter};

/// The length of the longest code word, in bits.
const LONGEST: usize = 15;

/// Returns the table and the code words of `symbols`.
pub fn encode(symbols: &[u8]) -> Vec<u8> {
    let mut counts = vec![0u64; symbols.iter().max().map_or(1, |&most| usize::from(most) + 1)];
    symbols.iter().for_each(|&symbol| counts[usize::from(symbol)] += 1);
    let lengths = lengths(&counts);
    let words = words(&lengths);
    let mut writer = BitWriter::default();
    writer.write(lengths.len() as u32 - 1, 8);
    lengths.iter().for_each(|&length| writer.write(length, 4));
    for &symbol in symbols {
        writer.write(words[usize::from(symbol)], lengths[usize::from(symbol)]);
    }
    writer.finish()
}

/// Returns `count` symbols and the bytes behind their code; `None` for bytes that [`encode`] did not write.
pub fn decode(bytes: &[u8], count: usize) -> Option<(Vec<u8>, &[u8])> {
    let mut reader = BitReader::new(bytes);
    let alphabet = reader.read(8)? + 1;
    let lengths = (0..alphabet).map(|_| reader.read(4)).collect::<Option<Vec<u32>>>()?;
    // The symbols in the order of their code words, and their number for each length.
    let mut sorted: Vec<u8> =
        (0..=255).take(lengths.len()).filter(|&s| lengths[usize::from(s)] > 0).collect();
    sorted.sort_by_key(|&symbol| lengths[usize::from(symbol)]);
    let of_length = |length: usize| lengths.iter().filter(|&&l| l as usize == length).count();
    let numbers: Vec<usize> = (0..=LONGEST).map(of_length).collect();
    let mut symbol = || {
        let (mut word, mut first, mut passed) = (0usize, 0usize, 0usize);
        for number in &numbers[1..] {
            word = word << 1 | reader.read(1)? as usize;
            first <<= 1;
            if word < first + number {
                return sorted.get(passed + (word - first)).copied();
            }
            first += number;
            passed += number;
        }
        None
    };
    let symbols = (0..count).map(|_| symbol()).collect::<Option<Vec<u8>>>()?;
    Some((symbols, reader.rest()))
}

/// Returns the length of each symbol's code word: 0 for symbols that do not occur.
///
/// A single symbol has a word of one bit.
fn lengths(counts: &[u64]) -> Vec<u32> {
    let mut lengths = vec![0; counts.len()];
    let mut leaves: Vec<(u64, Vec<usize>)> =
        counts.iter().enumerate().filter(|(_, n)| **n > 0).map(|(s, &n)| (n, vec![s])).collect();
    leaves.sort();
    if let [(_, only)] = &leaves[..] {
        lengths[only[0]] = 1;
        return lengths;
    }
    // Each round pairs the packages of the previous one, and merges them with the leaves.
    let mut packages: Vec<(u64, Vec<usize>)> = Vec::new();
    for _ in 0..LONGEST {
        let pairs = packages
            .chunks_exact(2)
            .map(|pair| (pair[0].0 + pair[1].0, [&pair[0].1[..], &pair[1].1].concat()));
        packages = pairs.chain(leaves.iter().cloned()).collect();
        packages.sort_by_key(|package| package.0);
    }
    let chosen = (2 * leaves.len()).saturating_sub(2);
    packages.iter().take(chosen).flat_map(|package| &package.1).for_each(|&symbol| lengths[symbol] += 1);
    lengths
}

/// Returns the canonical code words: ascending with the length, then with the symbol.
fn words(lengths: &[u32]) -> Vec<u32> {
    let mut words = vec![0; lengths.len()];
    let mut next = 0;
    for length in 1..=LONGEST as u32 {
        next <<= 1;
        for (word, _) in words.iter_mut().zip(lengths).filter(|(_, l)| **l == length) {
            *word = next;
            next += 1;
        }
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequent_symbols_have_short_words() {
        assert_eq!(lengths(&[8, 4, 2, 1, 1]), [1, 2, 3, 4, 4]);
        assert_eq!(words(&[1, 2, 3, 4, 4]), [0b0, 0b10, 0b110, 0b1110, 0b1111]);
        assert_eq!(lengths(&[0, 7, 0]), [0, 1, 0]);
        assert_eq!(lengths(&[3, 0, 3]), [1, 0, 1]);
    }

    #[test]
    fn lengths_are_limited_and_complete() {
        // Fibonacci counts: an unlimited code would have words of up to 29 bits.
        let mut counts = vec![1u64, 1];
        while counts.len() < 30 {
            counts.push(counts[counts.len() - 1] + counts[counts.len() - 2]);
        }
        let lengths = lengths(&counts);
        assert_eq!(lengths.iter().max(), Some(&15));
        let kraft: f64 = lengths.iter().map(|&l| 0.5f64.powi(l as i32)).sum();
        assert_eq!(kraft, 1.0);
    }

    #[test]
    fn symbols_come_back() {
        let skewed: Vec<u8> = (0..5000u32).map(|i| (i.wrapping_mul(i) % 251 % (1 + i % 17)) as u8).collect();
        let all: Vec<u8> = (0..=255).collect();
        for symbols in [&skewed[..], &all, &[7, 7, 7], &[0], &[255], &[]] {
            let mut bytes = encode(symbols);
            bytes.push(42);
            let (decoded, rest) = decode(&bytes, symbols.len()).expect("a code");
            assert_eq!((&decoded[..], rest), (symbols, &[42u8][..]));
        }
        assert_eq!(encode(&[7, 7, 7]).len(), 1 + 4 + 1);
        assert_eq!(decode(&encode(&skewed)[..100], skewed.len()), None);
    }
}
