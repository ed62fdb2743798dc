//! Python's `random.Random`, as far as examples are drawn with it: the Mersenne Twister MT19937 (Matsumoto and Nishimura 1998),
//! seeded as Python seeds it with a whole number, and `sample`.

use std::collections::HashSet;

const N: usize = 624;
const M: usize = 397;

/// The generator.
#[derive(Clone, Debug)]
pub struct PythonRandom {
    state: [u32; N],
    at: usize,
}

impl PythonRandom {
    /// `random.Random(seed)` of a number below 2^32.
    pub fn new(seed: u32) -> Self {
        let mut random = Self { state: [0; N], at: N };
        random.fill(19_650_218);
        let state = &mut random.state;
        let mut i = 1;
        // The key is the seed alone, so each round adds its first and only word.
        for _ in 0..N {
            let before = state[i - 1] ^ (state[i - 1] >> 30);
            state[i] = (state[i] ^ before.wrapping_mul(1_664_525)).wrapping_add(seed);
            i += 1;
            if i >= N {
                state[0] = state[N - 1];
                i = 1;
            }
        }
        for _ in 1..N {
            let before = state[i - 1] ^ (state[i - 1] >> 30);
            #[allow(clippy::cast_possible_truncation, reason = "below 624")]
            let place = i as u32;
            state[i] = (state[i] ^ before.wrapping_mul(1_566_083_941)).wrapping_sub(place);
            i += 1;
            if i >= N {
                state[0] = state[N - 1];
                i = 1;
            }
        }
        state[0] = 0x8000_0000;
        random
    }

    fn fill(&mut self, seed: u32) {
        self.state[0] = seed;
        for i in 1..N {
            let before = self.state[i - 1] ^ (self.state[i - 1] >> 30);
            #[allow(clippy::cast_possible_truncation, reason = "below 624")]
            let place = i as u32;
            self.state[i] = before.wrapping_mul(1_812_433_253).wrapping_add(place);
        }
    }

    /// 32 bits.
    fn word(&mut self) -> u32 {
        if self.at >= N {
            for i in 0..N {
                let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
                let odd = if y & 1 == 1 { 0x9908_b0df } else { 0 };
                self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ odd;
            }
            self.at = 0;
        }
        let mut y = self.state[self.at];
        self.at += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// A number below `n`, which is not 0: `_randbelow`.
    fn below(&mut self, n: u32) -> u32 {
        let bits = u32::BITS - n.leading_zeros();
        loop {
            let r = self.word() >> (u32::BITS - bits);
            if r < n {
                return r;
            }
        }
    }

    /// Places of `k` of `n` things: `sample`.
    ///
    /// # Panics
    /// There are fewer than `k`.
    pub fn sample(&mut self, n: usize, k: usize) -> Vec<usize> {
        assert!(k <= n, "{k} of {n}");
        let below = |random: &mut Self, n: usize| random.below(u32::try_from(n).unwrap_or(u32::MAX)) as usize;
        // Python keeps a list of all where that is smaller than a set of those that were drawn.
        let mut set = 21;
        if k > 5 {
            let mut size = 1;
            while size < k * 3 {
                size *= 4;
            }
            set += size;
        }
        if n <= set {
            let mut pool: Vec<usize> = (0..n).collect();
            return (0..k)
                .map(|i| {
                    let j = below(self, n - i);
                    let drawn = pool[j];
                    pool[j] = pool[n - i - 1];
                    drawn
                })
                .collect();
        }
        let mut drawn = HashSet::new();
        (0..k)
            .map(|_| {
                loop {
                    let j = below(self, n);
                    if drawn.insert(j) {
                        return j;
                    }
                }
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_python() {
        // python3 -c "import random; r = random.Random(1234); print([r.getrandbits(32) for _ in range(4)])"
        let mut random = PythonRandom::new(1234);
        assert_eq!([(); 4].map(|()| random.word()), WORDS);
        let mut random = PythonRandom::new(1234);
        // r = random.Random(1234); [r.sample(range(n), k) for n, k in ...]
        for (n, k, drawn) in SAMPLES {
            assert_eq!(random.sample(n, k), drawn, "{k} of {n}");
        }
        // r = random.Random(0); for _ in range(1000): s = r.sample(range(7473), 5); print(s)
        let mut random = PythonRandom::new(0);
        for _ in 0..999 {
            random.sample(7473, 5);
        }
        assert_eq!(random.sample(7473, 5), LAST);
    }

    const WORDS: [u32; 4] = [4_150_886_329, 3_342_196_574, 1_892_932_127, 501_869_158];
    const SAMPLES: [(usize, usize, &[usize]); 11] = [
        (7473, 5, &[6374, 3610, 957, 61, 742]),
        (21, 5, &[18, 1, 2, 3, 11]),
        (22, 5, &[7, 0, 11, 20, 19]),
        (5, 5, &[3, 4, 0, 2, 1]),
        (1, 1, &[0]),
        (100, 7, &[1, 64, 62, 31, 8, 85, 69]),
        (85, 6, &[59, 8, 76, 11, 65, 74]),
        (86, 6, &[5, 34, 71, 8, 82, 38]),
        (
            1119,
            25,
            &[
                985, 727, 545, 510, 409, 928, 1085, 39, 1040, 144, 11, 683, 294, 968, 772, 342, 110, 156, 1016, 335,
                154, 440, 295, 55, 709,
            ],
        ),
        (300, 0, &[]),
        (70_000, 3, &[14_534, 69_426, 18_511]),
    ];
    const LAST: [usize; 5] = [1392, 2839, 305, 3477, 3597];
}
