//! Answers that are sent as they are written: several texts at once, each a line of server-sent events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::response::{
    IntoResponse, Response,
    sse::{Event, KeepAlive, Sse},
};
use futures_util::stream;
use serde_json::{Value, json};
use tokio::sync::mpsc::{Sender, channel};

use super::{
    choice::{Choice, Piece, Used, usage},
    state::State,
};

/// How often a line is sent where nothing is to be told.
const ALIVE: Duration = Duration::from_secs(15);
/// Lines that may wait for a client.
const LINES: usize = 64;

/// How a route tells what is written.
pub trait Told: Send + 'static {
    /// What comes before a text.
    fn opening(&mut self) -> Vec<Value>;
    /// A piece of it.
    fn piece(&mut self, piece: Piece) -> Vec<Value>;
}

/// The last line of a stream: what was used.
pub struct Ending {
    /// Any line of the stream, whose place it takes.
    pub line: Value,
    /// Tokens of the prompts.
    pub prompt: usize,
    /// Texts of each prompt.
    pub choices: u64,
}

/// Send these texts as they are written; at the end, if it is asked for, what was used. When the client goes away, so do the
/// texts.
pub fn send<T: Told>(state: Arc<State>, choices: Vec<(Choice, T)>, ending: Option<Ending>) -> Response {
    let (lines, received) = channel::<Value>(LINES);
    tokio::spawn(async move {
        let texts =
            choices.into_iter().map(|(choice, told)| tokio::spawn(text(state.clone(), choice, told, lines.clone())));
        let mut used = Vec::new();
        for text in texts.collect::<Vec<_>>() {
            used.extend(text.await);
        }
        if let Some(Ending { mut line, prompt, choices }) = ending {
            line["choices"] = json!([]);
            line["usage"] = usage(prompt, &used, choices);
            drop(lines.send(line).await);
        }
        drop(lines.send(Value::Null).await);
    });
    let events = stream::unfold(received, |mut received| async {
        let line = received.recv().await?;
        let data = if line.is_null() { "[DONE]".to_owned() } else { line.to_string() };
        Some((Ok::<_, Infallible>(Event::default().data(data)), received))
    });
    Sse::new(events).keep_alive(KeepAlive::new().interval(ALIVE)).into_response()
}

async fn text<T: Told>(state: Arc<State>, mut choice: Choice, mut told: T, lines: Sender<Value>) -> Used {
    let mut out = told.opening();
    loop {
        for line in out {
            if lines.send(line).await.is_err() {
                return choice.used;
            }
        }
        // A client that has gone is seen while nothing is written, too.
        let next = tokio::select! {
            next = choice.next(&state) => next,
            () = lines.closed() => return choice.used,
        };
        match next {
            Ok(piece) => {
                let ends = matches!(piece, Piece::End(..));
                out = told.piece(piece);
                if ends {
                    for line in out {
                        drop(lines.send(line).await);
                    }
                    return choice.used;
                }
            }
            Err(error) => {
                drop(lines.send(error.json()).await);
                return choice.used;
            }
        }
    }
}
