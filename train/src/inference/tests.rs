//! The engine on small models: texts beside each other are those alone, to the bit.

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{Arc, mpsc},
};

use candle_core::{DType, Device, Tensor};

use super::{
    engine::{Counts, Engine, Limits},
    pieces::{self, BLOCK},
    request::{Event, Finish, Pooling, Request, Scored, Task, Writing},
    sampling::Sampling,
};
use crate::{
    artifacts::tiny::Tiny,
    error::Result,
    formats::model_files::ModelFiles,
    kernels::Span,
    model::{
        config::Config,
        context::Mode,
        llama::Llama,
        load::{self, LoadOptions, Source},
    },
    random::{self, key},
};

const VOCAB: usize = 300;
const POSITIONS: usize = 512;

/// One that knows nothing, whose greedy texts hardly repeat.
fn model(seed: u64) -> Arc<Llama> {
    let dir = tempfile::tempdir().unwrap();
    let tiny = Tiny { layers: 2, hidden: 64, intermediate: 96, positions: POSITIONS, ..Tiny::new(VOCAB, seed) };
    tiny.make(dir.path()).unwrap();
    let files = ModelFiles::open(dir.path()).unwrap();
    let options = LoadOptions { dtype: DType::F32, device: Device::Cpu, ..LoadOptions::default() };
    Arc::new(load::model(files.config(), &files, &options, &|_| true).unwrap())
}

struct Random;

impl Source for Random {
    fn tensor(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        let values = random::uniform_vec(key(0, name), shape.iter().product(), 0.2);
        Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
    }
}

/// A Mixtral likewise.
fn experts() -> Arc<Llama> {
    let json = serde_json::json!({
        "model_type": "mixtral", "vocab_size": VOCAB, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "num_local_experts": 6, "max_position_embeddings": POSITIONS,
    });
    let config = Config::from_json(Path::new("config.json"), json.as_object().unwrap()).unwrap();
    Arc::new(load::model(&config, &Random, &LoadOptions::default(), &|_| true).unwrap())
}

fn prompt(seed: u64, len: usize) -> Vec<u32> {
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "tokens")]
    let id = |i| (random::uniform(key(seed, "prompt"), i) * VOCAB as f32) as u32;
    (0..len as u64).map(id).collect()
}

/// What came of a request.
#[derive(Clone, Debug, Default, PartialEq)]
struct Answer {
    started: Option<usize>,
    prompt: Option<Vec<Scored>>,
    tokens: Vec<Scored>,
    ended: Option<Scored>,
    vector: Option<Vec<f32>>,
    finish: Option<Finish>,
    failed: Option<String>,
}

struct Asked {
    engine: Engine,
    told: Vec<mpsc::Receiver<Event>>,
}

impl Asked {
    fn new(models: Vec<Arc<Llama>>, rows: usize, texts: usize) -> Self {
        let limits = Limits { rows, texts, keep_prompts: true };
        Self { engine: Engine::new(models, POSITIONS, limits).unwrap(), told: Vec::new() }
    }

    /// Submit a request; at most so many tokens of it are wanted.
    fn submit(&mut self, model: usize, prompt: Vec<u32>, task: Task, wanted: usize) {
        let (sender, receiver) = mpsc::channel();
        let mut tokens = 0;
        let answer = Box::new(move |event: Event| {
            tokens += usize::from(matches!(event, Event::Token(_)));
            sender.send(event).is_ok() && tokens < wanted
        });
        self.told.push(receiver);
        self.engine.submit(Request { model, prompt, task, answer });
    }

    fn finish(mut self) -> (Vec<Answer>, Counts) {
        while !self.engine.idle() {
            self.engine.step().unwrap();
        }
        let answers = self.told.iter().map(|told| {
            let mut answer = Answer::default();
            for event in told.try_iter() {
                match event {
                    Event::Started(kept) => assert!(answer.started.replace(kept).is_none()),
                    Event::Prompt(scores) => assert!(answer.prompt.replace(scores).is_none()),
                    Event::Token(token) => answer.tokens.push(token),
                    Event::Ended(token) => assert!(answer.ended.replace(token).is_none()),
                    Event::Read(_) => {}
                    Event::Vector(vector) => answer.vector = Some(vector),
                    Event::Finished(finish) => answer.finish = Some(finish),
                    Event::Failed(why) => answer.failed = Some(why),
                }
            }
            answer
        });
        (answers.collect(), self.engine.counts())
    }
}

