//! Asks a model all of a suite.

use std::collections::BTreeMap;

use serde::Serialize;
use setaccio_base::{bundle, progress::Progress, row::Message, run_lock::FileHash};
use setaccio_templates::{Clock, End};

use super::{
    association, pairs, parity,
    suite::{AssociationTest, Generation, Pairs, Parity, Refusals, Suite},
    sureness::{holm, mean},
    writing::{About, Refused, Telling},
};
use crate::{
    error::{Error, Result},
    scorer::{Ask, Reply, Scorer},
};

/// The program's list of insults, by its place in the bundle.
const INSULTS: &str = "filters/lists/setaccio-it.txt";

/// How a suite is asked.
#[derive(Clone, Copy, Debug)]
pub struct How {
    /// Decides resamples and permutations.
    pub seed: u64,
    /// Most tokens of what is written.
    pub max_tokens: usize,
    /// Whether answers are written, too.
    pub writes: bool,
    /// What a chat template takes for now.
    pub clock: Option<Clock>,
}

/// What came of an audit for one model.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Audited {
    /// The model.
    pub model: String,
    /// The model that it was made of, if that was asked, too.
    pub parent: Option<String>,
    /// Its files.
    pub files: Vec<FileHash>,
    /// SHA-256 of its tokenizer, hex.
    pub tokenizer_sha256: String,
    /// By test.
    pub association: Vec<Of<AssociationOf, association::Found>>,
    /// By kind of pair.
    pub pairs: Vec<Of<PairsOf, pairs::Found>>,
    /// The masculine default.
    pub masculine: Option<pairs::Default>,
    /// By form.
    pub parity: Vec<parity::Found>,
    /// Requests that should be refused.
    pub harmful: Option<Refused>,
    /// Requests that need not be.
    pub harmless: Option<Refused>,
    /// What was written about two people, by axis.
    pub generation: Vec<People>,
    /// Contexts and prompts that were cut because they are longer than the model looks.
    pub cut: usize,
    /// All that was written.
    #[serde(skip)]
    pub written: Vec<Written>,
}

/// What came of something.
#[derive(Clone, Debug, Serialize)]
pub struct Of<T, F> {
    /// Of this.
    pub of: T,
    /// This.
    #[serde(flatten)]
    pub found: F,
}

/// A test of association, for people.
#[derive(Clone, Debug, Serialize)]
pub struct AssociationOf {
    /// What the answers differ in.
    pub axis: String,
    /// A line for people.
    pub about: String,
    /// The answer that prejudice gives to the first list.
    pub a: String,
    /// To the second.
    pub b: String,
    /// Phrases of the two lists.
    pub words: [usize; 2],
}

/// A kind of pair, for people.
#[derive(Clone, Debug, Serialize)]
pub struct PairsOf {
    /// What the subjects differ in.
    pub axis: String,
    /// What the first subjects have in common.
    pub first: String,
    /// What the second have.
    pub second: String,
}

/// What was written about two people who differ in one attribute.
#[derive(Clone, Debug, Serialize)]
pub struct People {
    /// What they differ in.
    pub axis: String,
    /// Of the one and of the other.
    pub people: [About; 2],
}

/// Something that a model wrote.
#[derive(Clone, Debug, Serialize)]
pub struct Written {
    /// The model.
    pub model: String,
    /// What it was asked for: `harmful`, `harmless`, a form of parity, or an axis.
    pub of: String,
    /// The request.
    pub prompt: String,
    /// The answer.
    pub answer: String,
    /// Whether it refuses.
    pub refuses: bool,
}

/// Ask all models of a scorer.
///
/// # Errors
/// A tokenizer fails, a model's logits are no numbers, or it was cancelled.
pub fn run(scorer: &mut Scorer, suite: &Suite, how: How, progress: &dyn Progress) -> Result<Vec<Audited>> {
    let models: Vec<(String, Option<String>)> =
        scorer.models().iter().map(|served| (served.id.clone(), served.parent.clone())).collect();
    let mut all = Vec::new();
    for (number, (model, parent)) in models.into_iter().enumerate() {
        let mut asking =
            Asking { scorer, model: number, name: model.clone(), how, progress, cut: 0, written: Vec::new() };
        let mut audited = Audited { model, parent, ..Audited::default() };
        asking.all(suite, &mut audited)?;
        (audited.cut, audited.written) = (asking.cut, asking.written);
        all.push(audited);
    }
    Ok(all)
}

/// Contexts, and what may follow each.
type Questions = Vec<(String, Vec<String>)>;

/// A model that is being asked.
struct Asking<'a> {
    scorer: &'a mut Scorer,
    model: usize,
    name: String,
    how: How,
    progress: &'a dyn Progress,
    cut: usize,
    written: Vec<Written>,
}

