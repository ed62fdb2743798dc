//! The steps of CONTRIBUTING.md, followed: what it names is there, and what it tells to write works.

use std::{fs, path::Path};

use crate::fixture::{ROOT, column, setaccio};

fn read(name: &str) -> String {
    fs::read_to_string(format!("{ROOT}/{name}")).unwrap()
}

/// Folders of the repository that paths begin with; builds and runs make others.
const FOLDERS: &str =
    "src base filters templates dataset curate hub train eval/src pipelines data/samples docs tests tools benches .ci";

#[test]
fn every_path_that_the_guides_name_is_there() {
    let mut guides: Vec<String> =
        ["README.md", "CONTRIBUTING.md", "ARCHITECTURE.md", "BENCHMARKS.md", "data/samples/README.md"]
            .map(str::to_owned)
            .into();
    guides.extend(fs::read_dir(format!("{ROOT}/docs")).unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        Path::new(&name).extension().is_some_and(|e| e == "md").then(|| format!("docs/{name}"))
    }));
    for guide in guides {
        let text = read(&guide);
        // Code between backticks; of three backticks in a row, what is between is shown as it is.
        for code in text.replace("```", "\n").lines().flat_map(|l| l.split('`').skip(1).step_by(2)) {
            let path = code.trim_end_matches('/');
            let a_path =
                path.contains('/') && path.contains(char::is_alphabetic) && !path.contains([' ', '<', '*', '$', '~']);
            let ours =
                FOLDERS.split(' ').any(|folder| path.strip_prefix(folder).is_some_and(|rest| rest.starts_with('/')));
            if a_path && ours && !path.contains("NAME") {
                assert!(Path::new(ROOT).join(path).exists(), "{guide} names {path}");
            }
        }
    }
}

#[test]
fn every_rule_is_a_file_with_a_test_and_explains_itself() {
    let rules = setaccio(&["rules"]).assert_success().stdout;
    let names: Vec<&str> = rules.lines().filter_map(|l| l.split_whitespace().next()).collect();
    let modules = read("filters/src/rules/mod.rs");
    assert_eq!(names.len(), modules.matches("pub mod").count(), "a rule without a file, or a file without a rule");
    assert!(names.is_sorted(), "{names:?}");
    for name in names {
        assert!(modules.contains(&format!("pub mod {name};")), "{name}");
        let file = read(&format!("filters/src/rules/{name}.rs"));
        assert!(file.contains("#[cfg(test)]"), "{name} has no table test");
        let shown = setaccio(&["rules", name]).assert_success().stdout;
        for head in ["\nWhy\n", "\nExample\n", "\nSource\n", "\nSettings\n"] {
            assert!(shown.contains(head), "{name}: {head:?} is missing:\n{shown}");
        }
        // What is shown can be pasted into a recipe.
        let table: toml::Table = shown.split_once("# with nothing said").unwrap().1.parse().unwrap();
        assert_eq!(table["filter"][0]["rule"].as_str(), Some(name), "{shown}");
    }
}

#[test]
fn a_source_is_added_as_the_guide_says() {
    let guide = read("CONTRIBUTING.md");
    let source = guide.split("```toml\n").nth(1).and_then(|s| s.split("```").next()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    };
    write("data/samples/my_pages.jsonl", "{\"body\": \"La prima pagina.\"}\n{\"body\": \"La seconda pagina.\"}\n");
    let head = "name = 'mine'\ntitle = 'Mine'\nabout = 'Pages.'\nkind = 'text'\n";
    let recipe = write("pipelines/mine.toml", &format!("{head}\n{source}"));
    let out = dir.path().join("out");
    setaccio(&["build", &recipe, "--out", out.to_str().unwrap()]).assert_success();
    assert_eq!(column(&out.join("data"), "train", "text").len(), 2);
}

#[cfg(feature = "train")]
#[test]
fn a_task_is_added_as_the_guide_says() {
    let guide = read("CONTRIBUTING.md");
    let task = guide.split("```toml\n").nth(2).and_then(|s| s.split("```").next()).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("my_quiz.toml");
    fs::write(&path, task).unwrap();
    let row = |q: &str, right: u8| {
        format!("{{\"question\": \" {q}  e poi?\", \"options\": [\"s\u{ec}\", \"no\"], \"right\": {right}}}\n")
    };
    fs::write(dir.path().join("quiz.jsonl"), row("Piove", 0) + &row("Nevica", 1) + &row("Grandina", 1)).unwrap();
    let out = dir.path().join("out");
    let base = crate::eval::run().join("base");
    let said = setaccio(&[
        "eval",
        base.to_str().unwrap(),
        "--task",
        path.to_str().unwrap(),
        "--out",
        out.to_str().unwrap(),
        "--device",
        "cpu",
    ]);
    let said = said.assert_success().stdout;
    assert!(said.contains("my_quiz") && said.contains("acc_norm"), "{said}");
    let prompts = column(&out.join("my_quiz"), "base", "prompt");
    let expected = ["Domanda: Nevica e poi?\nRisposta: no\n\nDomanda: Piove e poi?\nRisposta:"];
    assert_eq!(prompts[..1], expected);
}

#[test]
fn every_schema_is_a_file_with_a_case() {
    let schemas = setaccio(&["schemas"]).assert_success().stdout;
    let names: Vec<&str> =
        schemas.lines().filter(|l| !l.starts_with(' ')).filter_map(|l| l.split_whitespace().next()).collect();
    let cases = read("curate/src/source/schemas/tests.rs");
    assert!(names.len() >= 9, "{schemas}");
    for name in names {
        assert!(Path::new(ROOT).join(format!("curate/src/source/schemas/{name}.rs")).exists(), "{name}");
        assert!(cases.contains(&format!("\"{name}\"")), "{name} has no case");
        let shown = setaccio(&["schemas", name]).assert_success().stdout;
        assert!(shown.contains("required") && shown.contains("\nExample\n{"), "{shown}");
    }
}

#[test]
fn the_reference_says_what_the_program_does() {
    setaccio(&["docs", "--check", "docs/reference"]).assert_success();
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().to_str().unwrap();
    setaccio(&["docs", folder]).assert_success();
    fs::write(dir.path().join("rules.md"), "old").unwrap();
    assert!(
        setaccio(&["docs", "--check", folder])
            .assert_failure()
            .contains("rules.md no longer says what the program does")
    );
}
