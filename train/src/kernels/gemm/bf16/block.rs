//! The inner loop: two tiles of lines of one factor by two of the other, summed over the inner size in f32. By AMX where the
//! processor and its system have it (Intel since Sapphire Rapids), by AVX512-BF16 else (AMD since Zen 4, Intel since Cooper Lake).

use std::sync::OnceLock;

use super::tiles::{LINES, Tile};

/// Rows and columns of a block of sums.
pub const SIDE: usize = 2 * LINES;

/// The sums of a block, row by row.
#[repr(C, align(64))]
pub struct Sums(pub [f32; SIDE * SIDE]);

/// Two rows, or columns, of tiles along the inner size, of equal length.
pub type Lines<'a> = [&'a [Tile]; 2];

/// Instructions for products of bf16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instructions {
    /// Tiles of 16 x 32 by 32 x 16.
    Amx,
    /// Vectors of 32.
    Avx512Bf16,
}

impl Instructions {
    /// The best that this machine has.
    pub fn best() -> Option<Self> {
        static BEST: OnceLock<Option<Instructions>> = OnceLock::new();
        *BEST.get_or_init(|| Self::all().first().copied())
    }

    /// As a processor's data sheet has it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Amx => "AMX-BF16",
            Self::Avx512Bf16 => "AVX512-BF16",
        }
    }

    /// All that this machine has, the best first.
    pub fn all() -> Vec<Self> {
        #[cfg(target_arch = "x86_64")]
        return [(Self::Amx, x86::has_amx()), (Self::Avx512Bf16, x86::has_avx512_bf16())]
            .into_iter()
            .filter_map(|(instructions, has)| has.then_some(instructions))
            .collect();
        #[cfg(not(target_arch = "x86_64"))]
        Vec::new()
    }

    /// Compute blocks on this thread: `f` gets what computes one.
    pub fn run<R>(self, f: impl FnOnce(&dyn Fn(Lines<'_>, Lines<'_>, &mut Sums)) -> R) -> R {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Self::Amx => {
                let tiles = x86::AmxTiles::new();
                f(&|left, right, sums| tiles.block(left, right, sums))
            }
            Self::Avx512Bf16 => f(&x86::avx512_block),
        };
        #[cfg(not(target_arch = "x86_64"))]
        f(&|_, _, _| unreachable!("no instructions were found"))
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(
    unsafe_code,
    reason = "instructions that the compiler has no safe functions for; each use says why it is sound"
)]
mod x86 {
    use std::arch::{
        asm,
        x86_64::{
            __cpuid, __cpuid_count, __m512bh, __m512i, _mm512_dpbf16_ps, _mm512_load_si512, _mm512_set1_epi32,
            _mm512_setzero_ps, _mm512_store_ps,
        },
    };

    use super::{
        super::tiles::{LINES, PAIRS, Tile},
        Lines, SIDE, Sums,
    };

    /// Whether the processor has AMX for bf16 and the system lets this process use it.
    pub fn has_amx() -> bool {
        // Leaf 7: EDX bit 22 is AMX-BF16, bit 24 AMX-TILE.
        cfg!(target_os = "linux")
            && __cpuid(0).eax >= 7
            && __cpuid_count(7, 0).edx >> 22 & 0b101 == 0b101
            && has_avx512_bf16()
            && permitted()
    }

    /// Linux gives room for tiles to a process that asks for it: `arch_prctl(ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA)`.
    fn permitted() -> bool {
        let result: i64;
        // SAFETY: a system call that reads and writes no memory of ours; it clobbers the registers that are named.
        unsafe {
            asm!("syscall", inlateout("rax") 158_i64 => result, in("rdi") 0x1023_i64, in("rsi") 18_i64,
                out("rcx") _, out("r11") _, options(nostack));
        }
        result == 0
    }

    pub fn has_avx512_bf16() -> bool {
        is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16")
    }

    /// Palette 1, and eight tiles of 16 rows of 64 bytes.
    #[repr(C, align(64))]
    struct Shapes([u8; 64]);

    static SHAPES: Shapes = {
        let mut bytes = [0; 64];
        bytes[0] = 1;
        let mut tile = 0;
        while tile < 8 {
            bytes[16 + 2 * tile] = 64;
            bytes[48 + tile] = 16;
            tile += 1;
        }
        Shapes(bytes)
    };

    /// The tile registers of this thread, in use until it is dropped. It stays on its thread.
    pub struct AmxTiles(std::marker::PhantomData<*const ()>);

    impl AmxTiles {
        /// Take the registers into use.
        ///
        /// # Panics
        /// The machine has none: a fault of ours.
        pub fn new() -> Self {
            assert!(super::Instructions::best() == Some(super::Instructions::Amx), "no AMX");
            // SAFETY: the processor has AMX and the process may use it, as was found out above; 64 bytes are read.
            unsafe { asm!("ldtilecfg [{}]", in(reg) SHAPES.0.as_ptr(), options(nostack, readonly)) };
            Self(std::marker::PhantomData)
        }

