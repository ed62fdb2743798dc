//! Whether a tokenizer and what a GGUF file says of it cut texts alike: a hundred texts, held against each other.

use std::collections::HashMap;

use candle_core::quantized::gguf_file::Value;
use regex::Regex;
use setaccio_base::row::Message;
use setaccio_templates::{Clock, End};

use super::{spm::Spm, tokenizer::from_metadata};
use crate::{
    error::{Error, Result},
    tokenizer::{Tokens, pieces::Pieces},
};

/// Texts at least.
const TEXTS: usize = 100;
/// Special tokens that are tried between others.
const SPECIAL: usize = 12;

/// Scripts, numbers, code, forms of characters: what cutters differ in.
const PLAIN: [&str; 24] = [
    "Nel mezzo del cammin di nostra vita mi ritrovai per una selva oscura.",
    "Perché il cielo è blu? L'ho già chiesto, dov'è la risposta?",
    "The answer is 42: it's what they've said, isn't it? I'M SURE.",
    "{\"x\": [1, 2.50, -3e10], \"y\": null}",
    "def f(x):\n    return x ** 2  # squared\n\n\nprint(f(3))",
    "1234567890 12 345 6.789,00 10^9",
    " uno",
    "uno ",
    "  due spazi  e  tre   e quattro    ",
    "\tuna riga\r\n\r\n  e un'altra\n",
    "perche\u{301} e\u{301} cosi\u{300}",
    "Größe, naïve, œuvre, Åse, señor, ĳ, ﬁn",
    "Привет, мир! Как дела?",
    "今天天气很好。東京に行きます。",
    "안녕하세요 세계",
    "مرحبا بالعالم ١٢٣",
    "नमस्ते दुनिया",
    "😀👩‍👩‍👧‍👦🇮🇹 ✅ →",
    "a\u{a0}b\u{200b}c\u{feff}",
    "https://example.org/a?b=c&d=%20#e",
    "!!! ??? ... --- *** ((( ]]]",
    "<html><b>grassetto</b> &amp; </html>",
    "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "x",
];

/// Which texts llama.cpp cuts as a tokenizer does. A SentencePiece tokenizer may put a space before a text that begins with no
/// special token, and nowhere else; GGUF has it before every part between special tokens, or nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Alike {
    /// Every text.
    All,
    /// Those that have no space at their beginning or behind a special token: transformers puts none before one.
    NoSpaceFirst,
    /// Those that begin with a special token, as conversations do: there is no space.
    BehindAToken,
    /// Those without special tokens: there is one.
    WithoutTokens,
    /// Those without combining marks, and whose words change from capitals to small letters or back in ASCII alone: GPT-4o's.
    WithoutMarks,
}

/// What cuts texts as llama.cpp does.
enum Cutter {
    Spm(Spm),
    Read(Box<Tokens>),
}

/// Hold `tokens` against what the keys of a GGUF file say of it; `more` are further texts to try, and `alike` says which should
/// be. Gives how many texts were cut alike.
///
/// # Errors
/// One is cut otherwise; the message shows it.
pub(crate) fn check(tokens: &Tokens, keys: &HashMap<String, Value>, more: &[String], alike: Alike) -> Result<usize> {
    let encoded = |tokens: &Tokens, text: &str| Ok::<_, Error>(tokens.encode(text).map_err(Error::Other)?.ids);
    let cutter = match Spm::new(keys) {
        Some(spm) => Cutter::Spm(spm),
        _ => Cutter::Read(Box::new(as_llama_cpp(keys, tokens)?)),
    };
    let texts = texts(tokens, more, alike);
    for text in &texts {
        let want = encoded(tokens, text)?;
        let found = match &cutter {
            Cutter::Spm(spm) => spm.ids(text),
            Cutter::Read(read) => encoded(read, text)?,
        };
        if let Some(at) = (0..want.len().max(found.len())).find(|i| want.get(*i) != found.get(*i)) {
            let from = |ids: &[u32]| format!("{:?}", ids.iter().skip(at).take(4).collect::<Vec<_>>());
            let why = format!(
                "its tokenizer cuts {text:?} into {} from token {at} on, and llama.cpp would cut it into {}: there the model \
                 would read other tokens than it was trained with",
                from(&want),
                from(&found)
            );
            return Err(Error::model(&tokens.source, why));
        }
    }
    Ok(texts.len())
}

