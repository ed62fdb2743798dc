//! Function words: articles, prepositions, pronouns, conjunctions and the forms of "to be" and "to have". A third of
//! running text is made of a few dozen of them, and a language's own hardly stand in another, so they tell a text of
//! some length at a small part of what comparing its trigrams costs, and they tell apart what trigrams cannot: a text
//! of a language that whatlang does not know is near some language that it knows, but lacks the words of that one.

use std::sync::LazyLock;

/// The words of each language, with those that an apostrophe cuts short. A language is here because it is one of
/// [`SURE`], or near to one: a word counts for a language as long as it stands in no other list.
const WORDS: [(&str, &str); 14] = [
    (
        "ca",
        "a al als amb aquest aquesta com d de del dels des el ella els en entre era estan està fins ha han hi \
         i ja l la les li llur molt més n ni no o on per perquè però pot que qui què s sense ser seu seva si \
         sobre són també tot tots té un una va van és",
    ),
    (
        "de",
        "aber als am an auch auf aus bei bin bis das dass dem den der des die du durch ein eine einem einen \
         einer es für haben hat ich ihr im in ist ja kann man mehr mich mit nach nicht noch nur oder sehr \
         sein sich sie sind so um und uns unter von vor war was wenn werden wie wir wird zu zum zur über",
    ),
    (
        "en",
        "a about after again against all almost although always also am among an and another any anyone anything are \
         around as at be because been before being between both but by can could did do does down during each enough \
         ever every everything few for from had has have he her here herself him himself his how i if in into is it its \
         itself just let like many may me might more most much must my myself never no not nothing now of off often on \
         one only or other our out over own perhaps quite rather really s same she should since so some something still \
         such t than that the their them themselves then there these they this those though through to together too \
         under until up upon us very was we were what when where whether which while who whose why will with within \
         without would yes yet you your yourself",
    ),
    (
        "eo",
        "al ankaŭ aŭ da de do dum el en estas esti estis ili inter ja jam kaj ke kial kiam kie kiel kiu kiuj \
         kun la laŭ li mi ne nun oni per plej pli por post pri se sed sen si sia sur tamen tio tiu tiuj tre \
         unu vi ĉi ĉu ĝi ŝi",
    ),
    (
        "es",
        "a al algo ante antes aquí así aunque cada como con cual cuando cuál cómo de del desde donde dos e el \
         ella ellos en entre era es esa ese eso esta estas este esto estos está están fue ha había han hasta \
         hay la las le les lo los me mi mis muy más ni no nos o otra otro para pero por porque puede que \
         quien qué se sea ser si sin sobre solo son su sus sí también te tiene todo todos tu un una unos y ya \
         yo él",
    ),
    (
        "fr",
        "au aussi aux avec c ce ces cette comme d dans de des du elle elles en entre est et eu il ils j je l \
         la le les leur leurs lui m ma mais me mes mon même n ne nous on ont ou où par pas plus pour qu que \
         quel quelle qui s sa sans se ses si son sont sur t ta te tous tout très tu un une vous y à être",
    ),
    (
        "it",
        "a ad agli ai al all alla alle allo altra altre altri altro anche ancora c che chi ci ciò col come \
         con contro cosa così cui d da dagli dai dal dall dalla dalle degli dei del dell della delle dello di \
         dopo dove dunque e ecco ed era erano essere fino fra gli ha hai hanno ho i il in infatti io l la le \
         lei lo loro lui ma mentre mi mia mio molto ne negli nei nel nell nella nelle noi non o ogni oltre \
         per perché però più poi prima può qual quale quali quando quell quella quello quest questa queste \
         questi questo qui quindi se sei sempre senza si sia solo sono sotto sta stata stato stessa stesso su \
         sua sue sugli sui sul sull sulla suo suoi tra tu tutti tutto un una uno v verso vi è",
    ),
    (
        "la",
        "ab ac ad atque aut autem cum de ego eius enim erat esse est et etiam ex haec hic hoc iam id ille in \
         inter ipse ita me nam ne nec neque nihil non nos nunc ob per post pro quae quam quem qui quia quid \
         quidem quod quoque sed si sibi sic sine sub sunt te tu ubi ut vel",
    ),
    (
        "nb",
        "alle at av ble blei blev blir da de deg dei dem den der det du efter eg ein eit eller en er et etter \
         for fra frå før ha han har hun hva hvad hvor i ikke ikkje ja jeg kan man med meg men mig min mot noe \
         nå når og også om op opp over på seg sig sin skal som så til ud under ut var ved vi vil være",
    ),
    (
        "nl",
        "aan al als bij dan dat de den der die dit door een en er ge geen had heb heeft het hij hoe ik in is \
         je kan maar me meer met mijn na naar niet nog nu of om onder ons ook op over te tot uit van veel \
         voor want waren was wat we wel werd wie wij worden wordt ze zich zij zijn zo zou",
    ),
    (
        "pl",
        "ale bez być był była było co czy dla do go i ich ja jak jako je jego jej jest jestem już każdy kiedy \
         która które który ma mi mnie może na nie niż o od oraz po pod przed przez przy się są ta tak także \
         tego tej ten to tu tych tylko tym w we więc wszystko z za ze że",
    ),
    (
        "pt",
        "ao aos as até com como da das de dela dele do dos e ela ele eles em entre era essa esse esta este \
         está eu foi há isso já lhe mais mas me mesmo meu minha muito na nas nem no nos não nós o os ou para \
         pela pelo por porque qual quando que quem se sem ser seu sua são também te tem ter um uma você à é",
    ),
    (
        "ro",
        "a aceasta acest acesta ai al ale am ar are au avea ca care ce cea cel cele cu cum când cât că da dar \
         de despre din dintre după ea ei el era este eu fi fie fost iar la le lui mai mult ne nu o pe pentru \
         prin sa sau se si sunt să său un unei unui îi îl în şi și",
    ),
    (
        "sv",
        "alla att av bara blev bli de den denna det detta dig din du där efter eller en er ett från för ha \
         hade han har hon hur här i icke inte jag kan man med men mig mot mycket när något och om oss på sig \
         sin skulle som så till under upp ut utan vad var vi vid vill är över",
    ),
];

