//! Tokens, passwords and signed addresses stay where they are.

use std::{fs, os::unix::fs::symlink};

use serde_json::json;
use setaccio_test_hub::{FaultKind, WRITE};

use super::{HubFixture, standins};
use crate::fixture::{Fixture, Run, TestRng, Transcript};

const WEB: &str = "datasets/lab/web";

fn fixture() -> HubFixture {
    let fixture = HubFixture::new(Fixture::text(""));
    fixture.hub.store().put(WEB, [("a.parquet".to_owned(), standins::sample("mc4_raw_it.parquet"))]);
    fixture
}

#[test]
fn an_address_of_the_hub_with_a_secret_is_refused_and_not_shown() {
    let fixture = fixture();
    fixture.local.write("data/web/x.jsonl", TestRng(1).lines(20));
    fixture.local.build("out", &[]).assert_success();
    let host = fixture.hub.endpoint().trim_start_matches("http://").to_owned();
    let mut transcript = Transcript::default();
    for endpoint in [
        format!("http://anna:hidden-word@{host}"),
        format!("http://hidden-word@{host}"),
        format!("http://{host}/?token=hidden-word"),
        format!("http://{host}#hidden-word"),
        format!("anna:hidden-word@{host}"),
        format!("https://{host}/hidden word"),
    ] {
        for args in [
            &["pull", &fixture.recipe()][..],
            &["plan", &fixture.recipe(), "--from", "hub"],
            &["pin", &fixture.recipe()],
            &["build", &fixture.recipe(), "--from", "hub", "--out", &fixture.arg("new")],
            &["push", &fixture.arg("out"), "anna/web"],
        ] {
            let said = fixture.run_with(args, &[("HF_ENDPOINT", &endpoint)]).assert_failure();
            assert!(!said.contains("hidden-word") && said.contains("HF_ENDPOINT"), "{said}");
            if args[0] == "pull" {
                transcript.add(endpoint.replace(&host, "HUB"), &said);
            }
        }
    }
    transcript.assert_snapshot("hub-an_address_with_a_secret");
    assert!(fixture.hub.take_log().is_empty());
}

#[test]
fn a_token_that_others_could_read_is_told_of_once() {
    let fixture = fixture();
    let warned = |run: &Run| run.stderr.matches("without encryption").count();
    let pull = |env: &[(&str, &str)]| fixture.run_with(&["pull", &fixture.recipe()], env).assert_success();
    // It is this machine all the same, by a name that need not be.
    let open = fixture.hub.endpoint().replace("127.0.0.1", "0.0.0.0");
    let run = pull(&[("HF_ENDPOINT", &open)]);
    assert_eq!(warned(&run), 1, "{run:?}");
    assert!(run.stderr.contains("http://0.0.0.0:") && !run.stderr.contains(WRITE), "{run:?}");
    fs::remove_dir_all(fixture.home()).unwrap();
    assert_eq!(warned(&pull(&[("HF_ENDPOINT", &open), ("HF_TOKEN", "")])), 0);
    fs::remove_dir_all(fixture.home()).unwrap();
    assert_eq!(warned(&pull(&[])), 0);
}

#[test]
fn passwords_of_proxies_and_signatures_are_in_no_message() {
    let fixture = fixture();
    let proxy = [("HTTPS_PROXY", "http://anna:hidden-word@127.0.0.1:9"), ("HF_ENDPOINT", "https://hub.example")];
    let said = fixture.run_with(&["pull", &fixture.recipe()], &proxy).assert_failure();
    assert!(!said.contains("hidden-word") && said.contains("https://hub.example"), "{said}");
    let wrong = [("HTTPS_PROXY", "wrong://anna:hidden-word@h"), ("HF_ENDPOINT", "https://hub.example")];
    let said = fixture.run_with(&["pull", &fixture.recipe()], &wrong).assert_failure();
    assert!(!said.contains("hidden-word"), "{said}");
    // The storage that a file lies in is asked by a signed address.
    let run = fixture.run(&["pull", &fixture.recipe()]).assert_success();
    let sha256 = fixture.hub.store().repos[WEB].at("main").unwrap().files["a.parquet"].sha256.clone().unwrap();
    assert!(!run.said().contains("X-Amz"));
    for fault in [FaultKind::Status(403), FaultKind::Status(404), FaultKind::Status(500), FaultKind::Cut(10)] {
        fs::remove_dir_all(fixture.home()).unwrap();
        fixture.hub.faults().clear();
        fixture.hub.faults().plan("GET", &sha256, fault, 99);
        let said = fixture.run(&["pull", &fixture.recipe()]).assert_failure();
        assert!(!said.contains("X-Amz") && !said.contains("signed"), "{fault:?}: {said}");
    }
}

