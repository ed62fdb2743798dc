//! `template` of a source: rows made of columns that no schema knows, whatever the format, and what is said where a column or a
//! label is missing.

use setaccio_base::row::Kind;
use setaccio_dataset::columns::ContentColumns;

use crate::fixture::{Fixture, assert_snapshot, batches, column, setaccio};

const TEMPLATE: &str = "[source.template]\ninstruction = 'Lieto o triste?'\ninput = '{{ text }}'\n\
                        output = \"{{ {'0': 'triste', '1': 'lieto'}[label | string] }}{{ note | default('') }}\"\n";

/// A recipe of one source in `data/a`, which has these keys and settings.
fn fixture(keys: &str, settings: &str) -> Fixture {
    let fixture = Fixture::new("chat", &[("a", "alpaca")], "");
    let recipe = std::fs::read_to_string(fixture.path("recipe.toml")).unwrap();
    fixture.write("recipe.toml", [&recipe, "\n", keys, settings].concat());
    fixture
}

/// What the messages of a build say, row by row.
fn said(fixture: &Fixture, out: &str) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for batch in batches(&fixture.path(out).join("data"), "") {
        let contents = ContentColumns::new(&batch, Kind::Chat).unwrap();
        let texts = |i| contents.get(i).unwrap().texts().map(str::to_owned).collect::<Vec<_>>();
        rows.extend((0..batch.num_rows()).map(texts));
    }
    rows.sort();
    rows
}

#[test]
fn columns_become_messages_whatever_the_format() {
    let fixture = fixture(TEMPLATE, "[output.keep]\nlabel = 'string'\n");
    let expected = [["Lieto o triste?\n\nChe sole!", "lieto"], ["Lieto o triste?\n\nPiove.", "triste, forse"]];
    for (name, text) in [
        ("x.csv", "text,label,note\nChe sole!,1,\nPiove.,0,\", forse\"\n"),
        (
            "x.jsonl",
            "{\"text\": \"Che sole!\", \"label\": \"1\"}\n{\"text\": \"Piove.\", \"label\": \"0\", \"note\": \", forse\"}\n",
        ),
    ] {
        fixture.write(&format!("data/a/{name}"), text);
        fixture.build(name, &[]).assert_success();
        assert_eq!(said(&fixture, name), expected, "{name}");
        // What is kept is there, and what a template read is not said to be unread.
        let mut labels = column(&fixture.path(name).join("data"), "", "label");
        labels.sort();
        assert_eq!(labels, ["0", "1"]);
        let card = std::fs::read_to_string(fixture.path(name).join("README.md")).unwrap();
        assert!(!card.contains("that nothing reads"), "{card}");
        std::fs::remove_file(fixture.path(&format!("data/a/{name}"))).unwrap();
    }
}

#[test]
fn what_a_template_has_no_text_for_is_a_bad_row_or_stops_the_plan() {
    let mut told = String::new();
    for rows in [
        "{\"text\": \"Che sole!\", \"label\": 1}\n{\"text\": null, \"label\": 0}\n",
        "{\"text\": \"Che sole!\", \"label\": 2}\n",
        "{\"text\": \"Che sole!\", \"label\": \"boh\"}\n",
    ] {
        let fixture = fixture(TEMPLATE, "");
        fixture.write("data/a/x.jsonl", rows);
        told += &fixture.build("out", &[]).assert_failure();
    }
    let fixture = fixture(TEMPLATE, "");
    fixture.write("data/a/x.csv", "testo,label\nChe sole!,1\n");
    told += &fixture.build("out", &[]).assert_failure();
    for template in [
        "outpt = '{{ text }}'",
        "output = ''",
        "output = \"{{ txt | default('') }}\"",
        "output = '{{ text'",
        "output = 'sempre'",
        "output = '{{ strftime_now(\"%Y\") }}'",
    ] {
        let fixture = self::fixture(&format!("[source.template]\n{template}\n"), "");
        fixture.write("data/a/x.jsonl", "{\"text\": \"Che sole!\", \"label\": 1}\n");
        told += &fixture.build("out", &[]).assert_failure();
    }
    let fixture = self::fixture("rename = { output = 'label' }\n[source.template]\noutput = '{{ text }}'\n", "");
    fixture.write("data/a/x.jsonl", "{\"text\": \"Che sole!\", \"label\": 1}\n");
    told += &fixture.build("out", &[]).assert_failure();
    assert_snapshot("row-templates-refused", told);
}

#[test]
fn what_templates_make_and_ask_for_in_vain_is_told() {
    let keys = "[source.template]\ninstruction = \"{{ row['full text'] }}\"\noutput = \"{% set said = label | trim %}\
                {{ said }}{{ note | default('') }}{{ nota | default('') }}\"\n";
    let fixture = fixture(keys, "");
    fixture.write(
        "data/a/x.jsonl",
        "{\"full text\": \"Che sole!\", \"label\": \"lieto\", \"note\": \", forse\"}\n{\"full text\": \"Piove.\", \"label\": \"triste\"}\n",
    );
    let [recipe, data] = ["recipe.toml", "data"].map(|name| fixture.path(name).to_string_lossy().into_owned());
    let plan = setaccio(&["plan", &recipe, "--from", &data]).assert_success();
    let part = plan.stdout.split("columns\n").nth(1).unwrap().split("it would take").next().unwrap();
    fixture.build("out", &[]).assert_success();
    assert_eq!(said(&fixture, "out"), [["Che sole!", "lieto, forse"], ["Piove.", "triste"]]);
    let card = std::fs::read_to_string(fixture.path("out/README.md")).unwrap();
    let notes: Vec<&str> = card.lines().filter(|line| line.contains("emplate")).collect();
    assert_snapshot("row-templates-told", format!("{part}\n{}\n", notes.join("\n")));
}

#[test]
fn what_a_template_reads_the_schema_still_has() {
    for (keys, rows) in [
        ("", "{\"instruction\": \"Quanto fa?\", \"output\": \"4\"}\n"),
        ("rename = { instruction = 'q' }\n", "{\"q\": \"Quanto fa?\", \"output\": \"4\"}\n"),
    ] {
        let asked = if keys.is_empty() { "instruction" } else { "q" };
        let template = format!("{keys}[source.template]\noutput = '{{{{ output }}}} ({{{{ {asked} }}}})'\n");
        let fixture = fixture(&template, "");
        fixture.write("data/a/x.jsonl", rows);
        fixture.build("out", &[]).assert_success();
        assert_eq!(said(&fixture, "out"), [["Quanto fa?", "4 (Quanto fa?)"]]);
    }
}
