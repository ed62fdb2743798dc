//! Licences of sources, and the one that a mix of them falls under.

/// Licences by what they ask, least first, as the Hub spells them.
const BY_STRICTNESS: &[&str] = &[
    "cc0-1.0",
    "pddl",
    "mit",
    "apache-2.0",
    "odc-by",
    "cc-by-3.0",
    "cc-by-4.0",
    "odbl",
    "cc-by-sa-3.0",
    "cc-by-sa-4.0",
    "gpl-3.0",
    "cc-by-nc-3.0",
    "cc-by-nc-4.0",
    "cc-by-nc-sa-3.0",
    "cc-by-nc-sa-4.0",
];

/// Stands for a licence until somebody looks it up.
pub const UNKNOWN_LICENSE: &str = "unknown";

/// The strictest of `licenses`; `unknown` if one of them is, and `other` if one has no place in the order, for then a
/// person has to read it.
pub fn strictest<'a>(licenses: impl IntoIterator<Item = &'a str>) -> &'a str {
    let mut strictest = Some(0);
    for license in licenses {
        if license == UNKNOWN_LICENSE {
            return UNKNOWN_LICENSE;
        }
        let place = BY_STRICTNESS.iter().position(|l| *l == license);
        strictest = strictest.zip(place).map(|(a, b)| a.max(b));
    }
    strictest.map_or("other", |place| BY_STRICTNESS[place])
}