fn write(max_tokens: usize) -> Writing {
    Writing { max_tokens, logprobs: Some(2), ..Writing::default() }
}

/// The answer without what depends on what was there.
fn alone(models: &[Arc<Llama>], model: usize, prompt: &[u32], task: &Task) -> Answer {
    let mut asked = Asked::new(models.to_vec(), POSITIONS, 1);
    asked.submit(model, prompt.to_vec(), task.clone(), usize::MAX);
    Answer { started: None, ..asked.finish().0.remove(0) }
}

#[test]
fn texts_beside_each_other_are_those_alone_whatever_room_there_is() {
    let models = [model(1), model(2)];
    let shared = prompt(9, 150);
    let mut requests = Vec::new();
    for i in 0..24_usize {
        let seed = i as u64;
        let own = prompt(seed, [1, 3, 7, 8, 9, 40, 64, 65, 100, 130, 260, 300][i % 12]);
        let ids = if i % 3 == 0 { own } else { [&shared[..40 + 4 * i], &own[..own.len().min(20)]].concat() };
        let sampling = match i % 4 {
            0 | 1 => Sampling::default(),
            2 => Sampling { temperature: 0.8, top_p: 0.9, seed, ..Sampling::default() },
            _ => Sampling { temperature: 1.0, repetition_penalty: 1.3, seed, ..Sampling::default() },
        };
        let prompt_logprobs = (i % 5 == 0).then_some(1);
        let scored_from = if i % 2 == 0 { ids.len() / 2 } else { 0 };
        let writing = Writing { sampling, prompt_logprobs, scored_from, ..write(5 + 12 * (i % 14)) };
        let task = if i % 11 == 10 { Task::Embed(Pooling::Mean) } else { Task::Write(writing) };
        requests.push((i % 2, ids, task));
    }
    let expected: Vec<Answer> = requests.iter().map(|(model, ids, task)| alone(&models, *model, ids, task)).collect();
    assert!(
        expected.iter().all(|answer| answer.failed.is_none() && (answer.finish.is_some() || answer.vector.is_some()))
    );
    let mut seen = Counts::default();
    for (rows, texts) in [(16_384, 24), (1_000, 7), (540, 24)] {
        let mut asked = Asked::new(models.to_vec(), rows, texts);
        // Twice: what was read the first time is there the second time.
        for (model, ids, task) in requests.iter().chain(&requests) {
            asked.submit(*model, ids.clone(), task.clone(), usize::MAX);
        }
        let (answers, counts) = asked.finish();
        for (i, (got, want)) in answers.into_iter().zip(expected.iter().chain(&expected)).enumerate() {
            let got = Answer { started: None, ..got };
            let same = got.tokens.iter().zip(&want.tokens).take_while(|(a, b)| a == b).count();
            let lengths = [got.tokens.len(), want.tokens.len()];
            let (end, failed) = (got.finish, got.failed.clone());
            assert!(got == *want, "{rows} rows, request {i}: tokens {lengths:?}, {same} the same, {end:?}, {failed:?}");
        }
        assert_eq!((counts.waiting, counts.running, counts.rows), (0, 0, 0));
        seen.restarted += counts.restarted;
        seen.kept += counts.kept;
    }
    assert!(seen.restarted > 0 && seen.kept > 0, "{seen:?}");
}

/// The same of a model with experts, which other tokens go through too.
#[test]
fn experts_do_not_tell_texts_of_each_other() {
    let model = experts();
    let models = [model];
    let requests: Vec<Vec<u32>> =
        [1, 5, 16, 40, 130].into_iter().enumerate().map(|(i, n)| prompt(i as u64, n)).collect();
    let expected: Vec<Answer> = requests.iter().map(|ids| alone(&models, 0, ids, &Task::Write(write(30)))).collect();
    let mut asked = Asked::new(models.to_vec(), 2048, 8);
    for ids in requests.iter().chain(&requests) {
        asked.submit(0, ids.clone(), Task::Write(write(30)), usize::MAX);
    }
    let (answers, _) = asked.finish();
    for (i, (got, want)) in answers.into_iter().zip(expected.iter().chain(&expected)).enumerate() {
        assert!(Answer { started: None, ..got } == *want && want.tokens.len() == 30, "request {i}");
    }
}

