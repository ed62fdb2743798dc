//! The token in use does not leave this machine, whatever holds it: rows, weights, a text.

use std::{fs::File, io::Read, path::Path};

use anyhow::{Context, Result, bail};
use setaccio_base::progress::Progress;
use setaccio_dataset::find::find;
use setaccio_hub::{
    Error, Settings,
    settings::Token,
    upload::{Content, LocalFile},
};

/// Bytes that are looked at together.
const BLOCK: usize = 1 << 20;

/// Check that no file holds the token. In Parquet files it is looked for in the texts, which are packed there.
///
/// # Errors
/// One does: its name and the row are told, and the token is not.
pub fn check(files: &[LocalFile], settings: &Settings, progress: &dyn Progress) -> Result<()> {
    let Some(token) = settings.token.as_ref().map(Token::secret) else { return Ok(()) };
    for LocalFile { path: name, content } in files {
        let found = match content {
            Content::Bytes(bytes) => holds(&mut bytes.as_slice(), token, progress)?.then(String::new),
            Content::File(path) => {
                let open = || File::open(path).with_context(|| format!("cannot open {}", path.display()));
                let row = if is_parquet(path) {
                    find(path, token, &|| progress.cancelled()).map_err(Error::from)?
                } else {
                    None
                };
                match row {
                    Some((at, column)) => Some(format!(", {at}, column `{column}`")),
                    None => holds(&mut open()?, token, progress)?.then(String::new),
                }
            }
        };
        if let Some(place) = found {
            bail!(
                "{name}{place}: holds the very token that this machine uses, of HF_TOKEN or the token file: take it out of \
                 what this was made from, make it again, and revoke the token; nothing was pushed"
            );
        }
    }
    Ok(())
}

fn is_parquet(path: &Path) -> bool {
    path.extension().is_some_and(|e| e == "parquet")
}

/// Whether `wanted` is among the bytes.
fn holds(bytes: &mut dyn Read, wanted: &str, progress: &dyn Progress) -> Result<bool> {
    let wanted = wanted.as_bytes();
    let mut block = Vec::with_capacity(BLOCK + wanted.len());
    while !progress.cancelled() {
        // What may be the beginning of it stays.
        block.drain(..block.len().saturating_sub(wanted.len() - 1));
        let read = Read::take(&mut *bytes, BLOCK as u64).read_to_end(&mut block);
        if read.context("cannot read what is to be pushed")? == 0 {
            return Ok(false);
        }
        let mut from = 0;
        while let Some(at) = block[from..].iter().position(|b| *b == wanted[0]).map(|at| from + at) {
            if block[at..].starts_with(wanted) {
                return Ok(true);
            }
            from = at + 1;
        }
    }
    Err(Error::Interrupted.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_found_wherever_blocks_end() {
        for before in [0, 1, BLOCK - 3, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK - 2] {
            let text = format!("{}hf_secret{}", "h".repeat(before), "f".repeat(10));
            assert!(holds(&mut text.as_bytes(), "hf_secret", &()).unwrap(), "{before}");
            assert!(!holds(&mut text.as_bytes(), "hf_other", &()).unwrap(), "{before}");
        }
        assert!(!holds(&mut &b"hf_secre"[..], "hf_secret", &()).unwrap());
    }
}