/// The tokenizer of a file's keys, which cuts texts by llama.cpp's pattern.
fn as_llama_cpp(keys: &HashMap<String, Value>, tokens: &Tokens) -> Result<Tokens> {
    let mut read = from_metadata(keys, &tokens.source)?;
    let named = keys.get("tokenizer.ggml.pre").and_then(|value| value.to_string().ok());
    if let Some(pieces) = named.and_then(|name| Pieces::find(name)) {
        let cuts = pieces.build_as_llama_cpp().map_err(|e| Error::model(&tokens.source, e.to_string()))?;
        read.tokenizer.with_pre_tokenizer(Some(cuts));
    }
    Ok(read)
}

/// Whether a text has combining marks, which are no letters to llama.cpp.
fn marked(text: &str) -> bool {
    Regex::new(r"\p{M}").is_ok_and(|marks| marks.is_match(text))
}

/// Plain texts, runs of spaces, special tokens between others, and a conversation.
fn texts(tokens: &Tokens, more: &[String], alike: Alike) -> Vec<String> {
    let plain: Vec<&str> = PLAIN.into_iter().filter(|text| alike != Alike::WithoutMarks || !marked(text)).collect();
    let mut texts: Vec<String> = plain.iter().map(|text| (*text).to_owned()).chain(more.iter().cloned()).collect();
    texts.extend((1..=40).map(|n| format!("a{}b", " ".repeat(n))));
    let mut special: Vec<(u32, String)> = tokens
        .tokenizer
        .get_added_vocabulary()
        .get_added_tokens_decoder()
        .iter()
        .map(|(id, token)| (*id, token.content.clone()))
        .collect();
    special.sort();
    // Those that every conversation has come first.
    special.sort_by_key(|(id, _)| !tokens.eos_ids.contains(id));
    let some = if alike == Alike::WithoutTokens { 0 } else { SPECIAL };
    for (_, token) in special.iter().take(some) {
        texts.push(format!("{token}uno{token} due {token}"));
        texts.push(format!("uno {token}\n\n{token}\ndue"));
        texts.push(format!("{token}  {token}1{token}{token}"));
    }
    texts.extend(conversation(tokens).filter(|_| alike != Alike::WithoutTokens));
    if matches!(alike, Alike::NoSpaceFirst | Alike::WithoutTokens) {
        let spaced = |text: &String| special.iter().any(|(_, token)| text.contains(&format!("{token} ")));
        texts.retain(|text| !text.starts_with(' ') && !spaced(text));
    }
    let few = TEXTS.saturating_sub(texts.len());
    texts.extend((0..few).map(|i| format!("{}{}", plain[i % 6], plain[(i * 5 + 1) % plain.len()])));
    if let (Alike::BehindAToken, Some((_, token))) = (alike, special.first()) {
        for text in &mut texts {
            text.insert_str(0, token);
        }
    }
    texts
}

/// What the chat template makes of a conversation, if it renders this one.
pub(crate) fn conversation(tokens: &Tokens) -> Option<String> {
    let renderer = tokens.renderer(tokens.chat_template.as_ref()?).ok()?;
    let turns =
        [Message::new("user", "Quanto fa 2 + 2?"), Message::new("assistant", "Fa 4."), Message::new("user", "E poi?")];
    Some(renderer.at(Some(Clock::unix(0))).chat(&turns, None, End::Prompt).ok()?.text)
}
