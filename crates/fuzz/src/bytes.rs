//! Values at the edges, and frames with a byte or a field changed.

use fastrand::Rng;

/// Returns a number for the place of `value`: the same, a neighbour, an edge of some width, or any.
#[must_use]
pub fn near(random: &mut Rng, value: u64) -> u64 {
    match random.u8(0..12) {
        0 => value,
        1 => value.wrapping_add(1),
        2 => value.wrapping_sub(1),
        3 => value.wrapping_mul(2),
        4 => value / 2,
        5 => value ^ 1 << random.u32(0..64),
        6 => value.wrapping_add(random.u64(0..64)).wrapping_sub(32),
        7 => random.u64(..) >> random.u32(0..64),
        8 | 9 => random.choice(EXTREMES).unwrap_or(0),
        _ => {
            let edge = 1u64.checked_shl(random.u32(0..=64)).unwrap_or(0);
            edge.wrapping_add(random.u64(0..3)).wrapping_sub(1)
        }
    }
}

const EXTREMES: [u64; 6] = [0, 1, u32::MAX as u64, i64::MAX as u64, 1 << 63, u64::MAX];

/// Changes a bit, a byte, or a little-endian field of two, four or eight bytes; rarely several.
pub fn mutate(random: &mut Rng, bytes: &mut [u8]) {
    if bytes.is_empty() {
        return;
    }
    for _ in 0..if random.u8(0..4) == 0 { random.u8(2..6) } else { 1 } {
        match random.u8(0..6) {
            0 => bytes[random.usize(..bytes.len())] ^= 1 << random.u32(0..8),
            1 => bytes[random.usize(..bytes.len())] = random.u8(..),
            _ => {
                let width = random.choice([1, 2, 4, 8]).unwrap_or(1).min(bytes.len());
                let at = random.usize(..=bytes.len() - width);
                // Frames keep their fields aligned.
                let field = &mut bytes[at - at % width..][..width];
                let mut value = [0; 8];
                value[..width].copy_from_slice(field);
                let changed = near(random, u64::from_le_bytes(value)).to_le_bytes();
                field.copy_from_slice(&changed[..width]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_small_or_an_edge_and_comes_often() {
        let mut random = Rng::with_seed(1);
        let good = [7u8; 32];
        let changed = (0..1000)
            .filter(|_| {
                let mut bytes = good;
                mutate(&mut random, &mut bytes);
                bytes != good
            })
            .count();
        assert!(changed > 900, "{changed}");
        for _ in 0..100 {
            mutate(&mut random, &mut []);
            mutate(&mut random, &mut [0; 3]);
        }
        let numbers: Vec<u64> = (0..10_000).map(|_| near(&mut random, 100)).collect();
        for edge in [0, 99, 100, 101, 1 << 32, u64::from(u32::MAX), u64::MAX, 1 << 63] {
            assert!(numbers.contains(&edge), "{edge}");
        }
    }
}
