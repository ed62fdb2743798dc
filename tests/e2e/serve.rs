//! `setaccio serve` over HTTP, as OpenAI's clients and evaluation harnesses ask it. What real clients send is also sent by
//! tests/python/check_serve.py.

use std::{
    fmt::Write as _,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    process::{Child, Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    fixture::{ROOT, TestRng, assert_snapshot, setaccio, signal, training},
    train::data,
};

/// A run of the tiny recipe: a base and an adapter.
fn run() -> &'static str {
    static RUN: OnceLock<tempfile::TempDir> = OnceLock::new();
    static PATH: OnceLock<String> = OnceLock::new();
    let dir = RUN.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let sets = ["train.max_steps=6", "data.max_length=128", "train.learning_rate=0.01"];
        let run = training("tiny", data(), &dir.path().join("adapted"), &sets).output().unwrap();
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        dir
    });
    PATH.get_or_init(|| dir.path().join("adapted").to_string_lossy().into_owned())
}

/// A server, which ends with the test.
struct Server {
    child: Child,
    address: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Server {
    fn start(args: &[&str]) -> Self {
        Self::with_key(args, "")
    }

    fn with_key(args: &[&str], key: &str) -> Self {
        Self::of(run(), args, key)
    }

    fn of(model: &str, args: &[&str], key: &str) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_setaccio"));
        command.args(["serve", model, "--port", "0", "--jobs", "2", "--device", "cpu"]).args(args).current_dir(ROOT);
        command.env("SETACCIO_API_KEY", key).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = loop {
            let line = lines.next().expect("it listens").unwrap();
            if let Some(address) = line.strip_prefix("http://") {
                break address.strip_suffix("/v1").unwrap().to_owned();
            }
        };
        thread::spawn(move || lines.for_each(drop));
        Self { child, address }
    }

    /// What is answered: status, head and body.
    fn send(&self, head: &str, body: &[u8]) -> (u16, String, String) {
        let mut stream = self.open(head, body);
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).unwrap();
        let answer = String::from_utf8(answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {answer:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = if head.contains("chunked") { unchunked(body) } else { body.to_owned() };
        (status, head.to_owned(), body)
    }

    fn open(&self, head: &str, body: &[u8]) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        let length = body.len();
        write!(stream, "{head} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: {length}\r\n\r\n")
            .unwrap();
        stream.write_all(body).unwrap();
        stream
    }

    fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let (status, _, text) = self.send(&format!("POST {path}"), body.to_string().as_bytes());
        (status, serde_json::from_str(&text).unwrap_or_else(|e| panic!("{e}: {text}")))
    }

    fn ask(&self, path: &str, body: &Value) -> Value {
        let (status, answer) = self.post(path, body);
        assert_eq!(status, 200, "{body}: {answer}");
        answer
    }

    fn get(&self, path: &str) -> (u16, String) {
        let (status, _, text) = self.send(&format!("GET {path}"), b"");
        (status, text)
    }

    /// The events of a stream.
    fn stream(&self, path: &str, body: &Value) -> Vec<Value> {
        let (status, _, text) = self.send(&format!("POST {path}"), body.to_string().as_bytes());
        assert_eq!(status, 200, "{text}");
        let events: Vec<&str> = text.split("\n\n").filter_map(|line| line.strip_prefix("data: ")).collect();
        assert_eq!(events.last(), Some(&"[DONE]"), "{text}");
        events[..events.len() - 1].iter().map(|event| serde_json::from_str(event).unwrap()).collect()
    }

    fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let line =
            text.lines().find(|line| line.split(' ').next() == Some(name)).unwrap_or_else(|| panic!("{name}: {text}"));
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }
}

fn unchunked(mut body: &str) -> String {
    let mut out = String::new();
    while let Some((size, rest)) = body.split_once("\r\n") {
        let size = usize::from_str_radix(size, 16).unwrap();
        out.push_str(&rest[..size]);
        body = rest[size..].strip_prefix("\r\n").unwrap_or_default();
    }
    out
}

const CHAT: &str = "/v1/chat/completions";
const WRITE: &str = "/v1/completions";

fn text(answer: &Value) -> &str {
    let choice = &answer["choices"][0];
    choice["text"].as_str().or_else(|| choice["message"]["content"].as_str()).unwrap()
}

