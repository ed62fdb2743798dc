//! With feature `cuda`, compiles the `.cu` files of src/kernels/ to fat binaries: machine code for Ampere (which Ada runs
//! too) and Hopper, so that nothing is compiled when a program starts and no compiler of the driver's is needed, and PTX for
//! `compute_80`, which the driver compiles for every later GPU. nvcc is called directly: cudaforge builds for the
//! capability of one machine (`sm_90a` on a Hopper, which no later GPU loads).

use std::{
    env,
    error::Error,
    fs,
    path::{Path, PathBuf},
    process::Command,
};

const FOLDER: &str = "src/kernels";
// What kernels share lies in the folder itself.
const FLAGS: [&str; 9] = [
    "-fatbin",
    "-gencode",
    "arch=compute_80,code=[sm_80,sm_90,compute_80]",
    "-std=c++17",
    "-O3",
    "-Werror",
    "all-warnings",
    "-I",
    FOLDER,
];

/// Every `.cu` file, in the order of their paths.
fn sources() -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut sources = Vec::new();
    for folder in fs::read_dir(FOLDER)? {
        let folder = folder?.path();
        if folder.is_dir() {
            for file in fs::read_dir(folder)? {
                sources.push(file?.path());
            }
        }
    }
    sources.retain(|path| path.extension().is_some_and(|extension| extension == "cu"));
    sources.sort();
    Ok(sources)
}

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
    for source in sources()? {
        let name = source.file_stem().unwrap_or_default().to_string_lossy();
        let mut command = Command::new(&nvcc);
        command.args(FLAGS).arg("-o").arg(format!("{out}/{name}.fatbin")).arg(&source);
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
            return Err(format!("{} refuses {} ({}):\n{said}", nvcc.display(), source.display(), output.status).into());
        }
    }
    Ok(())
}
