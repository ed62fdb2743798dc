//! What leaves this machine says nothing of it: no token, no path, no home folder and so no user's name.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use setaccio_base::{gguf_header, safetensors_header, shell};
use setaccio_hub::{
    Settings,
    upload::{Content, LocalFile},
};

use super::shapes;

/// Files that tell of how the others were made, and so may name places of this machine. A vocabulary or a template is
/// what it is: `~` is a token there.
const TELLING: [&str; 7] = [
    "README.md",
    "adapter_config.json",
    "config.json",
    "ledger.json",
    "metrics.jsonl",
    "recipe.lock.toml",
    "run.lock.toml",
];
/// Larger files are weights or rows.
const LONGEST_TEXT: u64 = 32 << 20;
/// What may stand around a path in JSON, TOML, Markdown and the lines of a shell.
const AROUND: [char; 14] = ['"', '\'', '`', '(', ')', '<', '>', '[', ']', '=', ',', ';', '{', '}'];

/// The same files, with paths of this machine cut down to their last part in the texts of runs and models. A data
/// set's texts carry each other's hashes, so a path in them is an error, and so is a token anywhere, in what weights say of
/// themselves too.
pub fn check(
    files: Vec<LocalFile>,
    (out, no_secrets): (&Path, &[String]),
    settings: &Settings,
) -> Result<Vec<LocalFile>> {
    if let Some(name) = no_secrets.iter().find(|name| files.iter().all(|file| file.path != **name)) {
        bail!("--no-secret {name}: no file of that name would be pushed; nothing was pushed");
    }
    let dataset = files.iter().any(|f| f.path == "ledger.json");
    let places = places(out);
    files
        .into_iter()
        .map(|local| {
            let content = text(&local)?;
            let said = content.as_ref().map_or_else(|| header(&local), |text| Ok(text.clone()))?;
            if settings.token.as_ref().is_some_and(|t| said.contains(t.secret())) {
                bail!("{} holds an access token: take it out, and revoke it; nothing was pushed", local.path);
            }
            refuse(&local.path, &said, no_secrets)?;
            let Some(text) = content else { return Ok(local) };
            let telling = TELLING.contains(&local.path.rsplit('/').next().unwrap_or_default());
            let cleaned = if telling { cleaned(&text, &places) } else { text.clone() };
            if cleaned == text {
                return Ok(local);
            }
            if dataset {
                bail!(
                    "{} names a path of this machine ({}): give the recipe paths relative to its own folder, and build \
                     again; nothing was pushed",
                    local.path,
                    first_path(&text, &places).unwrap_or_default()
                );
            }
            Ok(LocalFile { content: Content::Bytes(cleaned.into_bytes()), ..local })
        })
        .collect()
}

/// Refuse what has the shape of a secret, unless somebody said of the file that it holds none.
fn refuse(name: &str, text: &str, no_secrets: &[String]) -> Result<()> {
    match shapes::secret(text) {
        Some(kind) if no_secrets.iter().all(|told| told != name) => bail!(
            "{name} holds what looks like {kind}: take it out, and revoke it; if it is no secret, say so with \
             `--no-secret {}`; nothing was pushed",
            shell::word(name)
        ),
        _ => Ok(()),
    }
}

/// What weights in safetensors and GGUF say of themselves; of other files that are no texts nothing.
fn header(local: &LocalFile) -> Result<String> {
    let Content::File(path) = &local.content else { return Ok(String::new()) };
    let open = || std::fs::File::open(path).with_context(|| format!("cannot open {}", path.display()));
    match path.extension().and_then(|end| end.to_str()) {
        Some("safetensors") => {
            let metadata = safetensors_header::read(&open()?, path)?.metadata;
            Ok(metadata.into_iter().flat_map(|(name, value)| [name, " = ".into(), value, "\n".into()]).collect())
        }
        Some("gguf") => Ok(gguf_header::texts(&open()?, path)?),
        _ => Ok(String::new()),
    }
}

/// Whether a file's name says that it holds weights or rows.
pub fn is_weights(path: &Path) -> bool {
    ["parquet", "safetensors", "gguf"].iter().any(|e| path.extension().is_some_and(|x| x == *e))
}

/// The content, if it is text.
fn text(local: &LocalFile) -> Result<Option<String>> {
    let bytes = match &local.content {
        Content::Bytes(bytes) => bytes.clone(),
        Content::File(path) => {
            let size = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?.len();
            if size > LONGEST_TEXT || is_weights(path) {
                return Ok(None);
            }
            std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?
        }
    };
    Ok(String::from_utf8(bytes).ok())
}

/// Folders that are this machine's: home, where the command runs, where the folder lies, and the usual roots.
fn places(out: &Path) -> Vec<String> {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let here = std::env::current_dir().ok();
    let out = out.canonicalize().ok().and_then(|p| p.parent().map(Path::to_owned));
    let own = [home, here, out, Some(std::env::temp_dir())];
    let mut places: Vec<String> = own.into_iter().flatten().map(|p| p.to_string_lossy().into_owned()).collect();
    places.extend(["/home/", "/Users/", "/root/", "~/"].map(str::to_owned));
    places.retain(|p| p.len() > 1);
    places
}

fn is_local(word: &str, places: &[String]) -> bool {
    places.iter().any(|place| {
        let Some(rest) = word.strip_prefix(place.as_str()) else { return false };
        // A root such as `/home/` is nobody's without what follows.
        if place.ends_with('/') { !rest.is_empty() } else { rest.is_empty() || rest.starts_with('/') }
    })
}

/// Words of a text: a path is one, with or without white space and marks around it.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(|c: char| c.is_whitespace() || AROUND.contains(&c))
}

fn bare(word: &str) -> &str {
    word.trim_end_matches(|c: char| c.is_whitespace() || AROUND.contains(&c))
}

fn cleaned(text: &str, places: &[String]) -> String {
    let clean = |word: &str| {
        let path = bare(word);
        if !is_local(path, places) {
            return word.to_owned();
        }
        let (folder, last) = path.trim_end_matches('/').rsplit_once('/').unwrap_or_default();
        // The last part of a home folder is its owner's name.
        let last = if ["/home", "/Users"].contains(&folder) { "HOME" } else { last };
        format!("{last}{}", &word[path.len()..])
    };
    words(text).map(clean).collect()
}

/// As much of the first path as may be shown to whoever owns it.
fn first_path<'a>(text: &'a str, places: &[String]) -> Option<&'a str> {
    words(text).map(bare).find(|w| is_local(w, places))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_cut_down_to_their_last_part() {
        let places: Vec<String> = ["/home/anna", "/scratch/run", "/home/", "~/"].map(str::to_owned).into();
        for (text, clean) in [
            ("path = \"/home/anna/models/Llama-3\"\n", "path = \"Llama-3\"\n"),
            ("setaccio train x.toml --model ~/models/a.gguf --jobs 2", "setaccio train x.toml --model a.gguf --jobs 2"),
            ("see `/scratch/run/out`, and /home/bruno/x", "see `out`, and x"),
            ("{\"base\":\"/home/anna/\"}", "{\"base\":\"HOME\"}"),
        ] {
            assert_eq!(cleaned(text, &places), clean);
        }
        for text in [
            "https://huggingface.co/home/anna",
            "data/out/sft-mix",
            "~",
            "\"~\":98",
            "/homes/x",
            "a/home/anna/b",
            "1/2",
        ] {
            assert_eq!(cleaned(text, &places), text);
        }
    }
}
