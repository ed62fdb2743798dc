//! GPUs that a run can be planned for without having one: their memory as `nvidia-smi` shows it, dense bf16 FLOP and bytes of
//! memory a second as NVIDIA's data sheets state them. Nothing here was measured.

use setaccio_base::suggest;

use crate::cost::Machine;

/// A GPU.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Gpu {
    /// What it is called here: lower case, digits and `-`.
    pub name: &'static str,
    /// What NVIDIA calls it.
    pub title: &'static str,
    /// Its memory, in MiB.
    mib: usize,
    /// Dense bf16, with sums in f32, in TFLOP/s.
    tflops: f64,
    /// Memory traffic in GB/s.
    gbs: f64,
}

/// What CUDA and its libraries keep for themselves once a program has begun, in bytes: about half a GiB. Not measured.
pub const CONTEXT: usize = 512 << 20;

const fn gpu(name: &'static str, title: &'static str, mib: usize, tflops: f64, gbs: f64) -> Gpu {
    Gpu { name, title, mib, tflops, gbs }
}

/// All that are known, by name.
pub const GPUS: [Gpu; 16] = [
    gpu("a10", "NVIDIA A10", 23_028, 125.0, 600.0),
    gpu("a100-40gb", "NVIDIA A100 40 GB", 40_960, 312.0, 1555.0),
    gpu("a100-64gb", "NVIDIA A100 64 GB (LEONARDO)", 65_536, 312.0, 1640.0),
    gpu("a100-80gb", "NVIDIA A100 80 GB", 81_920, 312.0, 2039.0),
    gpu("a6000", "NVIDIA RTX A6000", 49_140, 154.8, 768.0),
    gpu("b200", "NVIDIA B200", 183_359, 2250.0, 8000.0),
    gpu("h100", "NVIDIA H100 SXM", 81_559, 989.0, 3350.0),
    gpu("h100-pcie", "NVIDIA H100 PCIe", 81_559, 756.0, 2000.0),
    gpu("h200", "NVIDIA H200", 143_771, 989.0, 4800.0),
    gpu("l4", "NVIDIA L4", 23_034, 121.0, 300.0),
    gpu("l40s", "NVIDIA L40S", 46_068, 362.0, 864.0),
    gpu("rtx-3090", "NVIDIA GeForce RTX 3090", 24_576, 71.0, 936.0),
    gpu("rtx-4080", "NVIDIA GeForce RTX 4080", 16_376, 97.5, 717.0),
    gpu("rtx-4090", "NVIDIA GeForce RTX 4090", 24_564, 165.2, 1008.0),
    gpu("rtx-5080", "NVIDIA GeForce RTX 5080", 16_303, 112.6, 960.0),
    gpu("rtx-5090", "NVIDIA GeForce RTX 5090", 32_607, 209.5, 1792.0),
];

impl Gpu {
    /// The GPU of this name, in whatever case, with or without `-` and spaces.
    ///
    /// # Errors
    /// There is none: the nearest name is said.
    pub fn named(name: &str) -> Result<&'static Self, String> {
        let plain = |name: &str| name.to_lowercase().replace([' ', '-', '_'], "");
        GPUS.iter().find(|gpu| plain(gpu.name) == plain(name)).ok_or_else(|| {
            let near = suggest::nearest(name, GPUS.iter().map(|gpu| gpu.name));
            let all: Vec<&str> = GPUS.iter().map(|gpu| gpu.name).collect();
            format!("no GPU is called `{name}` here{near}: there are {}; of others say --device-memory", all.join(", "))
        })
    }

    /// Its memory in bytes.
    pub fn bytes(&self) -> usize {
        self.mib << 20
    }

    /// What a step is predicted by.
    pub fn machine(&self) -> Machine {
        Machine::of_data_sheet(self.name, self.bytes(), self.tflops * 1e12, self.gbs * 1e9)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::H200;

    #[test]
    fn names_are_found_however_they_are_written() {
        for name in ["rtx-4090", "RTX 4090", "rtx4090", "Rtx_4090"] {
            assert_eq!(Gpu::named(name).unwrap().title, "NVIDIA GeForce RTX 4090");
        }
        let error = Gpu::named("rtx-4091").unwrap_err();
        assert!(error.contains("did you mean `rtx-4090`") && error.contains("--device-memory"), "{error}");
        assert!(GPUS.windows(2).all(|pair| pair[0].name < pair[1].name), "in order, and none twice");
    }

    #[test]
    fn the_machine_that_others_are_scaled_from_is_itself() {
        let own = Gpu::named("h200").unwrap().machine();
        assert!((own.products / H200.products - 1.0).abs() < 1e-12 && (own.traffic / H200.traffic - 1.0).abs() < 1e-12);
    }
}