#[test]
fn log_probabilities_are_those_of_the_forward_pass() {
    let model = model(3);
    let ids = prompt(1, 100);
    let task = Task::Write(Writing { prompt_logprobs: Some(3), ..write(4) });
    let answer = alone(std::slice::from_ref(&model), 0, &ids, &task);
    let text: Vec<u32> = ids.iter().copied().chain(answer.tokens.iter().map(|token| token.id)).collect();
    let span = Span { q: 0, q_len: text.len(), k: 0, k_len: text.len() };
    let states = model.extend(&text, &[span], &model.caches(text.len()).unwrap(), Mode::Eval).unwrap();
    let logits = model.head.logits(&states).unwrap().to_dtype(DType::F64).unwrap().to_vec2::<f64>().unwrap();
    let told: Vec<Scored> = answer.prompt.unwrap().into_iter().chain(answer.tokens).collect();
    assert_eq!(told.len(), text.len() - 1);
    for (i, (told, row)) in told.iter().zip(&logits).enumerate() {
        let sum = row.iter().map(|x| x.exp()).sum::<f64>().ln();
        let near = |id: u32, got: f32| (row[id as usize] - sum - f64::from(got)).abs() < 1e-5;
        assert!(told.id == text[i + 1] && near(told.id, told.logprob), "token {i}: {told:?}");
        let best = (0..300_u32).max_by(|a, b| row[*a as usize].total_cmp(&row[*b as usize])).unwrap();
        let n = if i < 99 { 3 } else { 2 };
        assert!(told.top.len() == n && told.top[0].0 == best && told.top.iter().all(|(id, p)| near(*id, *p)));
        // A token is its own equal wherever it stands.
        assert!(told.top.iter().all(|(id, p)| *id != told.id || p.to_bits() == told.logprob.to_bits()));
    }
}

#[test]
fn log_probabilities_from_a_token_on_are_those_of_all() {
    let models = [model(3)];
    let score = |scored_from| Task::Write(Writing { prompt_logprobs: Some(1), scored_from, ..write(0) });
    let ids = prompt(1, 100);
    let all = alone(&models, 0, &ids, &score(0)).prompt.unwrap();
    let mut asked = Asked::new(models.to_vec(), 4 * POSITIONS, 1);
    // Each takes what is there of the ones before.
    let starts = [99, 90, 1, 17, 16, 100, 64];
    for from in starts {
        asked.submit(0, ids.clone(), score(from), usize::MAX);
    }
    let (answers, counts) = asked.finish();
    for (from, answer) in starts.into_iter().zip(answers) {
        assert_eq!(answer.prompt.unwrap(), all[from - 1..], "from {from}");
    }
    // 80, none for one that wants all, 16, none of less than a block, 96 and 48.
    assert_eq!(counts.kept, 240, "{counts:?}");
}

#[test]
fn a_text_ends_by_a_token_by_its_length_or_because_nobody_wants_more() {
    let models = [model(4)];
    let ids = prompt(2, 20);
    let all = alone(&models, 0, &ids, &Task::Write(write(30)));
    assert_eq!((all.tokens.len(), all.finish), (30, Some(Finish::Length)));
    let stop = all.tokens[10].id;
    let first = all.tokens.iter().position(|token| token.id == stop).unwrap();
    let ended = alone(&models, 0, &ids, &Task::Write(Writing { stop: vec![stop], ..write(30) }));
    assert_eq!((&ended.tokens[..], ended.finish), (&all.tokens[..first], Some(Finish::Stop)));
    assert_eq!(ended.ended.as_ref(), Some(&all.tokens[first]));
    let mut asked = Asked::new(models.to_vec(), POSITIONS, 4);
    asked.submit(0, ids.clone(), Task::Write(write(200)), 3);
    let (answers, counts) = asked.finish();
    assert_eq!((&answers[0].tokens[..], answers[0].finish, counts.rows), (&all.tokens[..3], None, 0));
    assert!(counts.written < 8, "{counts:?}");
    // Where positions end, so does the text; one token more can be told than can be looked at.
    let long = prompt(3, POSITIONS - 2);
    let answer = alone(&models, 0, &long, &Task::Write(write(50)));
    assert_eq!((answer.tokens.len(), answer.finish), (3, Some(Finish::Length)));
    let scored =
        |len| alone(&models, 0, &prompt(3, len), &Task::Write(Writing { prompt_logprobs: Some(1), ..write(1) }));
    let (last, beyond) = (scored(POSITIONS), scored(POSITIONS + 1));
    assert_eq!((last.tokens.len(), beyond.tokens.len()), (1, 0));
    assert_eq!((last.prompt.unwrap().len(), beyond.prompt.unwrap().len()), (POSITIONS - 1, POSITIONS));
    let none = alone(&models, 0, &ids, &Task::Write(Writing { prompt_logprobs: Some(0), ..write(0) }));
    assert_eq!((none.tokens.len(), none.prompt.map(|p| p.len()), none.finish), (0, Some(19), Some(Finish::Length)));
}