/// Words of languages that whatlang does not know, and takes for one that it knows: short ones too, of which a text of theirs has
/// more than any text of another language.
const FAR: [(&str, &str); 9] = [
    (
        "eu",
        "artean arte arabera bai baina baino bat batean bere bezala beste bi da dago den dira ditu du dute dela edo \
         egin egiten egun ere eta ez gabe guztiak hala hau hainbat handia hori honek horrek horiek izan izango nahi \
         nola non ondoren orain oso zen ziren zituen zuen zuten zer",
    ),
    (
        "ga",
        "ach ag agus air amach an ann ar as ba bhí chun dá de den do don é eile faoi féidir gan go gur í iad ina is leis le \
         mar mór na nach ní nó nua ó ón raibh sa san sé seo sí siad sin tá tar trí um",
    ),
    (
        "mi",
        "ahau ai ake anō ao ar atu e engari he hei hoki i ia ka katoa kei ki kia ko koe kua mai me mea mō nei ngā nga nui nō o \
         rā rātou ratou roto tana tā tau te tēnei tenei tēnā tētahi tō tōna tonu tū wā whai",
    ),
    (
        "so",
        "aad ah ahaa ahaan ahayd ama aan ayaa ayay badan buu dad dadka dib ee af ilaa in inuu isku iyo ka kale kala ku la \
         laakiin laga leh lagu loo loogu ma mid markii marka oo qaar sida sidii soo ugu u waa waxa waxaa waxaana waxay wax \
         wuxuu yar yahay",
    ),
    (
        "sq",
        "ai ajo atë cili dhe deri duke dy e edhe ë është gjatë gjithë ishte janë ka kam kishte kjo ky këtë këto kur më me mund \
         nga në një nje nuk para pas për po por prej që qe se shumë si te të tij tyre vetëm",
    ),
    (
        "st",
        "a ba bakeng bana bane batho bo bohle di e empa ena eo etsa fela feela ha hae haholo hao hape hore ho jwalo ka ke kapa ke \
         la le leng mme moo na ne neng nka ntho o re sa se seng tla tsa tse tsohle wa ya yona",
    ),
    (
        "sw",
        "alikuwa ambao ambayo au baada bado cha chini dhidi hadi hata hii hiyo hivyo huu ili ilikuwa iko kabla kama kati katika \
         kila kuna kutoka kuwa kwa kwamba kwenye la lakini mara na nao ndani ni pamoja pia sana tu vya wa wake wakati wao ya \
         yake yao za zaidi zake",
    ),
    (
        "tn",
        "a ba bana batho bo bone di e fa fela gagwe gape ga go gonne gone gore jaaka jalo jwa ka ke kwa la le mme mo motho na ne \
         ntse nna o re rre sa se teng thata tla tlaa tsa tse tswa twe wa ya yo yone",
    ),
    (
        "yo",
        "a àti ati àwọn awọn awon bá bẹ bí ẹ fi fun fún gbogbo ilé jẹ je kan kí ko kò láti lati lè mo máa ń n náà naa ní ni \
         nínú ninu nínu o ó òun pé pe rẹ re rè sí si sì ṣe se tí ti tó wà wá wọn won wọ yìí yii yóò",
    ),
];

