//! What the cards of an adapter and of a merged model say alike: the YAML that the Hub understands, and what the base's
//! licence asks for.

use std::fmt::Write;

use setaccio_base::card::{list, markdown::repository, quoted, strictest};

use super::lock::DataFolder;

/// What differs between such cards.
pub struct Front<'a> {
    /// `library_name`.
    pub library: &'a str,
    /// `base_model_relation`.
    pub relation: &'a str,
    /// The base, if it is a repository of the Hub.
    pub base: &'a str,
    /// Its licence.
    pub license: &'a str,
    /// Tags.
    pub tags: Vec<&'a str>,
}

impl Front<'_> {
    /// The YAML between its fences, for what was trained on `data`.
    pub fn matter<'d>(&self, data: impl IntoIterator<Item = &'d DataFolder, IntoIter: Clone>) -> String {
        let data = data.into_iter();
        let mut out = format!("---\nlibrary_name: {}\npipeline_tag: text-generation\n", self.library);
        if let Some(repo) = repository(self.base) {
            let _ = writeln!(out, "base_model: {}\nbase_model_relation: {}", quoted(repo), self.relation);
        }
        let (license, name) = license(self.license, data.clone().map(|d| d.license.as_str()));
        let _ = writeln!(out, "license: {}", quoted(&license));
        if let Some(name) = name.filter(|_| license == "other") {
            let _ = writeln!(out, "license_name: {}", quoted(&name));
        }
        out.push_str(&list("language", distinct(data.clone().flat_map(|d| &d.languages))));
        let repos = distinct(data.flat_map(|d| &d.repos));
        out.push_str(&list("datasets", repos.into_iter().filter_map(repository)));
        out.push_str(&list("tags", &self.tags));
        out.push_str("---\n");
        out
    }
}

fn distinct<'a>(values: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    let mut seen = Vec::new();
    for value in values.filter(|v| !v.is_empty()) {
        if !seen.contains(&value.as_str()) {
            seen.push(value.as_str());
        }
    }
    seen
}

/// The licence for the front matter of what was made from a base and data, and the name of one that the Hub has no
/// word for.
pub(super) fn license<'a>(base: &'a str, data: impl Iterator<Item = &'a str>) -> (String, Option<String>) {
    let all: Vec<&str> = [base].into_iter().chain(data).collect();
    if all.contains(&"") {
        return ("unknown".into(), None);
    }
    if all.iter().all(|l| *l == base) {
        return (base.into(), Some("see-the-licences-below".into()));
    }
    (strictest(all).into(), Some("see-the-licences-below".into()))
}

/// What a base's licence asks to be shown with what was made from it: a line, and a sentence on the rest.
pub(crate) fn notice(license: &str) -> Option<(&'static str, &'static str)> {
    match license.to_lowercase().replace("llama-", "llama").as_str() {
        "llama3" => Some((
            "Built with Meta Llama 3",
            "pass on a copy of the Meta Llama 3 Community License, show \"Built with Meta Llama 3\", begin the model's name \
             with \"Llama 3\", keep the attribution \"Meta Llama 3 is licensed under the Meta Llama 3 Community License, \
             Copyright \u{a9} Meta Platforms, Inc. All Rights Reserved.\" in a notice file, and follow the acceptable use \
             policy",
        )),
        "llama3.1" | "llama3.2" | "llama3.3" => Some((
            "Built with Llama",
            "pass on a copy of the Llama community licence of that version, show \"Built with Llama\", begin the model's name \
             with \"Llama\", keep Meta's attribution in a notice file, and follow the acceptable use policy",
        )),
        "llama2" => Some((
            "Llama 2 is licensed under the LLAMA 2 Community License, Copyright \u{a9} Meta Platforms, Inc. All Rights Reserved.",
            "pass on a copy of the LLAMA 2 Community License with that attribution in a notice file, and follow the acceptable \
             use policy",
        )),
        _ => None,
    }
}