#[test]
fn vectors_are_means_or_the_last_of_hidden_states() {
    let model = model(5);
    for len in [1, 5, 70, 400] {
        let ids = prompt(4, len);
        let span = Span { q: 0, q_len: len, k: 0, k_len: len };
        let states = model.extend(&ids, &[span], &model.caches(len).unwrap(), Mode::Eval).unwrap();
        let normed = model.head.norm.forward(&states).unwrap();
        for (pooling, want) in [
            (Pooling::Mean, normed.mean(0).unwrap()),
            (Pooling::Last, normed.narrow(0, len - 1, 1).unwrap().squeeze(0).unwrap()),
        ] {
            let got = alone(std::slice::from_ref(&model), 0, &ids, &Task::Embed(pooling)).vector.unwrap();
            let want = want.to_vec1::<f32>().unwrap();
            assert!(got.len() == 64 && got.iter().zip(&want).all(|(a, b)| (a - b).abs() < 1e-5), "{len} {pooling:?}");
        }
    }
}

#[test]
fn what_cannot_be_answered_is_refused() {
    let models = [model(6)];
    let mut told = BTreeMap::new();
    for (name, ids, rows) in [
        ("empty", vec![], 512),
        ("outside", vec![1, 300], 512),
        ("positions", prompt(1, POSITIONS + 1), 512),
        ("room", prompt(1, 100), 99),
        ("grows", prompt(1, 90), 99),
    ] {
        let mut asked = Asked::new(models.to_vec(), rows, 2);
        asked.submit(0, ids, Task::Write(write(40)), usize::MAX);
        let answer = asked.finish().0.remove(0);
        told.insert(name, answer.failed.unwrap_or_else(|| format!("{} {:?}", answer.tokens.len(), answer.finish)));
    }
    assert_eq!(told["empty"], "the prompt has no tokens");
    assert_eq!(told["outside"], "token 300 is outside the model's vocabulary of 300");
    assert_eq!(told["positions"], "the prompt has 513 tokens, and the model has 512 positions");
    assert_eq!(told["room"], "the prompt has 100 tokens, and the KV cache has room for 99");
    // What was written stays: the last token needs no row.
    assert_eq!(told["grows"], "10 Some(Length)");
}

#[test]
fn products_of_many_rows_give_each_the_same_result() {
    // What pieces of prompts rest on.
    let model = model(7);
    let ids = prompt(5, 200);
    let states = |from: usize| {
        let caches = model.caches(200).unwrap();
        let spans = |to: Vec<std::ops::Range<usize>>| {
            let mut last = None;
            for piece in to {
                let spans: Vec<Span> = pieces::blocks(&piece, 0, 0).collect();
                last = Some(model.extend(&ids[piece], &spans, &caches, Mode::Eval).unwrap());
            }
            last.unwrap().to_vec2::<f32>().unwrap()
        };
        let pieces = [0..from, from..200];
        spans(pieces.into_iter().filter(|piece| !piece.is_empty()).collect())
    };
    let whole = states(0);
    for from in [BLOCK, 64, 112, 128, 176] {
        let part = states(from);
        assert!(part[..] == whole[from..], "from {from}");
    }
}

