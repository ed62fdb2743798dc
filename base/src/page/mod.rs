//! A page in one file, to be opened from a disk: what it shows is data, and one script of ours, which the page's own policy
//! knows by its hash, puts it in as text. Nothing is asked of a network, and what a row says is shown and never done.
//!
//! Charts are drawn by that script, as SVG: a filter draws them again, and four simple shapes are a page of code, where a library
//! would be most of the file.

mod blocks;

use std::path::{Path, PathBuf};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;
use serde_json::Value;
use sha2::{Digest as _, Sha256};

pub use blocks::{
    Block, Cell, Curve, Group, Histogram, Of, Page, PageRow, Rule, RuleRows, Section, Step, TableRow, Text,
};

use crate::{Error, Result, atomic, card::escape_xml, shown::shown};

const TEMPLATE: &str = include_str!("index.html");

/// What a policy calls what stands in the first `tag` of a page: by its hash.
pub fn hash_of(page: &str, tag: &str) -> String {
    let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
    let inside = page.split_once(&open).and_then(|(_, rest)| rest.split_once(&close)).map_or("", |(inside, _)| inside);
    format!("'sha256-{}'", STANDARD.encode(Sha256::digest(inside.as_bytes())))
}

/// A page that was written.
#[derive(Debug, Serialize)]
pub struct Written {
    /// The file.
    pub file: PathBuf,
    /// Its size.
    pub bytes: u64,
    /// Rows that it shows.
    pub rows: usize,
}

/// Write a page as `name` into a folder.
///
/// # Errors
/// The file system refuses.
pub fn write(folder: &Path, name: &str, page: &Page) -> Result<Written> {
    let (file, html) = (folder.join(name), html(page)?);
    atomic::write(&file, html.as_bytes())?;
    Ok(Written { file, bytes: html.len() as u64, rows: page.rows.len() })
}

/// The whole file. The same page gives the same bytes.
///
/// # Errors
/// A number that JSON cannot hold.
pub fn html(page: &Page) -> Result<String> {
    let mut data = serde_json::to_value(page).map_err(|e| Error::damaged(&page.title, e.to_string()))?;
    show(&mut data);
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; base-uri 'none'; form-action 'none'",
        hash_of(TEMPLATE, "script"),
        hash_of(TEMPLATE, "style")
    );
    // What is put in is looked through for nothing: a title may have the name of a place.
    let (before, after) = TEMPLATE.split_once("@DATA@").unwrap_or((TEMPLATE, ""));
    let before = before.replace("@POLICY@", &policy).replace("@TITLE@", &escape_xml(&page.title));
    Ok([before.as_str(), inert(&data.to_string()).as_str(), after].concat())
}

/// What a browser, like a terminal, would obey or hide is an escape that is seen.
fn show(value: &mut Value) {
    match value {
        Value::String(text) => *text = shown(text),
        Value::Array(values) => values.iter_mut().for_each(show),
        Value::Object(fields) => {
            // Names of sources are keys.
            let shown_fields = std::mem::take(fields).into_iter().map(|(key, mut value)| {
                show(&mut value);
                (shown(&key), value)
            });
            *fields = shown_fields.collect();
        }
        _ => {}
    }
}

/// JSON that ends no element and begins none, which is the same JSON.
fn inert(json: &str) -> String {
    json.replace('<', "\\u003c").replace('>', "\\u003e").replace('&', "\\u0026")
}

/// Bytes that a text takes in a page's data.
pub fn size(c: char) -> usize {
    match c {
        '<' | '>' | '&' => 6,
        '"' | '\\' | '\n' | '\t' => 2,
        // As `\\u{202e}`.
        c if crate::shown::is_hidden(c) => 10,
        c => c.len_utf8(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(html: &str) -> Value {
        let (_, rest) = html.split_once("id=\"data\">").unwrap_or_else(|| panic!("no data"));
        let (json, _) = rest.split_once("</script>").unwrap_or_else(|| panic!("no end"));
        serde_json::from_str(json).unwrap_or_else(|e| panic!("{e}"))
    }

    #[test]
    fn what_a_row_says_is_data() -> Result<()> {
        let planted = "</script><script>alert(1)</script><!-- @DATA@ \u{202e}\u{1b}[31m & \"x\"";
        let page = Page { title: planted.into(), about: vec![planted.into()], ..Page::default() };
        let html = html(&page)?;
        assert_eq!(html.matches("<script>").count(), 1);
        assert_eq!(html.matches("</script>").count(), 2);
        assert!(!html.contains("<!-- ") && !html.contains(['\u{202e}', '\u{1b}']));
        assert_eq!(data(&html)["about"][0], planted.replace('\u{202e}', "\\u{202e}").replace('\u{1b}', "\\u{1b}"));
        Ok(())
    }

    #[test]
    fn the_policy_knows_script_and_style_by_their_hashes() -> Result<()> {
        let html = html(&Page::default())?;
        for tag in ["script", "style"] {
            assert!(html.contains(&hash_of(&html, tag)), "{tag}");
        }
        // `printf 'x' | openssl dgst -sha256 -binary | base64`
        assert_eq!(hash_of("<p>x</p>", "p"), "'sha256-LXEWQrcmsEQBYnyp+6wy9chTD7GQPMTbAiWHF5IaSIE='");
        Ok(())
    }

    #[test]
    fn sizes_are_those_of_the_data() {
        for text in ["a", "è", "<", "&", "\"", "\\", "\n", "\u{1b}", "\u{202e}", "😀"] {
            let mut value = Value::from(text);
            show(&mut value);
            let written = inert(&value.to_string()).len() - 2;
            let said: usize = text.chars().map(size).sum();
            assert!(written <= said && said <= written + 4, "{text:?}: {written}, {said}");
        }
    }
}