        /// The sums of a block.
        #[allow(clippy::unused_self, reason = "that it is there says that the registers are configured")]
        pub fn block(&self, [a0, a1]: Lines<'_>, [b0, b1]: Lines<'_>, sums: &mut Sums) {
            let n = a0.len();
            assert!(n > 0 && [a1, b0, b1].iter().all(|tiles| tiles.len() == n), "rows of tiles differ in length");
            // SAFETY: the registers are configured as long as `self` is there. Each turn reads a whole tile of 1024 bytes at each
            // of four pointers, which begin `n` tiles each; 16 rows of 64 bytes are written in each quarter of the sums.
            unsafe {
                asm!(
                    "tilezero tmm0", "tilezero tmm1", "tilezero tmm2", "tilezero tmm3",
                    "2:",
                    "tileloadd tmm4, [{a0} + {row}*1]",
                    "tileloadd tmm6, [{b0} + {row}*1]",
                    "tdpbf16ps tmm0, tmm4, tmm6",
                    "tileloadd tmm7, [{b1} + {row}*1]",
                    "tdpbf16ps tmm1, tmm4, tmm7",
                    "tileloadd tmm5, [{a1} + {row}*1]",
                    "tdpbf16ps tmm2, tmm5, tmm6",
                    "tdpbf16ps tmm3, tmm5, tmm7",
                    "add {a0}, 1024", "add {a1}, 1024", "add {b0}, 1024", "add {b1}, 1024",
                    "dec {n}", "jnz 2b",
                    "tilestored [{sums} + {out}*1], tmm0",
                    "tilestored [{sums} + {out}*1 + 64], tmm1",
                    "tilestored [{sums} + {out}*1 + 2048], tmm2",
                    "tilestored [{sums} + {out}*1 + 2112], tmm3",
                    a0 = inout(reg) a0.as_ptr() => _, a1 = inout(reg) a1.as_ptr() => _,
                    b0 = inout(reg) b0.as_ptr() => _, b1 = inout(reg) b1.as_ptr() => _,
                    n = inout(reg) n => _, sums = in(reg) sums.0.as_mut_ptr(), row = in(reg) 64_usize, out = in(reg) 128_usize,
                    out("tmm0") _, out("tmm1") _, out("tmm2") _, out("tmm3") _,
                    out("tmm4") _, out("tmm5") _, out("tmm6") _, out("tmm7") _,
                    options(nostack),
                );
            }
        }
    }

    impl Drop for AmxTiles {
        fn drop(&mut self) {
            // SAFETY: gives the registers up; nothing else of this thread uses them.
            unsafe { asm!("tilerelease", options(nostack, nomem)) };
        }
    }

    /// The sums of a block, by vectors.
    ///
    /// # Panics
    /// The machine has no such vectors: a fault of ours.
    pub fn avx512_block(left: Lines<'_>, right: Lines<'_>, sums: &mut Sums) {
        assert!(has_avx512_bf16(), "no AVX512-BF16");
        // SAFETY: the processor has what the function is compiled for.
        unsafe { vectors(left, right, sums) }
    }

    /// Rows of a block that have their sums in registers at a time.
    const ROWS: usize = 8;

    #[target_feature(enable = "avx512f,avx512bf16")]
    fn vectors(left: Lines<'_>, [b0, b1]: Lines<'_>, sums: &mut Sums) {
        // SAFETY: both are 512 bits.
        let halves = |vector: __m512i| -> __m512bh { unsafe { std::mem::transmute(vector) } };
        // SAFETY: a row of a tile is 64 bytes, and tiles are aligned to as many.
        let load =
            |tile: &Tile, p: usize| halves(unsafe { _mm512_load_si512(tile.0[p * LINES..][..LINES].as_ptr().cast()) });
        for first in (0..SIDE).step_by(ROWS) {
            let lines = left[first / LINES];
            let from = first % LINES * PAIRS;
            let mut sum = [[_mm512_setzero_ps(); 2]; ROWS];
            for ((a, b0), b1) in lines.iter().zip(b0).zip(b1) {
                let (rows, _) = a.0[from..][..ROWS * PAIRS].as_chunks::<PAIRS>();
                for p in 0..PAIRS {
                    let columns = [load(b0, p), load(b1, p)];
                    for (sum, row) in sum.iter_mut().zip(rows) {
                        let both = halves(_mm512_set1_epi32(row[p].cast_signed()));
                        sum[0] = _mm512_dpbf16_ps(sum[0], both, columns[0]);
                        sum[1] = _mm512_dpbf16_ps(sum[1], both, columns[1]);
                    }
                }
            }
            for (row, halves) in sums.0[first * SIDE..].as_chunks_mut::<LINES>().0.chunks_mut(2).zip(sum) {
                for (out, sum) in row.iter_mut().zip(halves) {
                    // SAFETY: 16 sums, 64 bytes at a multiple of 64.
                    unsafe { _mm512_store_ps(out.as_mut_ptr(), sum) };
                }
            }
        }
    }
}