#[test]
fn rows_and_weights_that_hold_the_token_are_not_pushed() {
    let fixture = fixture();
    let rows = TestRng(1).lines(30);
    let secret = json!({ "text": format!("Il mio segreto, che nessuno deve leggere, si scrive {WRITE} e basta.") });
    fixture.local.write("data/web/x.jsonl", format!("{rows}{secret}\n"));
    fixture.local.build("out", &[]).assert_success();
    let mut transcript = Transcript::default();
    let mut push = |case: &str, args: &[&str]| {
        let said = fixture.run(&[&["push"], args].concat()).assert_failure();
        assert!(!said.contains(WRITE), "{said}");
        transcript.add(case, &said);
    };
    push("a row of a data set", &[&fixture.arg("out"), "anna/web"]);
    push("a row of a data set, --dry-run", &[&fixture.arg("out"), "anna/web", "--dry-run"]);
    let drops = "[[filter]]\nrule = 'bad_words'\nwords = ['segreto']\n";
    let recipe = fs::read_to_string(fixture.local.path("recipe.toml")).unwrap();
    fixture.local.write("recipe.toml", format!("{recipe}{drops}"));
    fixture.local.build("dropped", &[]).assert_success();
    push("a row that was dropped, --with-rejects", &[&fixture.arg("dropped"), "anna/web", "--with-rejects"]);
    // One tensor of bytes, which spell the token.
    let header = json!({"x": {"dtype": "U8", "shape": [WRITE.len()], "data_offsets": [0, WRITE.len()]}}).to_string();
    let length = (header.len() as u64).to_le_bytes();
    fixture.local.write("model/model.safetensors", [&length, header.as_bytes(), WRITE.as_bytes()].concat());
    fixture.local.write("model/config.json", "{}\n");
    push("weights", &[&fixture.arg("model"), "anna/model"]);
    transcript.assert_snapshot("hub-what_holds_the_token");
    assert!(fixture.hub.take_log().is_empty(), "the Hub was asked");
    fixture.run(&["push", &fixture.arg("dropped"), "anna/web"]).assert_success();
    assert_eq!(fixture.hub.store().repos.len(), 2);
}

#[test]
fn what_the_system_makes_is_no_template() {
    let fixture = Fixture::new("chat", &[("web", "messages")], "[output]\ntemplate = 't.jinja'\n");
    fixture.write("data/web/a.jsonl", json!({"messages": [{"role": "user", "content": "Ciao"}]}).to_string());
    let mut transcript = Transcript::default();
    symlink("/proc/self/environ", fixture.path("link.jinja")).unwrap();
    let made = std::process::Command::new("mkfifo").arg(fixture.path("pipe.jinja")).status().unwrap();
    assert!(made.success());
    for template in ["/proc/self/environ", "/dev/zero", "link.jinja", "pipe.jinja", "data"] {
        let set = format!("output.template={template}");
        let said = fixture.build("out", &["--set", &set]).assert_failure();
        transcript.add(&set, &said);
    }
    transcript.assert_snapshot("templates-what_the_system_makes");
    assert!(!fixture.path("out/ledger.json").exists());
}

/// A key that nobody has, of this shape: drawn by hand, and put together here so that no scanner takes this file for a leak.
fn key(begins: &str) -> String {
    format!("{begins}{}", "T3BlbkFJq9Wm4Zx7Kd2Rv8Ns6Yh1Lp5Cu0Ga")
}

