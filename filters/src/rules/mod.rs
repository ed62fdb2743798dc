//! One file per rule. CONTRIBUTING.md says how to add one.

pub mod answer;
pub mod bad_words;
pub mod citations;
pub mod classifier;
pub mod clean_mc4_it;
pub mod column;
pub mod fineweb;
pub mod fineweb2_it;
pub mod gopher_quality;
pub mod gopher_repetition;
pub mod language;
pub mod length;
pub mod line_end;
pub mod long_tokens;
pub mod min_words_per_line;
pub mod personal_data;
pub mod phrases;
pub mod preference_sanity;
pub mod redpajama;
pub mod regex;
pub mod repeats;
pub mod roles;
pub mod sentences;
pub mod strip_role_tokens;
