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
