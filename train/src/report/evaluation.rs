//! What a finished run is told of its evaluations: they go into its card, its lock and its manifest, and beside its TensorBoard
//! events.

use std::{fs, path::Path};

use setaccio_base::{atomic, manifest, run_lock::RunLock as Lock, sha256::hex_digest};

use super::{
    card,
    line::Line,
    lock::{self, FileHash, RunLock},
    metrics, tensorboard,
};
use crate::error::{Error, Result};

/// Folder of a run's evaluations.
pub const FOLDER: &str = "eval";
/// Folder of its audit.
pub const AUDIT: &str = "audit";

/// What its section of a card begins with.
const HEAD: &str = "## Evaluation\n";
/// What the section stands before.
const BEFORE: &str = "\n## Licences\n";

/// Write into the run in `folder` that it was evaluated: `section` into its card, the hashes of the files of its folder
/// [`FOLDER`], called `names` below it, into lock and manifest, and `values` as TensorBoard's events of the run's last step.
///
/// # Errors
/// There is no finished run, or something cannot be read or written.
pub fn add(folder: &Path, section: &str, names: &[String], values: Vec<(String, f64)>) -> Result<()> {
    let path = folder.join(lock::NAME);
    let mut lock: RunLock = Lock::read(&path)?;
    if lock.made.is_empty() {
        return Err(Error::damaged(path, "this run is not finished: go on with it by `setaccio train ... --resume`"));
    }
    let step = metrics::read(folder)?.iter().map(|line| line.step).max().unwrap_or(0);
    let line = Line { step, values: values.into_iter().collect(), samples: Vec::new() };
    tensorboard::write(&folder.join(FOLDER), &[line])?;
    let hash = |name: &String| {
        let file = format!("{FOLDER}/{name}");
        FileHash::of(&folder.join(&file), &file, &|| false)
    };
    lock.evaluations = names.iter().map(hash).collect::<setaccio_base::Result<_>>()?;
    let card = folder.join(card::NAME);
    let text = fs::read_to_string(&card).map_err(Error::io("read", &card))?;
    let (text, toml) = (with_section(&text, HEAD, section), lock.to_toml()?);
    atomic::write(&card, text.as_bytes())?;
    let of = |file: &str, text: &str| FileHash {
        file: file.to_owned(),
        bytes: text.len() as u64,
        sha256: hex_digest(text.as_bytes()),
    };
    // What is not of the evaluation is as it was.
    let mut files = manifest::files(folder)?;
    files.retain(|file| {
        ![card::NAME, lock::NAME].contains(&&*file.file) && !file.file.starts_with(&format!("{FOLDER}/"))
    });
    files.extend(lock.evaluations.iter().cloned());
    files.extend([of(card::NAME, &text), of(lock::NAME, &toml)]);
    manifest::write(folder, &[format!("{FOLDER}/{}", tensorboard::NAME)], files)?;
    Ok(atomic::write(&path, toml.as_bytes())?)
}

/// Write into the card of the run in `folder` what its audit found, in a section of its own, and into its manifest the card and the
/// audit's files, called `names` below the run.
///
/// # Errors
/// There is no finished run, or something cannot be read or written.
pub fn add_audit(folder: &Path, section: &str, names: &[String]) -> Result<()> {
    let card = folder.join(card::NAME);
    let text = fs::read_to_string(&card).map_err(Error::io("read", &card))?;
    let head = section.split_inclusive('\n').next().unwrap_or_default();
    let text = with_section(&text, head, section);
    let mut files = manifest::files(folder)?;
    files.retain(|file| file.file != card::NAME && !names.contains(&file.file));
    atomic::write(&card, text.as_bytes())?;
    let written: Vec<String> = names.iter().cloned().chain([card::NAME.to_owned()]).collect();
    Ok(manifest::write(folder, &written, files)?)
}

/// Remove what a run was evaluated by, as it becomes another one.
pub fn clear(folder: &Path) -> Result<()> {
    let evaluated = RunLock::read(&folder.join(lock::NAME)).is_ok_and(|lock| !lock.evaluations.is_empty());
    if evaluated { Ok(atomic::remove(&folder.join(FOLDER))?) } else { Ok(()) }
}

/// The section of a card.
pub fn section(text: &str) -> String {
    format!("{HEAD}\n{text}")
}

/// A card with this section in place of the one that it has under the same `head`, if it has one.
fn with_section(card: &str, head: &str, section: &str) -> String {
    let mut card = card.to_owned();
    if let Some(start) = card.find(&format!("\n{head}")) {
        let behind = start + 1 + head.len();
        let end = card[behind..].find("\n## ").map_or(card.len(), |end| behind + end);
        card.replace_range(start..end, "");
    }
    let place = card.find(BEFORE).unwrap_or(card.len());
    card.insert_str(place, &format!("\n{section}"));
    card
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_has_one_section_of_evaluations() {
        let card = "# A\n\n## Data\n\nx\n\n## Licences\n\n- y\n";
        let once = with_section(card, HEAD, &section("one\n"));
        assert_eq!(once, "# A\n\n## Data\n\nx\n\n## Evaluation\n\none\n\n## Licences\n\n- y\n");
        assert_eq!(with_section(&once, HEAD, &section("one\n")), once);
        assert_eq!(with_section(&once, HEAD, &section("two\n")), once.replace("one", "two"));
        assert_eq!(with_section("# A\n", HEAD, &section("one\n")), "# A\n\n## Evaluation\n\none\n");
    }
}
