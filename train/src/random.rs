//! The one source of randomness: a counter-based generator. Value `i` of a stream is a function of the
//! stream's key and `i` alone, so a dropout mask is made again in the backward pass and never stored, and
//! nothing depends on the order in which threads ask. The mixing steps are SplitMix64's (Steele, Lea and
//! Flood 2014) and, for 32 bits, Ettinger's `lowbias32`.

const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// SplitMix64's finaliser.
pub const fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// The key of the stream called `name` under `seed`: FNV-1a of the name, mixed with the seed.
pub fn key(seed: u64, name: &str) -> u64 {
    let fnv =
        name.bytes().fold(0xCBF2_9CE4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01B3));
    mix(fnv.wrapping_add(seed.wrapping_mul(GOLDEN)))
}

/// A stream within a stream, for instance step 7 of `dropout`.
pub const fn child(key: u64, number: u64) -> u64 {
    mix(key ^ number.wrapping_add(1).wrapping_mul(GOLDEN))
}

/// 64 random bits: number `i` of the stream.
pub const fn bits(key: u64, i: u64) -> u64 {
    mix(key.wrapping_add(i.wrapping_add(1).wrapping_mul(GOLDEN)))
}

/// Uniform in [0, 1) with 24 bits, exact in f32.
#[allow(clippy::cast_precision_loss, reason = "24 bits fit")]
pub const fn uniform(key: u64, i: u64) -> f32 {
    (bits(key, i) >> 40) as f32 / 16_777_216.0
}

/// `n` values uniform in [-scale, scale).
pub fn uniform_vec(key: u64, n: usize, scale: f32) -> Vec<f32> {
    (0..n as u64).map(|i| (2.0 * uniform(key, i) - 1.0) * scale).collect()
}

/// `n` values of a normal distribution of mean 0 and the given deviation (Box and Muller, in f64).
#[allow(clippy::cast_possible_truncation, reason = "rounded to f32 on purpose")]
pub fn normal_vec(key: u64, n: usize, deviation: f64) -> Vec<f32> {
    let unit = |i: u64| {
        #[allow(clippy::cast_precision_loss, reason = "53 bits fit")]
        let u = ((bits(key, i) >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0;
        u
    };
    (0..n as u64)
        .map(|i| {
            let (radius, angle) = ((-2.0 * unit(2 * i).ln()).sqrt(), std::f64::consts::TAU * unit(2 * i + 1));
            (deviation * radius * angle.cos()) as f32
        })
        .collect()
}

/// 32 random bits for element `i` of a mask: cheap, and the same on a CPU's lanes and a GPU's threads.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the two halves of the key")]
#[allow(clippy::inline_always, reason = "so that loops over it become vector code")]
pub const fn mask_bits(key: u64, i: u32) -> u32 {
    let mut x = i ^ key as u32;
    x = (x ^ (x >> 16)).wrapping_mul(0x21F0_AAAD);
    x = (x ^ (x >> 15)).wrapping_mul(0x735A_2D97);
    x = (x ^ (x >> 15)).wrapping_add((key >> 32) as u32);
    x = (x ^ (x >> 16)).wrapping_mul(0x21F0_AAAD);
    x = (x ^ (x >> 15)).wrapping_mul(0x735A_2D97);
    x ^ (x >> 15)
}

/// The order of `n` things, shuffled (Fisher and Yates).
pub fn permutation(key: u64, n: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..n).collect();
    for i in (1..n).rev() {
        // The bias of a remainder of 64 bits is below 2^-32 for any n in memory.
        let j = usize::try_from(bits(key, i as u64) % (i as u64 + 1)).unwrap_or(0);
        order.swap(i, j);
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_uniform_and_apart() {
        let n = 1_u32 << 20;
        for name in ["a", "b"] {
            let k = key(7, name);
            let kept = (0..n).filter(|i| f64::from(mask_bits(k, *i)) >= 0.1 * 4_294_967_296.0).count();
            #[allow(clippy::cast_precision_loss, reason = "small")]
            let share = kept as f64 / f64::from(n);
            assert!((share - 0.9).abs() < 0.002, "{share}");
        }
        let (a, b) = (key(7, "a"), key(7, "b"));
        let same = (0..n).filter(|i| (mask_bits(a, *i) ^ mask_bits(b, *i)) >> 31 == 0).count();
        assert!(same.abs_diff(n as usize / 2) < 3000, "{same}");
    }

    #[test]
    fn normal_has_its_moments() {
        let v = normal_vec(key(1, "n"), 1 << 18, 2.0);
        #[allow(clippy::cast_precision_loss, reason = "small")]
        let n = v.len() as f64;
        let mean = v.iter().map(|x| f64::from(*x)).sum::<f64>() / n;
        let var = v.iter().map(|x| (f64::from(*x) - mean).powi(2)).sum::<f64>() / n;
        assert!(mean.abs() < 0.02 && (var - 4.0).abs() < 0.05, "{mean} {var}");
    }

    #[test]
    fn a_permutation_has_everything_once() {
        let mut order = permutation(key(3, "p"), 1000);
        assert_ne!(order[..5], [0, 1, 2, 3, 4]);
        order.sort_unstable();
        assert_eq!(order, (0..1000).collect::<Vec<_>>());
    }
}
