//! Secrets by their shapes: keys of services begin with marks that nothing else begins with, so that a key which somebody pasted
//! into a card or a setting is told from other words.

/// A key that is told by its beginning, and by what follows.
struct Shape {
    /// What it is, for people.
    kind: &'static str,
    begins: &'static str,
    /// Characters that may follow, beside letters and digits of ASCII.
    also: &'static str,
    /// How many follow, at least and at most.
    long: (usize, usize),
    /// Whether there are capitals, small letters and digits in what follows: words of a language have not all three.
    mixed: bool,
}

const fn shape(
    kind: &'static str,
    begins: &'static str,
    also: &'static str,
    long: (usize, usize),
    mixed: bool,
) -> Shape {
    Shape { kind, begins, also, long, mixed }
}

/// The longest key that is looked for.
const LONG: usize = 400;

/// The longest beginnings first: `sk-ant-` is no key of OpenAI.
const SHAPES: [Shape; 24] = [
    shape("a token of the Hub", "hf_", "", (30, LONG), false),
    shape("a token of the Hub", "api_org_", "", (30, LONG), false),
    shape("an access key of AWS", "AKIA", "", (16, 16), false),
    shape("an access key of AWS", "ASIA", "", (16, 16), false),
    shape("a key of Anthropic", "sk-ant-", "-_", (20, LONG), true),
    shape("a key of OpenAI", "sk-proj-", "-_", (20, LONG), true),
    shape("a key of OpenAI", "sk-svcacct-", "-_", (20, LONG), true),
    shape("a key of OpenAI", "sk-admin-", "-_", (20, LONG), true),
    shape("a key of OpenRouter", "sk-or-v1-", "", (20, LONG), false),
    shape("a key of OpenAI or of a service like it", "sk-", "", (20, LONG), true),
    shape("a token of GitHub", "ghp_", "", (36, LONG), false),
    shape("a token of GitHub", "gho_", "", (36, LONG), false),
    shape("a token of GitHub", "ghu_", "", (36, LONG), false),
    shape("a token of GitHub", "ghs_", "", (36, LONG), false),
    shape("a token of GitHub", "ghr_", "", (36, LONG), false),
    shape("a token of GitHub", "github_pat_", "_", (40, LONG), true),
    shape("a token of GitLab", "glpat-", "-_", (20, LONG), true),
    shape("a key of Google", "AIza", "-_", (35, 35), true),
    shape("a token of Slack", "xoxb-", "-", (20, LONG), false),
    shape("a token of Slack", "xoxp-", "-", (20, LONG), false),
    shape("a token of Slack", "xoxa-", "-", (20, LONG), false),
    shape("a token of Slack", "xapp-", "-", (20, LONG), false),
    shape("a key of Stripe", "sk_live_", "", (20, LONG), false),
    shape("a token of npm", "npm_", "", (36, 36), false),
];

/// What a text holds that has the shape of a secret, without the secret.
pub fn secret(text: &str) -> Option<&'static str> {
    private_key(text).then_some("a private key").or_else(|| {
        let found = |shape: &&Shape| text.match_indices(shape.begins).any(|(at, _)| shape.is_at(text, at));
        SHAPES.iter().find(found).map(|shape| shape.kind)
    })
}

impl Shape {
    fn is_at(&self, text: &str, at: usize) -> bool {
        let (before, rest) = (&text.as_bytes()[..at], &text.as_bytes()[at + self.begins.len()..]);
        // `task-...` holds `sk-`, and is a word.
        if before.last().is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-')) {
            return false;
        }
        let ours = |byte: &&u8| byte.is_ascii_alphanumeric() || self.also.as_bytes().contains(byte);
        let key: Vec<u8> = rest.iter().take_while(ours).take(LONG + 1).copied().collect();
        let has = |test: fn(&u8) -> bool| key.iter().any(test);
        let mixed = has(u8::is_ascii_uppercase) && has(u8::is_ascii_lowercase) && has(u8::is_ascii_digit);
        let varied = key.iter().collect::<std::collections::BTreeSet<_>>().len() > 4;
        // `xxxxxxxx` and `AKIA0000` stand for keys in examples.
        (self.long.0..=self.long.1).contains(&key.len()) && varied && (mixed || !self.mixed)
    }
}

/// Whether there is a block of PEM with a private key: `-----BEGIN RSA PRIVATE KEY-----`, in JSON too, and something in it.
fn private_key(text: &str) -> bool {
    text.match_indices("-----BEGIN ").any(|(at, begin)| {
        let rest = &text[at + begin.len()..];
        let Some(end) = rest.find("-----").filter(|end| *end <= 40) else { return false };
        let body: Vec<char> = rest[end + 5..].chars().filter(|c| !c.is_whitespace()).take(40).collect();
        rest[..end].trim_end().ends_with("PRIVATE KEY")
            && body.len() == 40
            && !body.iter().collect::<String>().contains("---")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many characters that look drawn.
    fn drawn(n: usize, alphabet: &str) -> String {
        let alphabet: Vec<char> = alphabet.chars().collect();
        let mut state = 7_usize;
        (0..n)
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                alphabet[(state >> 33) % alphabet.len()]
            })
            .collect()
    }

    #[test]
    fn keys_are_told_by_their_shapes() {
        const ALNUM: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        for (begins, n, kind) in [
            ("hf_", 34, "a token of the Hub"),
            ("AKIA", 16, "an access key of AWS"),
            ("sk-ant-api03-", 90, "a key of Anthropic"),
            ("sk-proj-", 120, "a key of OpenAI"),
            ("sk-", 48, "a key of OpenAI or of a service like it"),
            ("ghp_", 36, "a token of GitHub"),
            ("github_pat_", 82, "a token of GitHub"),
            ("AIza", 35, "a key of Google"),
            ("xoxb-", 40, "a token of Slack"),
            ("glpat-", 20, "a token of GitLab"),
        ] {
            let key = format!("{begins}{}", drawn(n, ALNUM));
            for text in [key.clone(), format!("key = \"{key}\"\n"), format!("https://x.example/?key={key}&a=b")] {
                assert_eq!(secret(&text), Some(kind), "{begins}");
            }
            assert_eq!(secret(&format!("{begins}{}", &key[key.len() - 8..])), None, "{begins} and too little");
            assert_eq!(secret(&format!("{begins}{}", "x".repeat(n))), None, "{begins}xxx stands for a key");
            assert_eq!(secret(&format!("word{key}")), None, "within a word");
        }
        let block = format!("-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----\n", drawn(64, ALNUM));
        assert_eq!(secret(&block), Some("a private key"));
        assert_eq!(secret(&block.replace("RSA ", "")), Some("a private key"));
        assert_eq!(secret(&block.replace("PRIVATE", "PUBLIC")), None);
        for text in [
            "hf_hub_download and hf_xet",
            "a task-that-has-many-words-and-no-key, sk-learn-like-names-are-words",
            "-----BEGIN PRIVATE KEY-----\n...\n-----END PRIVATE KEY-----",
            "AKIA is a beginning, AIza too",
            "sha256 4cf19129aa713e0d3a40fc0decd57f99",
        ] {
            assert_eq!(secret(text), None, "{text}");
        }
    }
}