#[test]
fn a_long_text_is_not_kept_waiting_by_short_ones_that_keep_coming() {
    let mut asked = Asked::new(vec![model(8)], 240, 6);
    asked.submit(0, prompt(1, 20), Task::Write(write(200)), usize::MAX);
    let mut steps = 0;
    let finished = |asked: &Asked| asked.told[0].try_iter().any(|event| matches!(event, Event::Finished(_)));
    while !finished(&asked) {
        if asked.engine.counts().waiting < 4 {
            asked.submit(0, prompt(steps, 40), Task::Write(write(20)), usize::MAX);
        }
        asked.engine.step().unwrap();
        steps += 1;
        assert!(steps < 2000, "{:?}", asked.engine.counts());
    }
    // The short ones were answered beside it.
    assert!(asked.engine.counts().written > 300, "{:?}", asked.engine.counts());
}

#[test]
fn scores_that_were_kept_are_as_many_as_are_asked_for() {
    let models = [model(9)];
    let ids = prompt(2, 60);
    let task = |n| Task::Write(Writing { prompt_logprobs: Some(n), ..write(1) });
    let mut asked = Asked::new(models.to_vec(), POSITIONS, 1);
    for n in [3, 1] {
        asked.submit(0, ids.clone(), task(n), usize::MAX);
    }
    let (answers, counts) = asked.finish();
    assert!(counts.kept > 0);
    assert_eq!(answers[1].prompt, alone(&models, 0, &ids, &task(1)).prompt);
}

#[test]
fn a_prompt_that_several_begin_with_is_read_once() {
    let models = [model(10), model(11)];
    let ids = prompt(3, 200);
    let task = |seed, prompt_logprobs| {
        let sampling = Sampling { temperature: 1.0, seed, ..Sampling::default() };
        Task::Write(Writing { sampling, prompt_logprobs, scored_from: 150, ..write(6) })
    };
    let mut requests: Vec<(usize, Vec<u32>, Task)> = (0..6).map(|seed| (0, ids.clone(), task(seed, None))).collect();
    // Another end, another model, and one whose log-probabilities are told from the middle on.
    requests.push((0, [&ids[..100], &prompt(4, 60)].concat(), task(7, None)));
    requests.push((1, ids.clone(), task(8, None)));
    requests.push((0, ids.clone(), task(9, Some(1))));
    let mut asked = Asked::new(models.to_vec(), 4096, 16);
    for (model, ids, task) in &requests {
        asked.submit(*model, ids.clone(), task.clone(), usize::MAX);
    }
    let (answers, counts) = asked.finish();
    for ((model, ids, task), answer) in requests.iter().zip(&answers) {
        assert!(Answer { started: None, ..answer.clone() } == alone(&models, *model, ids, task), "{task:?}");
    }
    let started: Vec<Option<usize>> = answers.iter().map(|answer| answer.started).collect();
    let taken = [0, 192, 192, 192, 192, 192, 96, 0, 144];
    assert_eq!(started, taken.map(Some));
    assert_eq!((counts.kept, counts.read), (taken.iter().sum::<usize>() as u64, 200 + 5 * 8 + 64 + 200 + 56));
}

#[test]
fn who_waits_for_a_text_that_goes_reads_on() {
    let models = [model(12)];
    let ids = prompt(5, 505);
    let want = alone(&models, 0, &ids, &Task::Write(write(5)));
    let mut asked = Asked::new(models.to_vec(), 4096, 8);
    // Nobody wants the first one's answer by the time that it begins, nor the second one's after a token.
    let gone = Box::new(|_: Event| false);
    asked.engine.submit(Request { model: 0, prompt: ids.clone(), task: Task::Write(write(5)), answer: gone });
    for wanted in [1, 9, 9] {
        asked.submit(0, ids.clone(), Task::Write(write(5)), wanted);
    }
    let (answers, counts) = asked.finish();
    assert_eq!(answers[0].tokens[..], want.tokens[..1]);
    for answer in &answers[1..] {
        assert!(Answer { started: None, ..answer.clone() } == want);
    }
    assert!(counts.kept == 2 * 496 && counts.rows == 0, "{counts:?}");
}
