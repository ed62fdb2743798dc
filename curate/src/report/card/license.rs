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

/// The strictest of `licenses`; `other` if one is unknown, for then a person has to read it.
pub fn strictest<'a>(licenses: impl IntoIterator<Item = &'a str>) -> &'a str {
    let mut strictest = 0;
    for license in licenses {
        match BY_STRICTNESS.iter().position(|l| *l == license) {
            Some(place) => strictest = strictest.max(place),
            None => return "other",
        }
    }
    BY_STRICTNESS[strictest]
}