/// Languages whose neighbours are in [`WORDS`] too, so that their own words do not stand in others.
const SURE: [&str; 6] = ["de", "en", "es", "fr", "it", "pt"];

/// Lists that stand here as neighbours only: their words do not tell Afrikaans from Dutch, nor Danish from Norwegian.
const UNSURE: [&str; 2] = ["nb", "nl"];

/// Fewer words than this say nothing.
const MIN_WORDS: usize = 12;

/// From so many words on a smaller share of function words is enough.
const MANY_WORDS: usize = 40;

/// So many words without a single function word of a language are not of it. Of the sentences of 20 words or more of the
/// corpus that `tools/language-rows.sh` fetches, none in Italian or English that trigrams leave in doubt is.
const MIN_WORDS_WITHOUT: usize = 20;

/// So few words of a language that whatlang does not know may be chance.
const MIN_FAR: usize = 3;

/// The longest word of the lists has fewer bytes.
const MAX_BYTES: usize = 16;

/// The bits of [`WORDS`].
const NEAR: u32 = (1 << WORDS.len()) - 1;

/// The words of all lists by their bytes, filled up with zeros.
static TABLE: LazyLock<Table> = LazyLock::new(Table::new);

/// An open hash table: each word of a text is looked up here, most of them in vain.
struct Table {
    words: Vec<[u8; MAX_BYTES]>,
    /// The lists that have the word at the same place, one bit a list, those of [`FAR`] behind the others; 0: the place is
    /// free.
    lists: Vec<u32>,
}

impl Table {
    /// Places: more than twice as many as there are words, so that most looks end at the first.
    const BITS: u32 = 12;

    fn new() -> Self {
        let mut table = Self { words: vec![[0; MAX_BYTES]; 1 << Self::BITS], lists: vec![0; 1 << Self::BITS] };
        for (list, (_, words)) in WORDS.iter().chain(&FAR).enumerate() {
            for word in words.split_whitespace() {
                let mut bytes = [0; MAX_BYTES];
                bytes[..word.len()].copy_from_slice(word.as_bytes());
                let at = table.place(&bytes);
                table.words[at] = bytes;
                table.lists[at] |= 1 << list;
            }
        }
        table
    }

