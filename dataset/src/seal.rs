//! The seal of a build: its ledger holds the hash of its own text and of the lock's, so that no bit of either changes unseen.
//! Shards and rejects have theirs in the ledger; card and picture follow from ledger and lock to the byte.

use setaccio_base::{
    Error, Result,
    seal::{self, BLANK},
    sha256::hex_digest,
};

use crate::{
    ledger::Ledger,
    names::{LEDGER, RECIPE_LOCK},
};

/// Version of the ledger's format; the first had no seal. No bit of the number makes it another version's.
pub const FORMAT: u32 = 2;
const WITHOUT_SEAL: u32 = 1;

/// Seal `ledger` beside a lock of this text, and give the ledger's own text.
///
/// # Errors
/// A number that JSON cannot hold.
pub fn seal(ledger: &mut Ledger, lock: &str) -> Result<String> {
    ledger.format = FORMAT;
    ledger.recipe_lock_sha256 = hex_digest(lock.as_bytes());
    BLANK.clone_into(&mut ledger.digest);
    let json = serde_json::to_string_pretty(ledger).map_err(|e| Error::damaged(LEDGER, e.to_string()))?;
    // The digest is the second field: nothing before it looks like the blank.
    let (text, digest) = seal::seal(&format!("{json}\n"));
    ledger.digest = digest;
    Ok(text)
}

/// Names of what is not as the build wrote it: the ledger, which says `ledger` in this text, or the lock.
pub fn changed(ledger: &Ledger, text: &str, lock: &str) -> Vec<&'static str> {
    let sealed = !ledger.digest.is_empty() || !ledger.recipe_lock_sha256.is_empty();
    let whole = match ledger.format {
        WITHOUT_SEAL if !sealed => return Vec::new(),
        FORMAT => seal::holds(text, &ledger.digest),
        _ => false,
    };
    let lock_whole = hex_digest(lock.as_bytes()) == ledger.recipe_lock_sha256;
    [(whole, LEDGER), (lock_whole, RECIPE_LOCK)]
        .into_iter()
        .filter_map(|(whole, name)| (!whole).then_some(name))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_bit_of_either_changes_unseen() {
        let lock = "# Written by a test.\nengine = \"x\"\n";
        let mut ledger = Ledger { recipe: "r".into(), notes: vec!["n".into()], ..Ledger::default() };
        let text = seal(&mut ledger, lock).unwrap_or_else(|e| panic!("{e}"));
        let seen = |text: &[u8], lock: &str| {
            let Ok(text) = std::str::from_utf8(text) else { return true };
            let Ok(ledger) = serde_json::from_str::<Ledger>(text) else { return true };
            !changed(&ledger, text, lock).is_empty()
        };
        assert!(!seen(text.as_bytes(), lock));
        for bit in 0..text.len() * 8 {
            let mut flipped = text.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(seen(&flipped, lock), "bit {bit}");
        }
        assert!(seen(text.as_bytes(), &lock.replace('x', "y")));
        assert!(seen(text.replace("\n}", "\n }").as_bytes(), lock), "white space counts");
        assert!(seen(text.replace("\"format\": 2", "\"format\": 3").as_bytes(), lock));
        // Builds of before have no seal, and are not held against one.
        let before = Ledger { format: 1, digest: String::new(), recipe_lock_sha256: String::new(), ..ledger };
        assert!(changed(&before, "{}", lock).is_empty());
    }
}
