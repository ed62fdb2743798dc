//! The card of a data set whose names are as nasty as can be says what a card says, and nothing that a name tells it to say.
//! `SETACCIO_CARDS=DIR` writes it there, to be looked at.

use std::fs;

use serde_json::json;

use crate::fixture::Fixture;

/// What begins a heading, a table, a list or a fence, HTML, a link, an image, a style, an entity, mathematics, and what turns
/// text around or breaks the front matter.
const NASTY: &str = "# H1 | a | b | **bold** _it_ ~~no~~ `code` <img src=x onerror=alert(1)> ![i](http://x.example/i.png) \
                     [l](javascript:alert(1)) &lt;b&gt; $x$ <!-- --- \u{202e}\u{1b}[2J";

/// Names of files cannot hold a slash.
fn file_name(nasty: &str) -> String {
    nasty.replace('/', ":")
}

/// The card of a build where every text of others is `text`, on lines of its own where it may be.
fn card(text: &str, lines: &str) -> String {
    let fixture = Fixture::text(&format!(
        "[[filter]]\nrule = 'length'\nas = {name}\nmax_chars = 100\n[output.keep]\n{name} = 'string'\n\
         [card]\nlimits = [{lines}, {name}]\ntags = [{name}]\n",
        name = toml::Value::from(text),
        lines = toml::Value::from(lines),
    ));
    let recipe = fs::read_to_string(fixture.path("recipe.toml")).unwrap();
    let source = format!("citation = {0}\nlicense = {1}", toml::Value::from(lines), toml::Value::from(text));
    let recipe = recipe
        .replace("'Lab'", &toml::Value::from(text).to_string())
        .replace("'A test.'", &toml::Value::from(lines).to_string())
        .replace("revision = 'main'", &format!("revision = {}", toml::Value::from(text)))
        .replace("license = 'mit'", &source);
    fixture.write("recipe.toml", recipe);
    let row = json!({"text": "Il gatto dorme al sole.", text: "x", format!("{text} unread"): "y"});
    fixture.write(&format!("data/web/{}.jsonl", file_name(text)), row.to_string());
    fixture.write(&format!("data/web/{} empty.jsonl", file_name(text)), "");
    fixture.build("out", &[]).assert_success();
    if let Ok(folder) = std::env::var("SETACCIO_CARDS") {
        fs::copy(fixture.path("out/README.md"), format!("{folder}/{}.md", text.len())).unwrap();
        fs::copy(fixture.path("out/waterfall.svg"), format!("{folder}/waterfall.svg")).unwrap();
    }
    let svg = fs::read_to_string(fixture.path("out/waterfall.svg")).unwrap();
    assert!(svg.matches('<').count() == svg.matches('>').count() && !svg.contains("<img"), "{svg}");
    assert!(!svg.contains(|c: char| c != '\n' && (c.is_control() || c == '\u{202e}')), "{svg}");
    fs::read_to_string(fixture.path("out/README.md")).unwrap()
}

/// A line without what is behind a backslash or in code.
fn bare(line: &str) -> String {
    let mut bare = String::new();
    let mut rest = line;
    while let Some(c) = rest.chars().next() {
        let run = rest.len() - rest.trim_start_matches('`').len();
        let code =
            Some(run).filter(|run| *run > 0).and_then(|run| rest[run..].find(&rest[..run]).map(|at| at + 2 * run));
        let skipped = match (c, code) {
            ('\\', _) => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
            (_, Some(code)) => code,
            _ => {
                bare.push(c);
                c.len_utf8()
            }
        };
        rest = &rest[skipped..];
    }
    bare
}

/// What a line is to Markdown: its kind, and how many cells it has.
fn shape(line: &str) -> (&'static str, usize) {
    let bare = if line.starts_with("```") { line.to_owned() } else { bare(line) };
    let kind = match bare.trim_start() {
        "" => "",
        "---" => "fence of the front matter",
        rest if rest.starts_with("```") => "fence",
        rest if rest.starts_with('#') => "heading",
        rest if rest.starts_with('|') => "row",
        rest if rest.starts_with("- ") => "item",
        rest if rest.starts_with("> ") => "quote",
        rest if rest.starts_with("![") => "image",
        _ => "text",
    };
    (kind, if kind == "row" { bare.matches('|').count() } else { 0 })
}

#[test]
fn the_nastiest_names_add_nothing_to_a_card() {
    let (tame, nasty) = (card("tame", "tame\n\ntame"), card(NASTY, &format!("{NASTY}\n\n{NASTY}")));
    let shapes = |card: &str| card.lines().map(shape).collect::<Vec<_>>();
    let (a, b) = (shapes(&tame), shapes(&nasty));
    let differing = a.iter().zip(&b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
    assert_eq!(a, b, "line {differing}: {:?}\n{nasty}", nasty.lines().nth(differing));
    // No HTML, no image, no link and no style but our own, outside of code.
    for line in nasty.lines() {
        let bare = bare(line);
        for mark in ["<img", "<!--", "](javascript", "](http://x", "**bold", "&lt;"] {
            let front = line.starts_with("pretty_name") || line.starts_with("- \"") || line.contains("name: \"");
            assert!(front || !bare.contains(mark), "{mark} in {line}");
        }
        assert!(!line.contains(|c: char| c == '\u{202e}' || c.is_control()), "{line:?}");
    }
    // The front matter holds each text as one scalar.
    let front = nasty.split("---\n").nth(1).unwrap();
    assert_eq!(front.matches("\\u202e").count(), front.matches("onerror").count(), "{front}");
    assert!(
        front.lines().all(|line| line.starts_with(|c: char| c == ' ' || c == '-' || c.is_ascii_lowercase())),
        "{front}"
    );
}
