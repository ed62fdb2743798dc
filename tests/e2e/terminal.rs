//! What rows, files, recipes and servers say cannot act on a terminal: sequences by places, on a terminal and in pipes.

use std::{
    fs,
    io::{Read, Write},
    net::TcpListener,
    process::{Command, Stdio},
};

use serde_json::json;
use setaccio_base::shown::{is_hidden, shown, shown_json};

use crate::fixture::{Fixture, Run};

/// Each is obeyed by some terminal, turns text around, or hides it.
const SEQUENCES: [&str; 14] = [
    "\u{1b}[32m",
    "\u{1b}[2J\u{1b}[H",
    "\u{1b}]0;title\u{7}",
    "\u{1b}]52;c;ZXZpbDE\u{7}",
    "\u{1b}]8;;x\u{1b}\\",
    "\u{9b}31m",
    "\u{85}",
    "\u{202e}",
    "\u{2066}\u{2069}",
    "\u{200f}\u{61c}",
    "\r",
    "\u{8}\u{7f}",
    "\u{200b}\u{feff}",
    "\u{e0041}\u{e007f}",
];

/// The styles of the program itself.
const STYLES: [&str; 9] = [
    "\u{1b}[0m",
    "\u{1b}[1;31m",
    "\u{1b}[32m",
    "\u{1b}[36m",
    "\u{1b}[1m",
    "\u{1b}[2m",
    "\u{1b}[1;36m",
    "\u{1b}[2;35m",
    "\u{1b}[1;30;42m",
];

