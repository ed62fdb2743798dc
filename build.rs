//! Lists the files that the program carries, for `setaccio_base::bundle`: recipes, templates, word lists and samples.

use std::{env, error::Error, fmt::Write, fs, path::Path};

/// Folders of the repository, and what of them is carried.
const CARRIED: [(&str, &[&str]); 9] = [
    ("pipelines", &["toml"]),
    ("pipelines/templates", &["jinja"]),
    ("pipelines/train", &["toml"]),
    ("pipelines/train/all", &["toml"]),
    ("pipelines/eval", &["toml"]),
    ("filters/lists", &["txt"]),
    ("data/samples", &["json", "jsonl", "gz", "parquet"]),
    ("data/samples/evaluation", &["jsonl"]),
    ("data/samples/eval", &["jsonl"]),
];

fn main() -> Result<(), Box<dyn Error>> {
    let root = env::var("CARGO_MANIFEST_DIR")?;
    let mut list = String::from("&[\n");
    for (folder, extensions) in CARRIED {
        println!("cargo::rerun-if-changed={folder}");
        let mut paths = fs::read_dir(Path::new(&root).join(folder))?
            .map(|entry| entry.map(|e| e.path()))
            .collect::<Result<Vec<_>, _>>()?;
        paths.retain(|path| path.extension().is_some_and(|e| extensions.iter().any(|known| e == *known)));
        paths.sort();
        for path in paths {
            let name = format!("{folder}/{}", path.file_name().unwrap_or_default().to_string_lossy());
            // The compiler is told of the folder: one that was moved is looked at where it is now.
            let found = format!("concat!(env!(\"CARGO_MANIFEST_DIR\"), \"/{name}\")");
            writeln!(list, "    (\"{name}\", include_bytes!({found})),")?;
        }
    }
    fs::write(Path::new(&env::var("OUT_DIR")?).join("bundle.rs"), list + "]\n")?;
    Ok(())
}
