//! Large files on their way up: in parts, cut, stopped, proposed to others; what has arrived is not sent again.

use std::{process::Stdio, time::Instant};

use setaccio_test_hub::{FaultKind, Repo};

use super::{HubFixture, safetensors};
use crate::fixture::{Fixture, TestRng, Transcript, interrupt, wait_for};

/// A model of `n` files of weights, each of so many bytes.
fn model(n: usize, bytes: usize) -> HubFixture {
    let fixture = HubFixture::new(Fixture::text(""));
    let mut rng = TestRng(5);
    for i in 1..=n {
        let weights = safetensors(&format!("w{i}"), bytes, || rng.below(256).to_le_bytes()[0]);
        fixture.local.write(&format!("model/model-{i:05}-of-{n:05}.safetensors"), weights);
    }
    let map = (1..=n).map(|i| (format!("w{i}"), format!("model-{i:05}-of-{n:05}.safetensors")));
    let index = serde_json::json!({ "weight_map": map.collect::<std::collections::BTreeMap<_, _>>() });
    fixture.local.write("model/model.safetensors.index.json", index.to_string());
    fixture.local.write("model/config.json", "{}\n");
    fixture.local.write("model/README.md", "# A model\n");
    fixture
}

impl HubFixture {
    fn push_model(&self, repo: &str, args: &[&str]) -> crate::fixture::Run {
        self.run(&[&["push", &self.arg("model"), repo], args].concat())
    }

    /// Paths that content was sent to since the last look.
    fn sent(&self) -> Vec<String> {
        let log = self.hub.take_log();
        log.into_iter().filter(|l| l.method == "PUT").map(|l| l.path).collect()
    }

    /// Check that `main` of a repository has the model, in one commit upon the Hub's first.
    fn arrived(&self, repo: &str, files: usize) {
        let store = self.hub.store();
        let repo = &store.repos[repo];
        assert_eq!(repo.history("main").len(), 2);
        let there = &repo.at("main").unwrap().files;
        let weights = there.iter().filter(|(path, _)| path.ends_with(".safetensors"));
        let same = |path: &String| std::fs::read(self.local.path("model").join(path)).unwrap();
        assert_eq!(weights.map(|(path, content)| assert_eq!(content.bytes, same(path))).count(), files);
    }
}

#[test]
fn a_pipe_is_no_file_of_a_model() {
    for name in ["README.md", "model.safetensors.index.json", "model-00001-of-00001.safetensors"] {
        let fixture = model(1, 1_000);
        let place = fixture.local.path("model").join(name);
        std::fs::remove_file(&place).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&place).status().unwrap().success());
        let said = fixture.push_model("anna/model", &[]).assert_failure();
        assert!(said.contains(&format!("{name}: is no ordinary file")), "{said}");
        assert!(fixture.sent().is_empty());
    }
}

#[test]
fn parts_are_sent_once_and_put_together_once() {
    let fixture = model(2, 100_000);
    fixture.hub.store().part_bytes = 30_000;
    // The answer is lost, and the parts are gone: they have become the file.
    fixture.hub.faults().plan("POST", "/lfs/complete/", FaultKind::Lost, 1);
    fixture.push_model("anna/model", &[]).assert_success();
    let sent = fixture.sent();
    assert_eq!(sent.len(), 8, "four parts of each: {sent:?}");
    fixture.arrived("models/anna/model", 2);
}

#[test]
fn what_has_arrived_is_not_sent_again() {
    let fixture = model(5, 100_000);
    fixture.hub.store().part_bytes = 40_000;
    let name = "model-00003-of-00005.safetensors";
    let bytes = std::fs::read(fixture.local.path("model").join(name)).unwrap();
    let oid = setaccio_test_hub::Content::new(name, bytes).sha256.unwrap();
    fixture.hub.faults().plan("PUT", &format!("{oid}/2"), FaultKind::CutUpload(10_000), 6);
    let said = fixture.push_model("anna/model", &[]).assert_failure();
    assert!(said.contains("cannot be reached") && said.contains("what has arrived is kept"), "{said}");
    let before = fixture.hub.store().large.len();
    assert!((1..5).contains(&before), "{before} files have arrived");
    fixture.sent();
    fixture.push_model("anna/model", &[]).assert_success();
    let sent = fixture.sent();
    assert_eq!(sent.len(), (5 - before) * 3, "only what was missing: {sent:?}");
    assert!(sent.iter().any(|path| path.contains(&oid)));
    fixture.arrived("models/anna/model", 5);
}

#[test]
fn what_lies_under_two_names_goes_up_once() {
    let fixture = model(1, 50_000);
    let weights = std::fs::read(fixture.local.path("model/model-00001-of-00001.safetensors")).unwrap();
    fixture.local.write("model/model.safetensors", weights);
    fixture.push_model("anna/model", &[]).assert_success();
    assert_eq!(fixture.sent().len(), 1);
    fixture.arrived("models/anna/model", 2);
}

#[test]
fn ctrl_c_is_heeded_in_the_middle_of_a_file() {
    let fixture = model(1, 9_000_000);
    fixture.hub.store().part_bytes = 100_000_000;
    // Nine seconds for whoever waits for the end of the file.
    fixture.hub.faults().plan("PUT", "/", FaultKind::Trickle(1000), 1);
    let mut command = fixture.command(&["push", &fixture.arg("model"), "anna/model"]);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    wait_for(&mut child, || !fixture.sent().is_empty());
    std::thread::sleep(std::time::Duration::from_millis(300));
    let start = Instant::now();
    interrupt(&child);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted; what has arrived is kept"), "{said}");
    assert!(start.elapsed().as_secs() < 4, "it took {:?} to stop", start.elapsed());
    fixture.push_model("anna/model", &[]).assert_success();
    fixture.arrived("models/anna/model", 1);
}

#[test]
fn a_change_is_proposed_to_whose_repository_it_is() {
    let fixture = model(1, 50_000);
    let mut repo = Repo::default();
    repo.commit("main", "initial commit", "", []);
    fixture.hub.store().repos.insert("models/carla/model".into(), repo);
    let mut transcript = Transcript::default();
    transcript.add("a first time", &fixture.push_model("carla/model", &["--create-pr"]).assert_success().stdout);
    {
        // It is found again behind a page of others.
        let mut store = fixture.hub.store();
        let repo = store.repos.get_mut("models/carla/model").unwrap();
        assert_eq!((repo.pulls.len(), repo.history("main").len()), (1, 1));
        repo.pulls.extend((0..14).map(|i| format!("Another, {i}")));
    }
    transcript.add("again", &fixture.push_model("carla/model", &["--create-pr"]).assert_success().stdout);
    transcript.assert_snapshot("hub-a_change_is_proposed");
    assert_eq!(fixture.hub.store().repos["models/carla/model"].pulls.len(), 15);
}