/// A place where a sequence is put, and the command that shows it.
type Place = (&'static str, fn(&str) -> Run);

const PLACES: &[Place] = &[
    ("the text of a row", |hostile| texts(hostile).run(&["preview", "RECIPE", "--from", "DATA"])),
    ("the message of a template", |hostile| {
        let rows = json!({"messages": [{"role": "user", "content": hostile}]}).to_string();
        let fixture = Fixture::new("chat", &[("web", "messages")], "[output]\ntemplate = 'refuses.jinja'\n");
        fixture.write("refuses.jinja", "{{ raise_exception(messages[0].content) }}");
        fixture.write("data/web/a.jsonl", rows);
        fixture.run(&["build", "RECIPE", "--from", "DATA", "--out", "OUT"])
    }),
    ("the name of a file", |hostile| {
        let fixture = Fixture::text("");
        fixture.write(&format!("data/web/{hostile}.jsonl"), "{\"text\": ");
        fixture.run(&["build", "RECIPE", "--from", "DATA", "--out", "OUT"])
    }),
    ("the name of a column", |hostile| {
        let fixture = Fixture::text("");
        fixture.write("data/web/a.jsonl", json!({hostile: "x"}).to_string());
        fixture.run(&["build", "RECIPE", "--from", "DATA", "--out", "OUT"])
    }),
    ("a column that nothing reads", |hostile| {
        let fixture = Fixture::text("");
        fixture.write("data/web/a.jsonl", json!({"text": "Il gatto dorme.", hostile: "x"}).to_string());
        fixture.run(&["plan", "RECIPE", "--from", "DATA"])
    }),
    ("the title of a recipe", |hostile| {
        let fixture = texts("x");
        let recipe = fs::read_to_string(fixture.path("recipe.toml")).unwrap();
        fixture.write("recipe.toml", recipe.replace("'Lab'", &toml::Value::from(hostile).to_string()));
        fixture.run(&["plan", "RECIPE", "--from", "DATA"])
    }),
    ("a key of a recipe", |hostile| {
        let fixture = Fixture::text("");
        let recipe = fs::read_to_string(fixture.path("recipe.toml")).unwrap();
        fixture.write("recipe.toml", format!("{} = 1\n{recipe}", toml::Value::from(hostile)));
        fixture.run(&["plan", "RECIPE", "--from", "DATA"])
    }),
    ("an argument", |hostile| texts("x").run(&["plan", "RECIPE", "--jobs", hostile])),
    ("a change of a recipe", |hostile| texts("x").run(&["plan", "RECIPE", "--set", &format!("{hostile}=1")])),
    ("the ledger", |hostile| {
        let fixture = texts("x");
        fixture.build("OUT", &[]).assert_success();
        let ledger = fs::read_to_string(fixture.path("OUT/ledger.json")).unwrap();
        let hostile = json!(format!("data/{hostile}")).to_string();
        fixture.write("OUT/ledger.json", ledger.replacen("\"data/train-00000-of-00001.parquet\"", &hostile, 1));
        fixture.run(&["verify", "OUT"])
    }),
    ("a row of a build", |hostile| {
        let fixture = texts(hostile);
        fixture.build("OUT", &[]).assert_success();
        fixture.run(&["why", "OUT", "INIZIO"])
    }),
    #[cfg(feature = "query")]
    ("the answer to a question", |hostile| {
        let fixture = texts(hostile);
        fixture.build("OUT", &[]).assert_success();
        fixture.run(&["query", "OUT", "SELECT text FROM shards"])
    }),
    ("what the Hub says", |hostile| {
        let fixture = Fixture::text("");
        let hub = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("http://{}", hub.local_addr().unwrap());
        let body = json!({ "error": hostile }).to_string();
        let answer = format!("HTTP/1.1 400 no\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len());
        let thread = std::thread::spawn(move || {
            let (mut stream, _) = hub.accept().unwrap();
            let _ = stream.read(&mut [0; 4096]);
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let run = fixture.run_with(&["pull", "RECIPE"], &[("HF_ENDPOINT", &endpoint)]);
        thread.join().unwrap();
        run
    }),
    ("the rows that init looks at", |hostile| {
        let fixture = Fixture::text("");
        let name = format!("{hostile}.jsonl");
        fixture.write(&name, json!({hostile: 1}).to_string());
        fixture.run(&["init", "mine", &name])
    }),
];

/// A text source of one row.
fn texts(text: &str) -> Fixture {
    let fixture = Fixture::text("");
    fixture.write("data/web/a.jsonl", json!({ "text": text }).to_string());
    fixture
}

impl Fixture {
    fn run(&self, args: &[&str]) -> Run {
        self.run_with(args, &[])
    }

    /// The program with colours, which a terminal would get; names in capitals are places of the fixture.
    fn run_with(&self, args: &[&str], env: &[(&str, &str)]) -> Run {
        let place = |arg: &&str| match *arg {
            "RECIPE" => self.path("recipe.toml"),
            "DATA" => self.path("data"),
            "OUT" => self.path("OUT"),
            other => other.into(),
        };
        let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
        command.args(args.iter().map(place)).current_dir(self.path("")).stdin(Stdio::null());
        command.env("HF_HOME", self.path("hf")).env("HF_TOKEN", "").env("CLICOLOR_FORCE", "1");
        command.envs(env.iter().copied()).output().unwrap().into()
    }
}

/// Every sequence, in one text.
fn all() -> String {
    SEQUENCES.map(|sequence| format!("INIZIO{sequence}FINE")).join(" ")
}

fn dirty(text: &str) -> Option<char> {
    text.chars().find(|c| !matches!(c, '\n' | '\t') && is_hidden(*c))
}

#[test]
fn nothing_that_others_say_acts_on_a_terminal() {
    std::thread::scope(|scope| {
        for (place, run) in PLACES {
            scope.spawn(move || {
                for sequence in SEQUENCES {
                    let hostile = format!("INIZIO{sequence}FINE");
                    let said = run(&hostile).said();
                    let bare = STYLES.iter().fold(said.clone(), |text, style| text.replace(style, ""));
                    assert_eq!(dirty(&bare), None, "{place}: {said:?}");
                    // Where a row stands on one line, white space is a space; a server's words lose their controls before.
                    let one_line = sequence.chars().all(char::is_whitespace) && bare.contains("INIZIO FINE");
                    let of_hub = *place == "what the Hub says" && bare.contains("INIZIO");
                    let told = bare.contains(&shown(&hostile)) || one_line || of_hub;
                    assert!(told, "{place}, {sequence:?}: {said:?}");
                }
            });
        }
    });
}

#[test]
fn json_is_the_same_json_without_them() {
    let hostile = all();
    let run = texts(&hostile).run(&["preview", "RECIPE", "--from", "DATA", "--json"]).assert_success();
    assert_eq!(dirty(&run.stdout), None, "{:?}", run.stdout);
    let said: serde_json::Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(said["rows"][0]["texts"][0]["text"], hostile);
    assert!(shown_json(&run.stdout) == run.stdout);
}

#[cfg(feature = "train")]
#[test]
fn a_batch_is_shown_without_them() {
    let hostile = all();
    let fixture = Fixture::new("chat", &[("web", "messages")], "");
    let row = |i| {
        let turn = |role: &str| json!({"role": role, "content": format!("{i} {hostile}")});
        json!({"messages": [turn("user"), turn("assistant")]}).to_string() + "\n"
    };
    fixture.write("data/web/a.jsonl", (0..20).map(row).collect::<String>());
    fixture.build("OUT", &[]).assert_success();
    let show = |args: &[&str]| {
        let mut command = crate::fixture::training("tiny", &fixture.path("OUT"), &fixture.path("run"), &[]);
        Run::from(command.args(args).env("CLICOLOR_FORCE", "1").output().unwrap()).assert_success().stdout
    };
    let text = show(&["--show-batch", "2"]);
    let bare = STYLES.iter().fold(text.clone(), |text, style| text.replace(style, ""));
    assert_eq!(dirty(&bare), None, "{text:?}");
    assert!(bare.contains("INIZIO\\u{9b}31mFINE"), "{text:?}");
    assert_eq!(dirty(&show(&["--show-batch", "2", "--json"])), None);
}