#[test]
fn what_looks_like_a_key_is_not_pushed_unless_it_is_said_to_be_none() {
    let fixture = fixture();
    super::run_folder(&fixture);
    let (openai, github) = (key("sk-proj-"), key("ghp_"));
    let refused = |folder: &str, repo: &str, kind: &str, file: &str| {
        let said = fixture.run(&["push", &fixture.arg(folder), repo]).assert_failure();
        assert!(said.contains(&format!("{file} holds what looks like {kind}: take it out, and revoke it")), "{said}");
        assert!(said.contains(&format!("`--no-secret {file}`")) && said.contains("nothing was pushed"), "{said}");
        assert!([&openai, &github].iter().all(|key| !said.contains(*key)), "{said}");
    };
    // In a run's card and in the settings of its adapter.
    let card = fs::read_to_string(fixture.local.path("run/README.md")).unwrap();
    fixture.local.write("run/README.md", format!("{card}\nexport OPENAI_API_KEY={openai}\n"));
    refused("run", "anna/it", "a key of OpenAI", "README.md");
    let said = fixture.run(&["push", &fixture.arg("run"), "anna/it", "--no-secret", "READ.md"]).assert_failure();
    assert!(said.contains("--no-secret READ.md: no file of that name would be pushed"), "{said}");
    assert!(fixture.hub.store().repos.len() == 1, "nothing was sent so far");
    fixture.run(&["push", &fixture.arg("run"), "anna/it", "--no-secret", "README.md"]).assert_success();
    fixture.local.write("run/README.md", card);
    // In a data set's ledger, lock and card: a recipe says it.
    fixture.local.write("data/web/x.jsonl", TestRng(1).lines(30));
    fixture.local.build("out", &["--set", &format!("about='Write to {github}'")]).assert_success();
    refused("out", "anna/web", "a token of GitHub", "README.md");
    // In what weights say of themselves, and in a configuration.
    let header = json!({"__metadata__": {"note": &github}, "x": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}})
        .to_string();
    let length = (header.len() as u64).to_le_bytes();
    fixture.local.write("model/model.safetensors", [&length, header.as_bytes(), b"x"].concat());
    fixture.local.write("model/config.json", "{}\n");
    refused("model", "anna/model", "a token of GitHub", "model.safetensors");
    fixture.local.write("model/model.safetensors", super::safetensors("w", 500, || 1));
    // A text in GGUF's metadata: no tensor, one key.
    let text = |text: &str| [&(text.len() as u64).to_le_bytes(), text.as_bytes()].concat();
    let mut gguf = [&b"GGUF"[..], &3_u32.to_le_bytes(), &0_u64.to_le_bytes(), &1_u64.to_le_bytes()].concat();
    gguf.extend([text("general.description"), 8_u32.to_le_bytes().to_vec(), text(&openai)].concat());
    fixture.local.write("model/model-q4.gguf", gguf);
    refused("model", "anna/model", "a key of OpenAI", "model-q4.gguf");
    fs::remove_file(fixture.local.path("model/model-q4.gguf")).unwrap();
    fixture.local.write("model/config.json", json!({"_key": &openai}).to_string());
    refused("model", "anna/model", "a key of OpenAI", "config.json");
    // The very token in use is no matter of opinion.
    fixture.local.write("model/config.json", json!({"_key": WRITE}).to_string());
    let said =
        fixture.run(&["push", &fixture.arg("model"), "anna/model", "--no-secret", "config.json"]).assert_failure();
    assert!(!said.contains(WRITE), "{said}");
}

#[test]
fn weights_that_nobody_could_load_are_not_pushed_and_a_missing_tokenizer_is_told() {
    let fixture = fixture();
    fixture.local.write("model/model.safetensors", super::safetensors("w", 500, || 1));
    let said = fixture.run(&["push", &fixture.arg("model"), "anna/model"]).assert_failure();
    assert!(said.contains("holds weights without config.json or adapter_config.json"), "{said}");
    fixture.local.write("model/config.json", "{}\n");
    let said = fixture.run(&["push", &fixture.arg("model"), "anna/model"]).assert_success().stderr;
    assert!(said.contains("there is no tokenizer (tokenizer.json"), "{said}");
    fixture.local.write("model/tokenizer.json", "{}\n");
    let said = fixture.run(&["push", &fixture.arg("model"), "anna/model"]).assert_success().stderr;
    assert!(!said.contains("there is no tokenizer"), "{said}");
}
