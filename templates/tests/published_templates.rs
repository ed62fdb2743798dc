//! Published chat templates render as transformers renders them: `tests/oracles/published_templates.py` says what it makes
//! of them. The templates are those of packages, which `tools/fetch-assets.sh` brings, or of any folder.

use std::{collections::BTreeMap, env, fs, path::PathBuf};

use serde::Deserialize;
use serde_json::Value;
use setaccio_base::{row::Message, sha256};
use setaccio_templates::{Clock, End, Renderer};

#[derive(Deserialize)]
struct Oracle {
    date: String,
    tokens: BTreeMap<String, String>,
    conversations: BTreeMap<String, Conversation>,
    templates: Vec<Template>,
}

#[derive(Deserialize)]
struct Conversation {
    messages: Vec<Message>,
    tools: Option<Value>,
    prompt: bool,
}

#[derive(Deserialize)]
struct Template {
    sha256: String,
    names: Vec<String>,
    rendered: BTreeMap<String, String>,
}

/// How renderings compare with those of transformers.
#[derive(Default, Debug, PartialEq, Eq)]
struct Counts {
    same: usize,
    refused_by_both: usize,
    different: usize,
    refused_here: usize,
    accepted_here: usize,
}

fn oracle() -> Oracle {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/oracles/published_templates.json");
    serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap()
}

/// Every template below the folders of SETACCIO_TEMPLATES (by default those that were fetched), by its hash.
fn sources() -> BTreeMap<String, Vec<u8>> {
    let assets =
        env::var("SETACCIO_ASSETS").unwrap_or_else(|_| format!("{}/.cache/setaccio-assets", env::var("HOME").unwrap()));
    let folders = env::var("SETACCIO_TEMPLATES").unwrap_or_else(|_| format!("{assets}/templates"));
    let mut open: Vec<PathBuf> = folders.split(':').map(PathBuf::from).collect();
    let mut sources = BTreeMap::new();
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|e| e == "jinja") {
                let source = fs::read(&path).unwrap();
                sources.insert(sha256::hex_digest(&source), source);
            }
        }
    }
    sources
}

fn rendered(source: &[u8], oracle: &Oracle, conversation: &Conversation) -> Result<String, String> {
    let source = String::from_utf8(source.to_vec()).map_err(|e| e.to_string())?;
    let [bos, eos] = ["bos_token", "eos_token"].map(|token| &*oracle.tokens[token]);
    let renderer =
        Renderer::new(Some(&source), None, bos, eos).map_err(|e| e.to_string())?.at(Clock::date(&oracle.date));
    let end = if conversation.prompt { End::Prompt } else { End::Whole };
    renderer.chat(&conversation.messages, conversation.tools.as_ref(), end).map(|r| r.text)
}

#[test]
#[ignore = "needs the published templates"]
fn published_templates_render_as_transformers_does() {
    let oracle = oracle();
    let sources = sources();
    let (mut counts, mut faults, mut tried) = (Counts::default(), Vec::new(), 0);
    for template in &oracle.templates {
        let Some(source) = sources.get(&template.sha256) else { continue };
        tried += 1;
        for (case, expected) in &template.rendered {
            let ours = rendered(source, &oracle, &oracle.conversations[case]);
            let fault = match (&ours, expected == "refused") {
                (Err(_), true) => {
                    counts.refused_by_both += 1;
                    continue;
                }
                (Ok(text), false) if sha256::hex_digest(text.as_bytes())[..16] == *expected => {
                    counts.same += 1;
                    continue;
                }
                (Ok(_), true) => {
                    counts.accepted_here += 1;
                    "is rendered here only"
                }
                (Ok(_), false) => {
                    counts.different += 1;
                    "differs"
                }
                (Err(_), false) => {
                    counts.refused_here += 1;
                    "is refused here only"
                }
            };
            let why = ours.err().unwrap_or_default();
            faults.push(format!("{} {} {case}: {fault} {why}", &template.sha256[..8], template.names[0]));
        }
    }
    eprintln!("{tried} templates: {counts:?}");
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let wanted = oracle.templates.iter().filter(|t| t.names.iter().any(|name| !name.contains('@'))).count();
    assert!(tried >= wanted, "{tried} templates of {wanted} are there");
}
