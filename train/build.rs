//! With feature `cuda`, compiles the kernels of src/kernels/cuda/ to PTX, which the driver compiles for the GPU at
//! hand. nvcc is called directly: cudaforge builds for the capability of one machine (`sm_90a` on a Hopper, which
//! no later GPU loads), where PTX for `compute_80` serves every GPU with bf16 arithmetic, Ampere and after.

use std::{env, error::Error, path::Path, process::Command};

const FOLDER: &str = "src/kernels/cuda";
const KERNELS: [&str; 7] = ["adamw", "attention", "cross_entropy", "elementwise", "flash", "nf4", "norm"];
const FLAGS: [&str; 6] = ["-ptx", "-arch=compute_80", "-std=c++17", "-O3", "-Werror", "all-warnings"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    // Whatever else changes, such as PATH, is nothing to a build without kernels.
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return Ok(());
    }
    println!("cargo::rerun-if-changed={FOLDER}");
    for name in ["CUDA_HOME", "NVCC_CCBIN", "PATH"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    let out = env::var("OUT_DIR")?;
    let nvcc = match env::var_os("CUDA_HOME") {
        Some(home) => Path::new(&home).join("bin/nvcc"),
        None => "nvcc".into(),
    };
    for kernel in KERNELS {
        let source = format!("{FOLDER}/{kernel}.cu");
        let mut command = Command::new(&nvcc);
        command.args(FLAGS).arg("-o").arg(format!("{out}/{kernel}.ptx")).arg(&source);
        // NVCC_CCBIN, the host's C++ compiler, is read by nvcc itself.
        let output = command.output().map_err(|error| {
            format!(
                "feature `cuda` needs the CUDA compiler, and {} does not start ({error}): install CUDA 13 and set \
                 CUDA_HOME to its folder or put nvcc into PATH; NVCC_CCBIN names a host compiler it accepts",
                nvcc.display()
            )
        })?;
        if !output.status.success() {
            let said = String::from_utf8_lossy(&output.stderr);
            return Err(format!("{} refuses {source} ({}):\n{said}", nvcc.display(), output.status).into());
        }
    }
    Ok(())
}