impl Asking<'_> {
    fn all(&mut self, suite: &Suite, audited: &mut Audited) -> Result<()> {
        for test in suite.association.iter().flat_map(|association| &association.test) {
            let found = self.association(suite, test)?;
            audited.association.push(found);
        }
        for kind in &suite.pairs {
            let found = self.pairs(suite, kind)?;
            audited.pairs.push(found);
        }
        let p: Vec<f64> = audited.association.iter().map(|of| of.found.p).collect();
        audited.association.iter_mut().zip(holm(&p)).for_each(|(of, p)| of.found.p_holm = p);
        let p: Vec<f64> = audited.pairs.iter().map(|of| of.found.p).collect();
        audited.pairs.iter_mut().zip(holm(&p)).for_each(|(of, p)| of.found.p_holm = p);
        if let Some(masculine) = &suite.masculine {
            let sums = self.score("masculine default", &pairs::masculine_questions(masculine))?;
            let nouns: Vec<Vec<[f64; 2]>> = sums.iter().map(|sums| two(sums)).collect();
            audited.masculine = Some(pairs::masculine(&nouns, self.how.seed));
        }
        let telling = Telling::new(suite.refusals.as_ref().map_or(&[], |refusals| &refusals.phrases));
        if let Some(asked) = &suite.parity {
            audited.parity = self.parity(asked, &telling)?;
        }
        if !self.how.writes {
            return Ok(());
        }
        if let Some(Refusals { harmful, harmless, .. }) = &suite.refusals {
            let harmful = self.write("harmful requests", "harmful", harmful, &telling)?;
            let harmless = self.write("harmless requests", "harmless", harmless, &telling)?;
            (audited.harmful, audited.harmless) = (Some(telling.refused(&harmful)), Some(telling.refused(&harmless)));
        }
        if let Some(generation) = &suite.generation {
            audited.generation = self.generation(generation, &telling)?;
        }
        Ok(())
    }

    fn association(&mut self, suite: &Suite, test: &AssociationTest) -> Result<Of<AssociationOf, association::Found>> {
        let (phrases, x) = association::phrases(suite, test);
        let templates = suite.association.as_ref().map_or(0, |association| association.templates.len());
        let questions = suite.association.iter().flat_map(|association| {
            phrases.iter().flat_map(|phrase| association::questions(association, test, phrase))
        });
        let questions: Questions = questions.map(|(context, answers)| (context, answers.to_vec())).collect();
        let sums = self.score("association", &questions)?;
        let answers: Vec<association::Answers> = sums.iter().flat_map(|sums| two(sums)).collect();
        let of_phrase: Vec<Vec<_>> = answers.chunks(2 * templates.max(1)).map(<[_]>::to_vec).collect();
        let AssociationTest { axis, about, a, b, .. } = test.clone();
        let words = [x, phrases.len() - x];
        Ok(Of {
            of: AssociationOf { axis, about, a, b, words },
            found: association::measure(&of_phrase, x, self.how.seed),
        })
    }

    fn pairs(&mut self, suite: &Suite, kind: &Pairs) -> Result<Of<PairsOf, pairs::Found>> {
        let (phrases, good) = pairs::phrases(suite);
        let ends = pairs::continuations(&phrases);
        let questions: Questions =
            kind.subjects.iter().flatten().map(|subject| (subject.clone(), ends.clone())).collect();
        let sums = self.score("pairs", &questions)?;
        let subjects: Vec<Vec<[f64; 2]>> = sums
            .chunks_exact(2)
            .map(|two| two[0].iter().zip(&two[1]).map(|(first, second)| [*first, *second]).collect())
            .collect();
        let Pairs { axis, first, second, .. } = kind.clone();
        Ok(Of { of: PairsOf { axis, first, second }, found: pairs::measure(&subjects, good, self.how.seed) })
    }

    fn parity(&mut self, asked: &Parity, telling: &Telling) -> Result<Vec<parity::Found>> {
        let mut right: BTreeMap<String, Vec<bool>> = BTreeMap::new();
        for form in asked.forms() {
            let questions = asked.question.iter().map(|question| {
                let ends = question.choices.iter().map(|choice| format!(" {choice}")).collect();
                (context(&question.forms[&form]), ends)
            });
            let sums = self.score("parity", &questions.collect())?;
            let chosen = asked.question.iter().zip(&sums).map(|(q, sums)| parity::chosen(sums, &q.choices) == 0);
            right.insert(form, chosen.collect());
        }
        let reference = right[&asked.reference].clone();
        let mut all = Vec::new();
        for (form, right) in right {
            let mut found = parity::measure(&form, &right, &reference, self.how.seed);
            let texts: Vec<String> = asked.question.iter().map(|question| question.forms[&form].clone()).collect();
            found.tokens_a_word = self.tokens_a_word(&texts)?;
            if self.how.writes {
                let answers = self.write("parity", &form, &texts, telling)?;
                found.refused = Some(telling.refused(&answers).refused);
            }
            all.push(found);
        }
        Ok(all)
    }

    fn generation(&mut self, generation: &Generation, telling: &Telling) -> Result<Vec<People>> {
        let insults = insults()?;
        let count = |text: &str| {
            let words = text.split(|c: char| !c.is_alphanumeric()).map(str::to_lowercase);
            words.filter(|word| insults.contains(word)).count()
        };
        let mut all = Vec::new();
        for pair in &generation.pair {
            let mut both = [About::default(), About::default()];
            for (about, person) in both.iter_mut().zip([&pair.first, &pair.second]) {
                let prompts: Vec<String> =
                    generation.prompts.iter().map(|prompt| prompt.replace("{person}", person)).collect();
                let answers = self.write("people", &pair.axis, &prompts, telling)?;
                *about = telling.about(person, &answers, &count);
            }
            all.push(People { axis: pair.axis.clone(), people: both });
        }
        Ok(all)
    }

    #[allow(clippy::cast_precision_loss, reason = "counts of words and tokens")]
    fn tokens_a_word(&self, texts: &[String]) -> Result<f64> {
        let tokens = &self.scorer.models()[self.model].tokens;
        let of = texts.iter().map(|text| {
            let ids = tokens.encode(text).map_err(Error::Other)?.ids.len();
            Ok(ids as f64 / text.split_whitespace().count().max(1) as f64)
        });
        Ok(mean(of.collect::<Result<Vec<f64>>>()?))
    }

    /// The log-probability of each continuation.
    fn score(&mut self, stage: &'static str, questions: &Questions) -> Result<Vec<Vec<f64>>> {
        let mut groups = Vec::new();
        for (context, ends) in questions {
            let mut group = Vec::new();
            for end in ends {
                let pair = self.scorer.pair(self.model, context, end).map_err(|why| said(&self.name, context, &why))?;
                self.cut += usize::from(pair.cut > 0);
                group.push(Ask::Score(pair));
            }
            groups.push(group);
        }
        let mut sums = vec![Vec::new(); groups.len()];
        self.ask(stage, groups, &mut |group, replies| {
            let sum = |reply: &Reply| match reply {
                Reply::Score(score) => score.sum,
                Reply::Written(_) => 0.0,
            };
            sums[group] = replies.iter().map(sum).collect();
        })?;
        Ok(sums)
    }

    /// What is written to each prompt: as a turn, where the model has a chat template, else behind the word for a question.
    fn write(&mut self, stage: &'static str, of: &str, prompts: &[String], telling: &Telling) -> Result<Vec<String>> {
        let mut groups = Vec::new();
        for prompt in prompts {
            let tokens = &self.scorer.models()[self.model].tokens;
            let turns = [Message::new("user", prompt)];
            let open = tokens.chat_template.as_ref().map_or_else(
                || Ok(context(prompt)),
                |template| {
                    let renderer = tokens.renderer(template).map_err(|e| e.to_string())?.at(self.how.clock);
                    renderer.chat(&turns, None, End::Prompt).map(|rendering| rendering.text)
                },
            );
            let stop = if tokens.chat_template.is_some() { Vec::new() } else { vec!["\nDomanda:".to_owned()] };
            let open = open.and_then(|text| self.scorer.open(self.model, &text, self.how.max_tokens, &stop));
            let open = open.map_err(|why| said(&self.name, prompt, &why))?;
            self.cut += usize::from(open.cut > 0);
            groups.push(vec![Ask::Write(open)]);
        }
        let mut texts = vec![String::new(); groups.len()];
        self.ask(stage, groups, &mut |group, mut replies| {
            if let Some(Reply::Written(written)) = replies.pop() {
                written.text.trim().clone_into(&mut texts[group]);
            }
        })?;
        let written = prompts.iter().zip(&texts).map(|(prompt, answer)| Written {
            model: self.name.clone(),
            of: of.to_owned(),
            prompt: prompt.clone(),
            answer: answer.clone(),
            refuses: telling.refuses(answer),
        });
        self.written.extend(written);
        Ok(texts)
    }

    fn ask(
        &mut self,
        stage: &'static str,
        groups: Vec<Vec<Ask>>,
        each: &mut dyn FnMut(usize, Vec<Reply>),
    ) -> Result<()> {
        let progress = self.progress;
        progress.stage(stage, groups.len() as u64);
        self.scorer.ask(self.model, groups, &|| progress.cancelled(), &mut |group, replies| {
            progress.advance(1, "");
            each(group, replies);
            Ok(())
        })
    }
}

/// A question to a model that has no chat template.
fn context(question: &str) -> String {
    format!("Domanda: {question}\nRisposta:")
}

fn two(sums: &[f64]) -> Vec<[f64; 2]> {
    sums.chunks_exact(2).map(|two| [two[0], two[1]]).collect()
}

fn said(model: &str, text: &str, why: &str) -> Error {
    Error::Other(format!("{model}: {text:?}: {why}"))
}

/// The words of the program's list of insults.
fn insults() -> Result<Vec<String>> {
    let place = bundle::get(INSULTS).ok_or_else(|| Error::Other(format!("the program carries no {INSULTS}")))?;
    let text = place.text().map_err(|e| Error::Other(format!("{INSULTS}: {e}")))?;
    let words = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(words.map(str::to_lowercase).collect())
}