#[test]
fn base_and_adapter_answer_side_by_side_as_openai_does() {
    let server = Server::start(&[]);
    let models: Value = serde_json::from_str(&server.get("/v1/models").1).unwrap();
    let ids: Vec<&str> = models["data"].as_array().unwrap().iter().map(|m| m["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["base", "adapted"]);
    assert_eq!(models["data"][1]["parent"], "base");
    let one: Value = serde_json::from_str(&server.get("/v1/models/adapted").1).unwrap();
    assert_eq!(one, models["data"][1]);
    assert_eq!(server.get("/health").0, 200);

    let mut body = json!({
        "model": "adapted", "messages": [{ "role": "user", "content": "Dove va il treno?" }], "max_tokens": 12, "temperature": 0,
        "frequency_penalty": null, "logprobs": true, "top_logprobs": 2, "user": "me", "tools": [{ "type": "function" }],
    });
    let answer = server.ask(CHAT, &body);
    assert_eq!((&answer["object"], &answer["model"]), (&json!("chat.completion"), &json!("adapted")));
    assert_eq!(answer["choices"][0]["message"]["role"], "assistant");
    let tokens = answer["choices"][0]["logprobs"]["content"].as_array().unwrap();
    assert_eq!(answer["usage"]["completion_tokens"], tokens.len());
    assert!(
        tokens.iter().all(
            |t| t["top_logprobs"].as_array().unwrap().len() == 2 && t["logprob"] == t["top_logprobs"][0]["logprob"]
        )
    );
    // The same as one text part; and streamed, with what was used at the end.
    body["messages"][0]["content"] = json!([{ "type": "text", "text": "Dove va il treno?" }]);
    assert_eq!(text(&server.ask(CHAT, &body)), text(&answer));
    body["stream"] = json!(true);
    body["stream_options"] = json!({ "include_usage": true });
    let events = server.stream(CHAT, &body);
    assert_eq!(events[0]["choices"][0]["delta"], json!({ "role": "assistant", "content": "" }));
    let pieces: String = events.iter().filter_map(|e| e["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(pieces, text(&answer));
    let (end, usage) = (&events[events.len() - 2], &events[events.len() - 1]);
    assert_eq!(end["choices"][0]["finish_reason"], answer["choices"][0]["finish_reason"]);
    assert_eq!((&usage["choices"], &usage["usage"]["completion_tokens"]), (&json!([]), &json!(tokens.len())));
    // What clients send back after a call has no content.
    let after = json!({ "model": "adapted", "max_tokens": 2, "messages": [
        { "role": "user", "content": "Che tempo fa?" },
        { "role": "assistant", "content": null, "tool_calls": [{ "id": "c", "type": "function", "function": { "name": "f", "arguments": "{}" } }] },
        { "role": "tool", "tool_call_id": "c", "content": "Piove." },
    ]});
    server.ask(CHAT, &after);
    let seen = server.ask("/tokenize", &after)["tokens"].clone();
    let seen = server.ask("/detokenize", &json!({ "tokens": seen }))["content"].as_str().unwrap().to_owned();
    assert!(seen.contains("Piove.") && !seen.contains("None"), "{seen}");
    // The base says something else, and is the one that is asked where none is named.
    let base =
        |model: Value| {
            text(&server.ask(
                CHAT,
                &json!({ "model": model, "messages": body["messages"], "max_tokens": 12, "temperature": 0 }),
            ))
            .to_owned()
        };
    assert!(base(json!("base")) == base(Value::Null) && base(json!("base")) != text(&answer));
    // Seeds decide, and each choice has one of its own.
    let drawn = |seed: u64| {
        let answer = server.ask(WRITE, &json!({ "prompt": "Il treno", "seed": seed, "n": 3, "max_tokens": 6 }));
        let texts: Vec<String> =
            answer["choices"].as_array().unwrap().iter().map(|c| c["text"].as_str().unwrap().to_owned()).collect();
        assert!(texts.len() == 3 && texts[0] != texts[1], "{texts:?}");
        texts
    };
    // Any 64 bits, which some clients draw.
    assert!(drawn(1) == drawn(1) && drawn(1) != drawn(2) && drawn(u64::MAX) == drawn(u64::MAX));
}

#[test]
fn log_probabilities_of_prompts_are_told_as_harnesses_read_them() {
    let server = Server::start(&[]);
    let tokens = |text: &str| {
        let answer = server.ask("/tokenize", &json!({ "prompt": text, "add_special_tokens": false }));
        answer["tokens"].as_array().unwrap().clone()
    };
    let (one, two) = (tokens("Il treno per Bari parte alle sette."), tokens("Sì."));
    let back = server.ask("/detokenize", &json!({ "tokens": one }));
    assert_eq!(back["prompt"], "Il treno per Bari parte alle sette.");
    let ask = |prompt: &Value, max: u64| json!({ "model": "base", "prompt": prompt, "temperature": 0, "max_tokens": max, "logprobs": 1, "seed": 1234, "echo": true });
    let batch = server.ask(WRITE, &ask(&json!([one, two, one]), 1));
    let choices = batch["choices"].as_array().unwrap();
    for (choice, ids) in choices.iter().zip([&one, &two, &one]) {
        let logprobs = &choice["logprobs"];
        let [values, top, pieces] =
            ["token_logprobs", "top_logprobs", "tokens"].map(|name| logprobs[name].as_array().unwrap());
        // One entry more than the prompt has, whatever came: the client takes the last one off.
        assert_eq!([values.len(), top.len(), pieces.len()], [ids.len() + 1; 3]);
        assert!(values[0].is_null() && values[1..].iter().all(|v| v.as_f64().is_some_and(|v| v <= 0.0)));
        for (i, piece) in pieces.iter().enumerate().skip(1) {
            let own = top[i].as_object().unwrap().values().find(|v| **v == values[i]);
            assert!(own.is_some() && (1..=2).contains(&top[i].as_object().unwrap().len()), "{piece}: {}", top[i]);
        }
    }
    assert_eq!(choices[0]["logprobs"], choices[2]["logprobs"], "what was there and what was computed are the same");
    // Characters of several tokens count once, where they begin.
    let signs = "è 🌾🌾 ok";
    let ids = tokens(signs);
    let answer = server.ask(WRITE, &ask(&json!(ids), 0));
    let offsets: Vec<u64> = serde_json::from_value(answer["choices"][0]["logprobs"]["text_offset"].clone()).unwrap();
    let last = tokens("k").len();
    assert!(ids.len() > signs.chars().count() && offsets.is_sorted(), "{offsets:?}");
    assert!(offsets[ids.len() - last] < signs.chars().count() as u64, "{offsets:?}");
    assert_eq!(text(&server.ask(WRITE, &ask(&json!([two]), 0))), "Sì.");
    // As long as the model can look at, and one more; then no more.
    let long = |n: usize| json!(vec![one[0].clone(); n]);
    for (n, entries) in [(1024, 1025), (1025, 1026)] {
        let answer = server.ask(WRITE, &ask(&long(n), 1));
        assert_eq!(answer["choices"][0]["logprobs"]["token_logprobs"].as_array().unwrap().len(), entries);
    }
    let (status, answer) = server.post(WRITE, &ask(&long(1026), 1));
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("context_length_exceeded")));
    let (status, answer) = server.post(WRITE, &json!({ "prompt": long(1025), "max_tokens": 1 }));
    assert_eq!((status, &answer["error"]["code"]), (400, &json!("context_length_exceeded")));
    // Streamed it comes in pieces, and is the same.
    let mut body = ask(&json!(one), 3);
    let whole = server.ask(WRITE, &body);
    body["stream"] = json!(true);
    let events = server.stream(WRITE, &body);
    let join = |name: &str| -> Vec<Value> {
        events.iter().filter_map(|e| e["choices"][0]["logprobs"][name].as_array().cloned()).flatten().collect()
    };
    for name in ["tokens", "token_logprobs", "text_offset"] {
        assert_eq!(json!(join(name)), whole["choices"][0]["logprobs"][name], "{name}");
    }
}

/// A chain and a run that trained every weight are two models, before and after.
#[test]
fn what_was_trained_whole_stands_beside_what_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let [chain, whole] = ["chain", "whole"].map(|name| dir.path().join(name));
    let sets = ["adapt", "sft", "dpo"]
        .map(|stage| [format!("{stage}.train.max_steps=2"), format!("{stage}.data.max_length=256")]);
    let mut args = vec!["train-all", "tiny", "--out", chain.to_str().unwrap()];
    args.extend(sets.iter().flatten().flat_map(|set| ["--set", set.as_str()]));
    let said = setaccio(&args).assert_success().stdout;
    let after =
        said.lines().find_map(|line| line.trim_start().strip_prefix("after  ")).unwrap().trim_end_matches('…').trim();
    let run = training("tiny", data(), &whole, &["method=full", "train.max_steps=2", "data.max_length=128"])
        .output()
        .unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    for (path, name) in [(&chain, "chain"), (&whole, "whole")] {
        let server = Server::of(path.to_str().unwrap(), &[], "");
        let (_, listed) = server.get("/v1/models");
        let listed: Value = serde_json::from_str(&listed).unwrap();
        assert_eq!((&listed["data"][0]["id"], &listed["data"][1]["id"]), (&json!("base"), &json!(name)));
        assert_eq!(listed["data"][1]["parent"], "base");
        let turn = json!([{ "role": "user", "content": "Qual è la capitale dell'Australia?" }]);
        let [before, now] = ["base", name].map(|model| {
            let body = json!({ "model": model, "messages": turn, "temperature": 0, "max_tokens": 64 });
            server.ask(CHAT, &body)["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
        });
        assert_ne!(before, now);
        if name == "chain" {
            assert!(
                now.split_whitespace().collect::<Vec<_>>().join(" ").starts_with(after),
                "{now}\nthe chain said {after}"
            );
        }
    }
    let alone = Server::of(chain.to_str().unwrap(), &["--without-base"], "");
    assert!(!alone.get("/v1/models").1.contains("\"base\""));
}

#[test]
fn texts_end_before_a_stop_string_and_never_within_a_character() {
    let server = Server::start(&[]);
    let body = |stop: Value| json!({ "prompt": "Il treno", "max_tokens": 40, "temperature": 0, "stop": stop });
    let whole = text(&server.ask(WRITE, &body(Value::Null))).to_owned();
    let chars: Vec<char> = whole.chars().collect();
    let middle: String = chars[chars.len() / 2..chars.len() / 2 + 3].iter().collect();
    let answer = server.ask(WRITE, &body(json!([middle, "qui no"])));
    assert_eq!(text(&answer), &whole[..whole.find(&middle).unwrap()]);
    assert_eq!(answer["choices"][0]["finish_reason"], "stop");
    let mut streamed = body(json!(middle));
    streamed["stream"] = json!(true);
    let pieces: String =
        server.stream(WRITE, &streamed).iter().filter_map(|e| e["choices"][0]["text"].as_str()).collect();
    assert_eq!(pieces, text(&answer));
}

#[test]
fn vectors_have_length_one_in_numbers_and_in_base64() {
    let server = Server::start(&["--pooling", "last"]);
    let ask = |fields: Value| {
        let mut body = json!({ "model": "adapted", "input": ["Il treno parte.", "Piove."] });
        body.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        server.ask("/v1/embeddings", &body)
    };
    let numbers = ask(json!({}));
    let vector = |answer: &Value, i: usize| -> Vec<f64> {
        serde_json::from_value(answer["data"][i]["embedding"].clone()).unwrap()
    };
    let length = |v: &[f64]| v.iter().map(|x| x * x).sum::<f64>().sqrt();
    assert!((length(&vector(&numbers, 1)) - 1.0).abs() < 1e-6 && vector(&numbers, 0).len() == 128);
    let short = vector(&ask(json!({ "dimensions": 8 })), 0);
    assert!(short.len() == 8 && (length(&short) - 1.0).abs() < 1e-6);
    let coded = ask(json!({ "encoding_format": "base64" }));
    // 128 numbers of four bytes.
    assert_eq!(coded["data"][0]["embedding"].as_str().unwrap().len(), (128_usize * 4).div_ceil(3) * 4);
    assert_eq!(numbers["usage"]["prompt_tokens"], coded["usage"]["prompt_tokens"]);
}

#[test]
fn what_cannot_be_answered_is_an_error_that_clients_understand() {
    let server = Server::start(&["--cors", "https://chat.example"]);
    let mut told = String::new();
    let user = json!([{ "role": "user", "content": "Ciao" }]);
    for (path, body) in [
        (CHAT, json!({ "model": "altro", "messages": user })),
        (CHAT, json!({ "messages": [] })),
        (CHAT, json!({ "messages": [{ "content": "Ciao" }] })),
        (CHAT, json!({ "messages": [{ "role": "user", "content": [{ "type": "image_url", "image_url": {} }] }] })),
        (CHAT, json!({ "messages": user, "temperature": -1 })),
        (CHAT, json!({ "messages": user, "n": 0 })),
        (CHAT, json!({ "messages": user, "response_format": { "type": "json_object" } })),
        (CHAT, json!({ "messages": user, "max_tokens": -3 })),
        (CHAT, json!({ "messages": "Ciao" })),
        (WRITE, json!({})),
        (WRITE, json!({ "prompt": [] })),
        (WRITE, json!({ "prompt": "" , "logprobs": 99 })),
        (WRITE, json!({ "prompt": [1, 999_999] })),
        (WRITE, json!({ "prompt": "a", "suffix": "b" })),
        (WRITE, json!({ "prompt": "a ".repeat(500_000) })),
        (WRITE, json!({ "prompt": "a", "stop_token_ids": vec![1; 65] })),
        (WRITE, json!({ "prompt": vec!["a"; 100], "n": 100 })),
        ("/v1/embeddings", json!({ "input": [1, 2, 3] })),
        ("/v1/embeddings", json!({ "input": "a", "dimensions": 999 })),
        ("/detokenize", json!({ "tokens": [999_999] })),
        ("/nowhere", json!({})),
    ] {
        let (status, answer) = server.post(path, &body);
        assert!(answer["error"]["message"].is_string() && (400..500).contains(&status), "{body}: {answer}");
        let body: String = body.to_string().chars().take(120).collect();
        writeln!(told, "{path} {body}\n  {status} {}", answer["error"]).unwrap();
    }
    let (status, _, answer) = server.send("GET /v1/completions", b"");
    writeln!(told, "GET {status} {answer}").unwrap();
    let (status, _, answer) = server.send("GET /v1/models/%ff", b"");
    writeln!(told, "GET %ff {status} {answer}").unwrap();
    let (status, _, answer) = server.send(&format!("POST {WRITE}"), &vec![b' '; (64 << 20) + 1]);
    writeln!(told, "POST too much {status} {answer}").unwrap();
    for body in [&b"{"[..], b"\xff\xfe", b"[]", b"null", b""] {
        assert_eq!(server.send(&format!("POST {CHAT}"), body).0, 400, "{body:?}");
    }
    assert_snapshot("serve-errors", told);
    // Pages of that origin may ask, others not.
    assert_eq!(server.send(&format!("OPTIONS {CHAT}"), b"").0, 405);
    for (host, origin, status) in [
        ("localhost", "https://evil.example", "403"),
        ("localhost", "null", "403"),
        ("evil.example", "http://evil.example", "403"),
        ("evil.example", "https://chat.example", "200"),
        ("localhost:1", "http://localhost:1", "200"),
        ("[::1]:1", "http://[::1]:1", "200"),
    ] {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        write!(stream, "GET /v1/models HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nConnection: close\r\n\r\n")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert_eq!(answer.split(' ').nth(1), Some(status), "{host} {origin}: {answer}");
    }
    let mut stream = TcpStream::connect(&server.address).unwrap();
    write!(
        stream,
        "OPTIONS {CHAT} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://chat.example\r\nConnection: close\r\n\r\n"
    )
    .unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(
        answer.contains(" 204 ") && answer.contains("access-control-allow-origin: https://chat.example"),
        "{answer}"
    );
    assert_eq!(server.get("/tokenizer_info").0, 404);
}

#[test]
fn the_page_may_run_nothing_but_its_own_script() {
    let server = Server::with_key(&[], "segreto");
    let (status, head, page) = server.send("GET /", b"");
    assert!(status == 200 && head.contains("text/html") && page.contains("<script>"), "{head}");
    let policy = head.lines().find_map(|line| line.strip_prefix("content-security-policy: ")).unwrap();
    for part in ["default-src 'none'", "connect-src 'self'", "script-src 'sha256-", "style-src 'sha256-"] {
        assert!(policy.contains(part), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    // Nothing is fetched from elsewhere, and nothing that a model writes is made HTML.
    for bad in ["src=", "@import", "innerHTML", "insertAdjacentHTML", "document.write", "eval("] {
        assert!(!page.contains(bad), "{bad}");
    }
}

#[test]
fn a_key_is_asked_for_and_never_told() {
    let server = Server::with_key(&["--tokenizer-info"], "segreto-lungo");
    assert_eq!((server.get("/health").0, server.get("/v1/models").0), (200, 401));
    let with = |key: &str| {
        let mut stream = TcpStream::connect(&server.address).unwrap();
        write!(
            stream,
            "GET /tokenizer_info HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {key}\r\nConnection: close\r\n\r\n"
        )
        .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(!answer.contains("segreto"), "{answer}");
        answer.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(["segreto-lungo", "segreto-lung", "segreto-lungo2", ""].map(with), ["200", "401", "401", "401"]);
}

#[test]
fn many_clients_get_what_they_would_alone_and_those_that_go_leave_no_trace() {
    let server = Server::start(&["--parallel", "12", "--kv-cache", "8"]);
    let mut rng = TestRng(5);
    let bodies: Vec<Value> = (0..120)
        .map(|i| {
            let prompt: String = rng.text().chars().take(10 + rng.below(300)).collect();
            let model = ["base", "adapted"][i % 2];
            json!({ "model": model, "prompt": prompt, "max_tokens": 1 + rng.below(30), "temperature": 0 })
        })
        .collect();
    let alone: Vec<String> = bodies.iter().map(|body| text(&server.ask(WRITE, body)).to_owned()).collect();
    thread::scope(|scope| {
        for client in 0..12 {
            let (server, bodies, alone) = (&server, &bodies, &alone);
            scope.spawn(move || {
                for i in (client..bodies.len()).step_by(12) {
                    if i % 5 == 0 {
                        // Goes away, before or while it is answered.
                        let mut body = bodies[i].clone();
                        (body["stream"], body["max_tokens"]) = (json!(true), json!(400));
                        let mut stream = server.open(&format!("POST {WRITE}"), body.to_string().as_bytes());
                        if i % 2 == 0 {
                            stream.read_exact(&mut [0; 200]).unwrap();
                        }
                        continue;
                    }
                    assert_eq!(text(&server.ask(WRITE, &bodies[i])), alone[i], "request {i}");
                }
            });
        }
    });
    let began = Instant::now();
    while server.metric("setaccio_num_requests_running") + server.metric("setaccio_num_requests_waiting") > 0.0 {
        assert!(began.elapsed() < Duration::from_mins(1), "requests of clients that have gone are still worked on");
        thread::sleep(Duration::from_millis(20));
    }
    assert!(
        server.metric("setaccio_kv_cache_bytes").abs() < 0.5
            && server.metric("setaccio_prefix_cache_tokens_total") > 0.0
    );
}

#[test]
fn a_full_queue_says_when_to_come_back_and_the_end_waits_for_answers() {
    let mut server = Server::start(&["--parallel", "1", "--queue", "1"]);
    let slow =
        json!({ "prompt": "Il treno", "max_tokens": 900, "temperature": 0, "stream": true, "stop_token_ids": [] })
            .to_string();
    let mut open: Vec<TcpStream> = (0..2).map(|_| server.open(&format!("POST {WRITE}"), slow.as_bytes())).collect();
    let began = Instant::now();
    while server.metric("setaccio_num_requests_running") + server.metric("setaccio_num_requests_waiting") < 2.0 {
        assert!(began.elapsed() < Duration::from_secs(30), "two requests are open");
    }
    let (status, head, body) = server.send(&format!("POST {WRITE}"), slow.replace("900", "1").as_bytes());
    assert_eq!(status, 429, "{body}");
    assert!(head.to_lowercase().contains("retry-after: 1") && body.contains("queue_full"), "{head}\n{body}");
    // One has gone; the other is written to its end, though the server is to end.
    drop(open.pop());
    signal(&server.child, "TERM");
    let mut answer = String::new();
    open[0].read_to_string(&mut answer).unwrap();
    assert!(
        answer.contains("\"finish_reason\":\"length\"") || answer.contains("\"finish_reason\":\"stop\""),
        "{}",
        &answer[..answer.len().min(300)]
    );
    assert!(answer.contains("[DONE]"));
    assert!(server.child.wait().unwrap().success());
    assert!(TcpStream::connect(&server.address).is_err());
}