    /// The place of a word, or the free one where it would be.
    fn place(&self, word: &[u8; MAX_BYTES]) -> usize {
        let halves = word.as_chunks::<8>().0.iter().map(|half| u64::from_le_bytes(*half));
        let mixed = halves.fold(0, |hash: u64, half| (hash.rotate_left(5) ^ half).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut at = usize::try_from(mixed >> (64 - Self::BITS)).unwrap_or(0);
        while self.lists[at] != 0 && self.words[at] != *word {
            at = (at + 1) % self.lists.len();
        }
        at
    }

    fn lists(&self, word: &[u8; MAX_BYTES]) -> u32 {
        self.lists[self.place(word)]
    }
}

/// The languages to keep that function words speak for.
#[derive(Clone, Debug)]
pub struct FunctionWords {
    /// Their places in [`WORDS`].
    keep: Vec<usize>,
    /// Whether all of those to keep are there, so that what speaks for another list speaks against them.
    all: bool,
}

/// The words of a text: how many, and those of any list, by the lists that have them and whether they are long enough
/// to be no chance (three letters; `a`, `di` or `le` are words of many languages).
pub struct Found {
    words: usize,
    function: Vec<(u16, bool)>,
    /// Words of each list of [`FAR`].
    far: [usize; FAR.len()],
}

impl Found {
    /// Whether there are words enough to tell a language by them alone.
    #[must_use]
    pub fn enough(&self) -> bool {
        self.words >= MIN_WORDS
    }

    /// Whether they speak for the language of a list beyond doubt: a quarter of them are its function words, a tenth are
    /// long ones of no other list (of many words, a fifth and a sixteenth), and those of another language alone are at most
    /// a third of these. How often trigrams say the same is in BENCHMARKS.md.
    fn speak_for(&self, list: usize) -> bool {
        if !self.enough() {
            return false;
        }
        let own = 1_u16 << list;
        let (mut all, mut only) = (0, 0);
        for (lists, long) in self.function.iter().filter(|(lists, _)| lists & own != 0) {
            all += 1;
            only += usize::from(*lists == own && *long);
        }
        let percent = |n: usize, least: usize| 100 * n >= least * self.words;
        let short = percent(all, 25) && percent(only, 10);
        let long = self.words >= MANY_WORDS && percent(all, 20) && percent(only, 6);
        (short || long) && self.counts(|lists| lists & own == 0).iter().all(|rival| 3 * rival <= only)
    }

    /// Function words by list, of those whose lists pass the test.
    fn counts(&self, test: impl Fn(u16) -> bool) -> [usize; WORDS.len()] {
        let mut counts = [0; WORDS.len()];
        for (lists, _) in self.function.iter().filter(|(lists, _)| test(*lists)) {
            counts.iter_mut().enumerate().for_each(|(i, n)| *n += usize::from(lists >> i & 1));
        }
        counts
    }
}

/// A word of a text, as far as it may be a function word, in lower case.
#[derive(Default)]
struct Word {
    bytes: [u8; MAX_BYTES],
    /// How many bytes it has, so many as there is room for.
    len: usize,
    letters: usize,
}

impl Word {
    fn push(&mut self, c: char) {
        self.letters += 1;
        match self.bytes.get_mut(self.len..self.len + c.len_utf8()) {
            Some(room) => self.len += c.encode_utf8(room).len(),
            None => self.len = MAX_BYTES,
        }
    }

    /// Count the word, if there is one, and begin another.
    fn end(&mut self, found: &mut Found) {
        if self.letters == 0 {
            return;
        }
        found.words += 1;
        let lists = if self.len < MAX_BYTES { TABLE.lists(&self.bytes) } else { 0 };
        let near = u16::try_from(lists & NEAR).unwrap_or(0);
        if near != 0 {
            found.function.push((near, self.letters > 2));
        }
        let mut far = lists >> WORDS.len();
        while far != 0 {
            found.far[far.trailing_zeros() as usize] += 1;
            far &= far - 1;
        }
        *self = Self::default();
    }
}

impl FunctionWords {
    /// For these languages, ISO 639-1.
    #[must_use]
    pub fn of(keep: &[String]) -> Self {
        let index = |code: &String| WORDS.iter().position(|(c, _)| c == code);
        let known: Vec<usize> = keep.iter().filter(|code| SURE.contains(&code.as_str())).filter_map(index).collect();
        Self { all: known.len() == keep.len(), keep: known }
    }

