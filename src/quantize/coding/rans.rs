//! Range asymmetric numeral systems (rANS, Duda 2013) with a static model.
//!
//! A state of 32 bits codes each symbol in log₂(4096 / frequency) bits. The table in front of
//! the code holds the number of symbols minus one in a byte. For each symbol follow the bit length of its frequency in 4
//! bits, and its bits behind the leading one.

use super::bits::{BitReader, BitWriter};

/// The logarithm of the sum of all frequencies.
const PRECISION: u32 = 12;
/// The sum of all frequencies.
const TOTAL: u32 = 1 << PRECISION;
/// The smallest state between two symbols; bytes are moved to keep it below 256 times this number.
const LOWEST: u32 = 1 << 23;

/// Returns the table, the final state and the code of `symbols`.
pub fn encode(symbols: &[u8]) -> Vec<u8> {
    let mut counts = vec![0u64; symbols.iter().max().map_or(1, |&most| usize::from(most) + 1)];
    symbols.iter().for_each(|&symbol| counts[usize::from(symbol)] += 1);
    let frequencies = frequencies(&counts);
    let starts = starts(&frequencies);
    let mut table = BitWriter::default();
    table.write(frequencies.len() as u32 - 1, 8);
    for &frequency in &frequencies {
        let length = u32::BITS - frequency.leading_zeros();
        table.write(length, 4);
        table.write(frequency, length.saturating_sub(1));
    }
    // The decoder reads backwards, so the last symbol is coded first.
    let (mut state, mut code) = (LOWEST, Vec::new());
    for symbol in symbols.iter().rev().map(|&symbol| usize::from(symbol)) {
        let (frequency, start) = (frequencies[symbol], starts[symbol]);
        while state >= (LOWEST >> PRECISION << 8) * frequency {
            code.push(state as u8);
            state >>= 8;
        }
        state = ((state / frequency) << PRECISION) + state % frequency + start;
    }
    let state = state.to_le_bytes();
    table.finish().into_iter().chain(state).chain(code.into_iter().rev()).collect()
}

/// Returns `count` symbols and the bytes behind their code; `None` for bytes that [`encode`] did not write.
pub fn decode(bytes: &[u8], count: usize) -> Option<(Vec<u8>, &[u8])> {
    let mut reader = BitReader::new(bytes);
    let alphabet = reader.read(8)? + 1;
    let frequency = |reader: &mut BitReader| match reader.read(4)? {
        0 => Some(0),
        length @ 1..=13 => Some(1 << (length - 1) | reader.read(length - 1)?),
        _ => None,
    };
    let frequencies = (0..alphabet).map(|_| frequency(&mut reader)).collect::<Option<Vec<u32>>>()?;
    if frequencies.iter().sum::<u32>() != TOTAL {
        return None;
    }
    let starts = starts(&frequencies);
    let (state, mut rest) = reader.rest().split_first_chunk()?;
    let mut state = u32::from_le_bytes(*state);
    let mut symbols = Vec::new();
    for _ in 0..count {
        let place = state % TOTAL;
        let symbol = starts.partition_point(|&start| start <= place) - 1;
        symbols.push(symbol as u8);
        state = frequencies[symbol] * (state >> PRECISION) + place - starts[symbol];
        while state < LOWEST {
            let (&byte, behind) = rest.split_first()?;
            (state, rest) = (state << 8 | u32::from(byte), behind);
        }
    }
    (state == LOWEST).then_some((symbols, rest))
}

/// Scales counts to frequencies with the sum [`TOTAL`], at least 1 for each symbol that occurs.
fn frequencies(counts: &[u64]) -> Vec<u32> {
    let sum = counts.iter().sum::<u64>();
    if sum == 0 {
        return vec![TOTAL];
    }
    let share = |n: u64| n as f64 * f64::from(TOTAL) / sum as f64;
    let mut frequencies: Vec<u32> =
        counts.iter().map(|&n| if n == 0 { 0 } else { (share(n).round() as u32).max(1) }).collect();
    // One unit at a time, from or to the symbol whose code grows least by it.
    loop {
        let sum = frequencies.iter().sum::<u32>();
        let cost = |at: usize, change: i32| {
            let new = f64::from(frequencies[at] as i32 + change);
            counts[at] as f64 * (f64::from(frequencies[at]) / new).log2()
        };
        let change = match sum.cmp(&TOTAL) {
            std::cmp::Ordering::Equal => return frequencies,
            std::cmp::Ordering::Less => 1,
            std::cmp::Ordering::Greater => -1,
        };
        let least = if change < 0 { 2 } else { 1 };
        let able = (0..counts.len()).filter(|&at| frequencies[at] >= least);
        let Some(best) = able.min_by(|&a, &b| cost(a, change).total_cmp(&cost(b, change))) else {
            return frequencies;
        };
        frequencies[best] = frequencies[best].wrapping_add_signed(change);
    }
}

/// Returns the sum of the frequencies in front of each symbol.
fn starts(frequencies: &[u32]) -> Vec<u32> {
    let mut sum = 0;
    let before = |&frequency: &u32| {
        sum += frequency;
        sum - frequency
    };
    frequencies.iter().map(before).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frequencies_sum_up() {
        assert_eq!(frequencies(&[3, 0, 1]), [3072, 0, 1024]);
        let rare: Vec<u64> = (0..256).map(|s| if s == 9 { 1_000_000 } else { 1 }).collect();
        let scaled = frequencies(&rare);
        assert_eq!((scaled.iter().sum::<u32>(), scaled[9], scaled[0]), (4096, 4096 - 255, 1));
        assert_eq!(frequencies(&[1, 1, 1]).iter().sum::<u32>(), 4096);
        assert_eq!(frequencies(&[0]), [4096]);
    }

    #[test]
    fn symbols_come_back() {
        let skewed: Vec<u8> = (0..5000u32).map(|i| (i.wrapping_mul(i) % 251 % (1 + i % 17)) as u8).collect();
        let all: Vec<u8> = (0..=255).collect();
        let one = [7; 100_000];
        for symbols in [&skewed[..], &all, &one, &[0], &[255], &[]] {
            let mut bytes = encode(symbols);
            bytes.push(42);
            let (decoded, rest) = decode(&bytes, symbols.len()).expect("a code");
            assert!((&decoded[..], rest) == (symbols, &[42u8][..]));
        }
        assert!(encode(&one).len() < 16, "a symbol without alternatives needs no bits");
        assert_eq!(decode(&encode(&skewed)[..100], skewed.len()), None);
    }

    #[test]
    fn the_code_is_as_long_as_the_entropy() {
        // Probabilities 1/2, 1/4, 1/8, 1/8: 1.75 bits a symbol.
        let symbols: Vec<u8> = (0..80_000u32).map(|i| [0, 1, 0, 2, 0, 1, 0, 3][i as usize % 8]).collect();
        let bits = 8.0 * encode(&symbols).len() as f64 / symbols.len() as f64;
        assert!((1.75..1.7525).contains(&bits), "{bits}");
    }
}