    /// Look for function words in `text`.
    #[must_use]
    pub fn find(&self, text: &str) -> Found {
        let mut found = Found { words: 0, function: Vec::new(), far: [0; FAR.len()] };
        if self.keep.is_empty() {
            return found;
        }
        let mut word = Word::default();
        for c in text.chars() {
            if c.is_ascii_alphabetic() {
                word.push(c.to_ascii_lowercase());
            } else if !c.is_ascii() && c.is_alphabetic() {
                c.to_lowercase().for_each(|lower| word.push(lower));
            } else {
                word.end(&mut found);
            }
        }
        word.end(&mut found);
        found
    }

    /// The language to keep that the words speak for beyond doubt.
    #[must_use]
    pub fn clear(&self, found: &Found) -> Option<&'static str> {
        self.keep.iter().find(|list| found.speak_for(**list)).map(|list| WORDS[*list].0)
    }

    /// The other language that many words speak for beyond doubt, while none of them is of a language to keep alone. A page in
    /// two languages is left to trigrams.
    #[must_use]
    pub fn clear_other(&self, found: &Found) -> Option<&'static str> {
        if !self.all || found.words < MANY_WORDS {
            return None;
        }
        let keep = self.keep.iter().fold(0, |keep, list| keep | 1_u16 << list);
        let alone = |list: usize| !found.function.iter().any(|(lists, _)| lists & keep != 0 && lists >> list & 1 == 0);
        let mut others = (0..WORDS.len()).filter(|list| keep >> list & 1 == 0 && !UNSURE.contains(&WORDS[*list].0));
        others.find(|list| found.speak_for(*list) && alone(*list)).map(|list| WORDS[list].0)
    }

    /// Whether many words support that a text is of a language to keep: one in twenty of them at least is long and of no
    /// other list.
    #[must_use]
    pub fn support(&self, found: &Found, language: &str) -> bool {
        let list = self.keep.iter().find(|list| WORDS[**list].0 == language);
        list.is_some_and(|list| {
            let only = found.function.iter().filter(|(lists, long)| *long && *lists == 1 << list).count();
            found.words >= MANY_WORDS && 20 * only >= found.words
        })
    }

    /// The language that whatlang does not know of which the text has more function words than of each of those to keep: three
    /// at least, and two more.
    #[must_use]
    pub fn far(&self, found: &Found) -> Option<&'static str> {
        let (list, most) = found.far.iter().enumerate().max_by_key(|(_, n)| **n)?;
        if !self.all || *most < MIN_FAR {
            return None;
        }
        let counts = found.counts(|_| true);
        let kept = self.keep.iter().map(|list| counts[*list]).max().unwrap_or(0);
        (*most >= kept + 2 && 5 * most >= found.words).then(|| FAR[list].0)
    }

    /// Whether the words speak for a language to keep, though there may be too few for [`FunctionWords::clear`]: two in
    /// five are its function words, and it has two more of them than any other language.
    #[must_use]
    pub fn likely(&self, found: &Found) -> bool {
        let counts = found.counts(|_| true);
        self.keep.iter().any(|list| {
            let rival = counts.iter().enumerate().filter(|(i, _)| i != list).map(|(_, n)| *n).max().unwrap_or(0);
            5 * counts[*list] >= 2 * found.words && counts[*list] >= rival + 2
        })
    }

    /// Whether some words speak for a language to keep and fewer for any other: two at least, a quarter of all, and one of
    /// them long and of no other list.
    #[must_use]
    pub fn leaning(&self, found: &Found) -> bool {
        let counts = found.counts(|_| true);
        self.keep.iter().any(|list| {
            let rival = counts.iter().enumerate().filter(|(i, _)| i != list).map(|(_, n)| *n).max().unwrap_or(0);
            let only = found.function.iter().any(|(lists, long)| *long && *lists == 1 << list);
            counts[*list] >= 2 && only && counts[*list] > rival && 4 * counts[*list] >= found.words
        })
    }

    /// Whether another language has more function words in the text than each of those to keep.
    #[must_use]
    pub fn against(&self, found: &Found) -> bool {
        let counts = found.counts(|_| true);
        let most = |keep: bool| {
            counts.iter().enumerate().filter(|(i, _)| self.keep.contains(i) == keep).map(|(_, n)| *n).max().unwrap_or(0)
        };
        self.all && most(false) > most(true)
    }

    /// Whether a text of many words has not one function word of `language`, of those that have lists.
    #[must_use]
    pub fn absent(&self, found: &Found, language: &str) -> bool {
        let list = self.keep.iter().find(|list| WORDS[**list].0 == language);
        found.words >= MIN_WORDS_WITHOUT
            && list.is_some_and(|list| !found.function.iter().any(|(lists, long)| *long && lists >> list & 1 == 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENGLISH: &str = "The kitchen was cold, and there was nothing to eat but the bread that they had left on the table. \
                           She looked at it for a while, then she took her coat and went out, because the shops would be \
                           closed before the evening and she did not want to wait until the morning.";
    const GERMAN: &str = "Als der Regen nicht aufhören wollte, ging er noch einmal in das Haus und suchte nach einem Schirm. \
                          Die Schwester hatte ihm gesagt, dass er unter der Treppe liegt, aber dort war nur der alte Mantel, \
                          den sie vor vielen Jahren von ihrem Vater bekommen hatte.";
    const ITALIAN: &str = "Quando siamo arrivati non c'era più nessuno, e la porta della chiesa era chiusa.";

    #[test]
    fn a_plain_page_of_another_language_is_told_and_a_page_in_two_is_not() {
        let other = |keep: &[&str], text: &str| {
            let words = FunctionWords::of(&keep.iter().map(|code| (*code).to_owned()).collect::<Vec<_>>());
            let found = words.find(text);
            words.clear_other(&found)
        };
        assert_eq!(other(&["it"], ENGLISH), Some("en"));
        assert_eq!(other(&["it", "fr"], GERMAN), Some("de"));
        assert_eq!(other(&["en"], GERMAN), Some("de"));
        assert_eq!(other(&["en"], ENGLISH), None);
        assert_eq!(other(&["it", "en"], ENGLISH), None);
        assert_eq!(other(&["it"], &format!("{ENGLISH} {ITALIAN}")), None, "a page in two languages");
        assert_eq!(other(&["it"], &ENGLISH[..120]), None, "a few words");
        // Their neighbours are in no list.
        assert_eq!(other(&["af"], GERMAN), None);
        assert_eq!(other(&["it", "af"], GERMAN), None);
    }

    #[test]
    fn words_are_found_in_any_case_and_beside_any_sign() {
        let words = FunctionWords::of(&["fr".to_owned()]);
        let found = words.find("ÊTRE, où l’on est… «TRÈS» sobrement ÉTÉ2 anticonstitutionnellement");
        assert_eq!(found.words, 9);
        let long = found.function.iter().filter(|(_, long)| *long).count();
        // être, très; and où, l, on, est (three letters).
        assert_eq!((found.function.len(), long), (6, 3));
    }

    #[test]
    fn every_listed_word_is_found_for_the_lists_that_have_it() {
        let words = FunctionWords::of(&["it".to_owned()]);
        for (list, (code, listed)) in WORDS.iter().enumerate() {
            for word in listed.split_whitespace() {
                let found = words.find(word);
                assert!(found.function.iter().any(|(lists, _)| lists >> list & 1 == 1), "{code}: {word}");
            }
        }
        assert!(words.find("zqx alfabeto").function.is_empty());
    }
}
