//! What a person sees and where keys lead: lists of rows, the rows of a list, a row, pages of text, one above the other.

use std::{collections::BTreeMap, ops::Range};

use anyhow::Result;
use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use setaccio_base::{page::PageRow, progress::Progress, shown::one_line};
use setaccio_curate::{
    Error,
    report::{
        browse::{Browser, Found, List, Opened, SourceRows, Way, Which},
        page,
        why::Outcome,
    },
};

use super::{
    document::{At, Document, Line, Piece},
    look::Part,
};
use crate::style::{count, counted};

/// Lines of a list that are kept beside those in sight.
const NEAR: u64 = 200;
/// Lines at the top and at the bottom that are of no list and no text.
const FRAME: usize = 2;

/// What a key leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// The next frame.
    Frame,
    /// The end.
    Quit,
    /// The end, as by a signal.
    Interrupted,
    /// The shell, until it comes back.
    Suspend,
}

/// What is walked through, and where somebody is.
pub struct App<'b> {
    browser: &'b Browser<'b>,
    /// What is seen lies last, and the lists first.
    views: Vec<View>,
    /// The source whose rows are shown; `None`: all.
    source: Option<String>,
    /// What was searched for last.
    words: String,
    /// What is being typed to be searched for.
    pub typing: Option<String>,
    /// What is said until the next key.
    pub note: String,
    /// Whether another build lies in the folder by now.
    replaced: bool,
    /// Columns, and lines for what is in the middle.
    size: (usize, usize),
}

/// What fills the screen.
pub enum View {
    /// The lists of the build.
    Lists(Lists),
    /// The sources, to choose one.
    Sources(Sources),
    /// The rows of a list.
    Rows(Box<Rows>),
    /// A text: a row, or help.
    Page(Box<Page>),
}

/// Where somebody is in a list, and what is at the top of the screen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cursor {
    pub at: u64,
    pub top: u64,
}

/// The lists of the build.
pub struct Lists {
    pub lists: Vec<List>,
    pub cursor: Cursor,
}

/// The sources of the build.
pub struct Sources {
    pub sources: Vec<SourceRows>,
    pub cursor: Cursor,
}

/// The rows of a list.
pub struct Rows {
    pub found: Found,
    pub cursor: Cursor,
    /// Those in sight and near, by their numbers.
    pub lines: BTreeMap<u64, PageRow>,
}

/// A text.
pub struct Page {
    /// What it is.
    pub title: String,
    document: Document,
    top: usize,
    /// The lines in sight.
    visible: Vec<Line>,
    /// Where each piece says what was searched for, and where somebody is among these and among what is marked.
    hits: Vec<Vec<Range<usize>>>,
    hit: Option<At>,
    mark: Option<At>,
    /// What was gone to last, until somebody moves on: it stays in sight, whatever the size.
    sought: Option<At>,
    /// The row's number in its list, from 0.
    pub number: Option<u64>,
    /// The row, as far as it is one.
    row: Option<Opened>,
    /// Whether it is to be found out what the row repeats, when it is seen.
    unlooked: bool,
}

/// Where a key moves.
#[derive(Clone, Copy)]
enum Move {
    By(i64),
    Pages(i64),
    First,
    Last,
}

impl Move {
    /// What a key means, where it moves.
    fn of(key: KeyEvent) -> Option<Self> {
        let control = key.modifiers.contains(KeyModifiers::CONTROL);
        Some(match key.code {
            KeyCode::Char('f') if control => Self::Pages(1),
            KeyCode::Char('b') if control => Self::Pages(-1),
            KeyCode::Char(_) if control => return None,
            KeyCode::Up | KeyCode::Char('k') => Self::By(-1),
            KeyCode::Down | KeyCode::Char('j') => Self::By(1),
            KeyCode::PageUp => Self::Pages(-1),
            KeyCode::PageDown | KeyCode::Char(' ') => Self::Pages(1),
            KeyCode::Home | KeyCode::Char('g') => Self::First,
            KeyCode::End | KeyCode::Char('G') => Self::Last,
            _ => return None,
        })
    }

    /// Where it leads from `at`, among `count` things of which `height` are seen at once.
    fn lead(self, at: u64, count: u64, height: usize) -> u64 {
        let last = count.saturating_sub(1);
        match self {
            Self::By(n) => at.saturating_add_signed(n).min(last),
            Self::Pages(n) => {
                at.saturating_add_signed(n * i64::try_from(height.saturating_sub(1).max(1)).unwrap_or(1)).min(last)
            }
            Self::First => 0,
            Self::Last => last,
        }
    }
}

impl Cursor {
    /// Bring it into sight, among `count` things on `height` lines; given is what is seen then.
    fn show(&mut self, count: u64, height: usize) -> Range<u64> {
        let height = height as u64;
        self.at = self.at.min(count.saturating_sub(1));
        // A screen that grew is filled.
        self.top = self.top.min(self.at).min(count.saturating_sub(height)).max((self.at + 1).saturating_sub(height));
        self.top..count.min(self.top + height)
    }
}

impl<'b> App<'b> {
    /// At the lists of a build.
    pub fn new(browser: &'b Browser<'b>) -> Self {
        let lists = Lists { lists: browser.lists(None), cursor: Cursor::default() };
        Self {
            browser,
            views: vec![View::Lists(lists)],
            source: None,
            words: String::new(),
            typing: None,
            note: String::new(),
            replaced: false,
            size: (0, 0),
        }
    }

    /// The data set's title, and the source that is chosen.
    pub fn about(&self) -> (&str, Option<&str>) {
        (self.browser.title(), self.source.as_deref())
    }

    /// What is said in the place of all views once another build lies in the folder: its rows are not those of these lists.
    pub fn replaced(&self) -> Option<String> {
        let out = self.browser.folder().display();
        self.replaced.then(|| {
            format!(
                "Another build took the place of this one in {out}, or is being put there. No row is shown any more: it could be the other \
                 one's. Open it again: q quits, and `setaccio browse {out}` shows what is there then."
            )
        })
    }

    /// Look whether another build lies in the folder; once one did, this one does not come back.
    fn look_for_another(&mut self) -> bool {
        self.replaced = self.replaced || self.browser.is_replaced();
        self.replaced
    }

    /// What fills the screen.
    pub fn view(&self) -> &View {
        // The lists are never left.
        &self.views[self.views.len() - 1]
    }

    fn seen(&mut self) -> &mut View {
        let last = self.views.len() - 1;
        &mut self.views[last]
    }

    /// Read what the next frame shows, on so many columns and lines.
    ///
    /// # Errors
    /// A file of the build is missing or damaged.
    pub fn prepare(&mut self, (width, height): (u16, u16), progress: &dyn Progress) -> Result<()> {
        let size = (usize::from(width), usize::from(height).saturating_sub(FRAME).max(1));
        self.size = size;
        if self.look_for_another() {
            return Ok(());
        }
        let browser = self.browser;
        let done = match self.seen() {
            View::Rows(rows) => rows.read(browser, size.1, progress),
            View::Lists(Lists { lists, cursor }) => {
                cursor.show(lists.len() as u64, size.1);
                Ok(())
            }
            View::Sources(Sources { sources, cursor }) => {
                cursor.show(1 + sources.len() as u64, size.1);
                Ok(())
            }
            View::Page(page) => {
                page.lay_out(size);
                Ok(())
            }
        };
        // What was read meanwhile is of either, and is not seen.
        if self.look_for_another() {
            return Ok(());
        }
        self.stopped(done.map_err(Into::into)).map(|_| ())
    }

    /// Find out what can wait until a frame was seen; false if there is nothing.
    ///
    /// # Errors
    /// A file of the build is missing or damaged.
    pub fn later(&mut self, progress: &dyn Progress) -> Result<bool> {
        if self.replaced {
            return Ok(false);
        }
        let (browser, words) = (self.browser, self.words.clone());
        let View::Page(page) = self.seen() else { return Ok(false) };
        if !std::mem::take(&mut page.unlooked) {
            return Ok(false);
        }
        let done = page.look(browser, progress);
        page.search(&words);
        if !self.look_for_another() {
            self.stopped(done)?;
        }
        Ok(true)
    }

    /// What was done, unless a person stopped it, which is said.
    fn stopped<T>(&mut self, done: Result<T>) -> Result<Option<T>> {
        match done {
            Err(e) if matches!(e.downcast_ref(), Some(Error::Interrupted)) => {
                self.note = "stopped".into();
                Ok(None)
            }
            done => done.map(Some),
        }
    }

    /// Do what a key says.
    ///
    /// # Errors
    /// A file of the build is missing or damaged.
    pub fn key(&mut self, key: KeyEvent, progress: &dyn Progress) -> Result<Next> {
        if key.kind == KeyEventKind::Release {
            return Ok(Next::Frame);
        }
        self.note.clear();
        if key.modifiers.contains(KeyModifiers::CONTROL) {
            match key.code {
                KeyCode::Char('c') => return Ok(Next::Interrupted),
                KeyCode::Char('z') => return Ok(Next::Suspend),
                KeyCode::Char('u') if self.typing.is_some() => self.typing = Some(String::new()),
                _ => {}
            }
        }
        if self.look_for_another() {
            return Ok(if key.code == KeyCode::Char('q') { Next::Quit } else { Next::Frame });
        }
        match self.press(key, progress) {
            // The next frame says so.
            Err(_) if self.look_for_another() => Ok(Next::Frame),
            done => done,
        }
    }

    /// Do what a key of the views says.
    fn press(&mut self, key: KeyEvent, progress: &dyn Progress) -> Result<Next> {
        if self.typing.is_some() {
            self.type_on(key, progress)?;
            return Ok(Next::Frame);
        }
        if let Some(moved) = Move::of(key) {
            self.go(moved);
            return Ok(Next::Frame);
        }
        match key.code {
            KeyCode::Char('q') => return Ok(Next::Quit),
            // Help upon help would take as many keys to leave.
            KeyCode::Char('?') if self.is_help() => {
                self.views.pop();
            }
            KeyCode::Char('?') => self.help(),
            KeyCode::Char('/') => self.typing = Some(String::new()),
            KeyCode::Char('n') => self.search(Way::On, false, progress)?,
            KeyCode::Char('N') => self.search(Way::Back, false, progress)?,
            KeyCode::Char('s') if matches!(self.view(), View::Lists(_)) => self.choose_source(),
            KeyCode::Char('m') => self.next_mark(),
            KeyCode::Char('o') => self.open_repeated()?,
            KeyCode::Left | KeyCode::Char('h') if self.row_number().is_some() => {
                self.open_beside(Way::Back, progress)?;
            }
            KeyCode::Right | KeyCode::Char('l') if self.row_number().is_some() => {
                self.open_beside(Way::On, progress)?;
            }
            KeyCode::Enter | KeyCode::Right | KeyCode::Char('l') => self.open(progress)?,
            KeyCode::Esc | KeyCode::Backspace | KeyCode::Left | KeyCode::Char('h') if self.views.len() > 1 => {
                self.views.pop();
            }
            _ => {}
        }
        Ok(Next::Frame)
    }

    fn go(&mut self, moved: Move) {
        let height = self.size.1;
        match self.seen() {
            View::Lists(Lists { lists, cursor }) => cursor.at = moved.lead(cursor.at, lists.len() as u64, height),
            View::Sources(Sources { sources, cursor }) => {
                cursor.at = moved.lead(cursor.at, 1 + sources.len() as u64, height);
            }
            View::Rows(rows) => rows.cursor.at = moved.lead(rows.cursor.at, rows.found.list().held, height),
            View::Page(page) => page.go(moved, height),
        }
    }

    fn type_on(&mut self, key: KeyEvent, progress: &dyn Progress) -> Result<()> {
        let Some(typed) = &mut self.typing else { return Ok(()) };
        match key.code {
            KeyCode::Char(c) if !key.modifiers.contains(KeyModifiers::CONTROL) => typed.push(c),
            KeyCode::Backspace if typed.pop().is_some() => {}
            KeyCode::Enter => {
                let typed = self.typing.take().unwrap_or_default();
                // Nothing typed is what was typed before.
                if !typed.trim().is_empty() {
                    self.words = typed;
                }
                self.search(Way::On, true, progress)?;
            }
            KeyCode::Esc | KeyCode::Backspace => self.typing = None,
            _ => {}
        }
        Ok(())
    }

    /// Go to what says the words, from here on or, `here`, from where somebody is.
    fn search(&mut self, way: Way, here: bool, progress: &dyn Progress) -> Result<()> {
        let (browser, words, height) = (self.browser, self.words.clone(), self.size.1);
        if words.trim().is_empty() {
            self.note = "nothing was searched for: / and words do that".into();
            return Ok(());
        }
        let found = match self.seen() {
            View::Lists(Lists { lists, cursor }) => {
                let said = |n: u64| usize::try_from(n).ok().and_then(|n| lists.get(n));
                let said = |n| said(n).map(|list| format!("{} {} {}", list.stage(), list.name(), list.about));
                Ok(cursor.search(&words, (way, here), lists.len(), said))
            }
            View::Sources(Sources { sources, cursor }) => {
                let said = |n: u64| usize::try_from(n).ok().and_then(|n| sources.get(n.checked_sub(1)?));
                Ok(cursor.search(&words, (way, here), 1 + sources.len(), |n| match n {
                    0 => Some("all".into()),
                    n => said(n).map(|source| source.source.clone()),
                }))
            }
            View::Rows(rows) => {
                let from = rows.cursor.at + u64::from(way == Way::On && !here);
                browser.search(&mut rows.found, (from, way), &words, progress).map(|found| {
                    rows.cursor.at = found.unwrap_or(rows.cursor.at);
                    found.is_some()
                })
            }
            View::Page(page) => {
                if here {
                    page.search(&words);
                }
                Ok(page.next_hit(way, height))
            }
        };
        if self.stopped(found.map_err(Into::into))? == Some(false) {
            let (which, way) = (if here { "" } else { "further " }, if way == Way::On { "on" } else { "before" });
            self.note = format!("nothing {which}from here {way} says {}", one_line(&words));
        }
        Ok(())
    }

    fn choose_source(&mut self) {
        let sources = self.browser.sources();
        let at = sources.iter().position(|of| Some(&of.source) == self.source.as_ref()).map_or(0, |at| 1 + at as u64);
        self.views.push(View::Sources(Sources { sources, cursor: Cursor { at, top: 0 } }));
    }

    /// Whether what is seen is the page of the keys: every other page is a row.
    fn is_help(&self) -> bool {
        matches!(self.view(), View::Page(page) if page.row.is_none())
    }

    fn help(&mut self) {
        let mut pieces = Vec::new();
        for (keys, what) in HELP {
            pieces.push(match (keys, what) {
                ("", what) => Piece::default().with(Part::Plain, what),
                (keys, what) => {
                    Piece::default().with(Part::Name, &format!("{keys:<13}")).hanging().with(Part::Plain, what)
                }
            });
        }
        self.views.push(View::Page(Box::new(Page::new("keys".into(), pieces))));
    }

    fn open(&mut self, progress: &dyn Progress) -> Result<()> {
        match self.view() {
            View::Lists(Lists { lists, cursor }) => {
                let Some(list) = usize::try_from(cursor.at).ok().and_then(|at| lists.get(at)) else { return Ok(()) };
                let rows = Rows { found: Found::new(list.clone()), cursor: Cursor::default(), lines: BTreeMap::new() };
                self.views.push(View::Rows(Box::new(rows)));
            }
            View::Sources(Sources { sources, cursor }) => {
                let at = usize::try_from(cursor.at).ok().and_then(|at| at.checked_sub(1));
                self.source = at.and_then(|at| sources.get(at)).map(|of| of.source.clone());
                self.views.pop();
                let chosen = self.browser.lists(self.source.as_deref());
                if let View::Lists(Lists { lists, .. }) = self.seen() {
                    *lists = chosen;
                }
            }
            View::Rows(rows) if rows.found.list().held > 0 => {
                let at = rows.cursor.at;
                if let Some(page) = self.page_of(at, progress)? {
                    self.views.push(View::Page(Box::new(page)));
                }
            }
            View::Rows(_) | View::Page(_) => {}
        }
        Ok(())
    }

    /// The number in its list of the row that is seen.
    fn row_number(&self) -> Option<u64> {
        if let View::Page(page) = self.view() { page.number } else { None }
    }

    /// The row before or after the one that is seen.
    fn open_beside(&mut self, way: Way, progress: &dyn Progress) -> Result<()> {
        let Some(number) = self.row_number() else { return Ok(()) };
        let rows = self.views.len() - 2;
        let View::Rows(rows) = &mut self.views[rows] else { return Ok(()) };
        let by = if way == Way::On { 1 } else { -1 };
        let at = Move::By(by).lead(number, rows.found.list().held, 1);
        if at == number {
            self.note = format!("this is the {} row of the list", if way == Way::On { "last" } else { "first" });
            return Ok(());
        }
        rows.cursor.at = at;
        if let Some(page) = self.page_of(at, progress)? {
            *self.seen() = View::Page(Box::new(page));
        }
        Ok(())
    }

    /// Row `n` of the list that lies last.
    fn page_of(&mut self, n: u64, progress: &dyn Progress) -> Result<Option<Page>> {
        let browser = self.browser;
        let rows = self.views.iter_mut().rev().find_map(|view| match view {
            View::Rows(rows) => Some(rows),
            _ => None,
        });
        let Some(rows) = rows else { return Ok(None) };
        let title = title(rows.found.list());
        let place = browser.place(&mut rows.found, n, progress);
        let Some(place) = self.stopped(place.map_err(Into::into))?.flatten() else { return Ok(None) };
        let mut page = Page::of(title, browser.row(place)?);
        page.number = Some(n);
        page.search(&self.words);
        Ok(Some(page))
    }

    /// The row that the one that is seen repeats.
    fn open_repeated(&mut self) -> Result<()> {
        let View::Page(page) = self.view() else { return Ok(()) };
        let place = match page.row.as_ref().map(|opened| &opened.fate.outcome) {
            Some(Outcome::Dropped { repeats: Some(place), .. }) => self.browser.number(place),
            _ => None,
        };
        match place {
            Some(place) => {
                let page = Page::of("the row that it repeats".into(), self.browser.row(place)?);
                self.views.push(View::Page(Box::new(page)));
            }
            None => self.note = "it repeats no row of the data set".into(),
        }
        Ok(())
    }

    fn next_mark(&mut self) {
        let height = self.size.1;
        if let View::Page(page) = self.seen()
            && !page.next_mark(height)
        {
            self.note = "nothing is marked in it: the rule matches no words".into();
        }
    }
}

/// What a list is called.
pub fn title(list: &List) -> String {
    let of = list.source.as_ref().map_or_else(String::new, |source| format!(", of {source}"));
    match &list.which {
        Which::Kept => format!("kept{of}"),
        Which::Dropped => format!("dropped{of}"),
        Which::By { stage, rule } if stage == rule => format!("dropped by {rule}{of}"),
        Which::By { stage, rule } => format!("dropped by {rule}, in the stage {stage}{of}"),
    }
}

/// What is said in the place of rows, where there is none.
pub fn nothing(list: &List) -> String {
    if list.rows > 0 {
        let rows = counted(list.rows, "row");
        return format!("{rows}: outside the sample, and only counted, as the recipe says (left_out = \"count\").");
    }
    let edits = if list.about.is_empty() { "" } else { " Rows that it only edits lie among the others." };
    format!("There is no such row.{edits}")
}

impl Cursor {
    /// Go to the next line that says the words; false if there is none.
    fn search(
        &mut self,
        words: &str,
        (way, here): (Way, bool),
        count: usize,
        said: impl Fn(u64) -> Option<String>,
    ) -> bool {
        let words = words.to_lowercase();
        let says = |n: &u64| said(*n).is_some_and(|said| said.to_lowercase().contains(&words));
        let found = match way {
            Way::On => (self.at + u64::from(!here)..count as u64).find(says),
            Way::Back => (0..self.at).rev().find(says),
        };
        self.at = found.unwrap_or(self.at);
        found.is_some()
    }
}

impl Rows {
    /// Read the lines in sight that are not there.
    fn read(&mut self, browser: &Browser<'_>, height: usize, progress: &dyn Progress) -> setaccio_curate::Result<()> {
        let seen = self.cursor.show(self.found.list().held, height);
        self.lines.retain(|n, _| seen.start.saturating_sub(NEAR) <= *n && *n < seen.end + NEAR);
        let (mut numbers, mut places) = (Vec::new(), Vec::new());
        for n in seen.filter(|n| !self.lines.contains_key(n)) {
            if let Some(place) = browser.place(&mut self.found, n, progress)? {
                numbers.push(n);
                places.push(place);
            }
        }
        self.lines.extend(numbers.into_iter().zip(browser.lines(&places)?));
        Ok(())
    }
}

impl Page {
    fn new(title: String, pieces: Vec<Piece>) -> Self {
        Self {
            title,
            document: Document::new(pieces),
            top: 0,
            visible: Vec::new(),
            hits: Vec::new(),
            hit: None,
            mark: None,
            sought: None,
            number: None,
            row: None,
            unlooked: false,
        }
    }

    /// A row: what became of it, what it says, and what else is known of it.
    fn of(title: String, opened: Opened) -> Self {
        let mut page = Self::new(title, pieces(&opened));
        page.unlooked = matches!(&opened.fate.outcome, Outcome::Dropped { stage, .. } if stage == "dedup");
        page.row = Some(opened);
        page
    }

    /// Find the row that this one repeats.
    fn look(&mut self, browser: &Browser<'_>, progress: &dyn Progress) -> Result<()> {
        let Some(opened) = &mut self.row else { return Ok(()) };
        if let Outcome::Dropped { detail, repeats, .. } = &mut opened.fate.outcome {
            *repeats = browser.repeated(detail, progress)?;
        }
        self.document = Document::new(pieces(opened));
        (self.mark, self.sought) = (None, None);
        Ok(())
    }

    fn lay_out(&mut self, (width, height): (usize, usize)) {
        self.top = self.document.set_width(width, self.top);
        self.keep_in_sight(height);
        self.visible = self.document.lines(self.top, height).to_vec();
        // A screen that grew is filled.
        if self.visible.len() < height && self.top > 0 {
            self.top = self.document.length().saturating_sub(height);
            self.visible = self.document.lines(self.top, height).to_vec();
        }
    }

    fn go(&mut self, moved: Move, height: usize) {
        let count = match moved {
            Move::Last => self.document.length(),
            _ => self.top + 3 * height,
        };
        self.sought = None;
        // As far as it is cut; `lay_out` does not go beyond the end.
        let last = (count.saturating_sub(height) + 1) as u64;
        self.top = usize::try_from(moved.lead(self.top as u64, last, height)).unwrap_or(self.top);
    }

    fn search(&mut self, words: &str) {
        self.hits = self.document.pieces().iter().map(|piece| page::find(piece.text(), words)).collect();
        self.hit = None;
    }

    /// Bring what was searched for into sight, the next or the one before; false if there is none.
    fn next_hit(&mut self, way: Way, height: usize) -> bool {
        let hits = self.hits.iter().enumerate();
        let places: Vec<At> = hits.flat_map(|(piece, hits)| hits.iter().map(move |hit| (piece, hit.start))).collect();
        let to = match (way, self.hit) {
            (Way::On, None) => places.first(),
            (Way::On, Some(hit)) => places.iter().find(|place| **place > hit),
            (Way::Back, hit) => places.iter().rfind(|place| hit.is_some_and(|hit| **place < hit)),
        };
        self.hit = to.copied().or(self.hit);
        self.bring(to.copied(), height)
    }

    /// Bring the next part into sight that is marked, or the first again; false if there is none.
    fn next_mark(&mut self, height: usize) -> bool {
        let pieces = self.document.pieces().iter().enumerate();
        let places: Vec<At> = pieces.flat_map(|(number, piece)| piece.marks().map(move |at| (number, at))).collect();
        let next = places.iter().find(|place| self.mark.is_none_or(|mark| **place > mark));
        self.mark = next.or(places.first()).copied();
        self.bring(self.mark, height)
    }

    fn bring(&mut self, place: Option<At>, height: usize) -> bool {
        if place.is_some() {
            self.sought = place;
        }
        self.keep_in_sight(height);
        place.is_some()
    }

    fn keep_in_sight(&mut self, height: usize) {
        let Some(place) = self.sought else { return };
        let line = self.document.line_of(place);
        if !(self.top..self.top + height).contains(&line) {
            // With what comes before it, if there is room.
            self.top = line.saturating_sub(usize::from(height > 1));
        }
    }

    /// The lines in sight, with what their pieces are and what was searched for in each.
    pub fn lines(&self) -> impl Iterator<Item = (&Piece, &Range<usize>, &[Range<usize>])> {
        self.visible.iter().map(|(number, range)| {
            let hits = self.hits.get(*number).map_or(&[][..], Vec::as_slice);
            (&self.document.pieces()[*number], range, hits)
        })
    }

    /// How far down somebody is, as far as that is known.
    pub fn place(&self) -> &'static str {
        let end = self.visible.last().is_some_and(|(number, range)| {
            let pieces = self.document.pieces();
            number + 1 == pieces.len() && range.end == pieces[*number].text().len()
        });
        match (self.top, end) {
            (0, true) => "",
            (0, false) => "more below",
            (_, false) => "more above and below",
            (_, true) => "the end",
        }
    }
}

/// What is told of a row.
fn pieces(opened: &Opened) -> Vec<Piece> {
    let Opened { row, fate, columns } = opened;
    let head = match &fate.outcome {
        Outcome::Kept(_) => Piece::default().with(Part::Good, "+ kept"),
        Outcome::Dropped { .. } => Piece::default().with(Part::Bad, "- dropped"),
    };
    let id = fate.id.as_deref().unwrap_or("no id");
    let mut pieces = vec![head.with(Part::Name, &format!(" {}", fate.source)).with(Part::Plain, &format!("  {id}"))];
    let line = |label: &str, text: &str| {
        Piece::default().with(Part::Faint, &format!("{label:<10} ")).hanging().with(Part::Plain, &one_line(text))
    };
    pieces.extend(fate.told().iter().map(|(label, text)| line(label, text)));
    for (label, text, marks) in row.marked(None) {
        pieces.push(Piece::default());
        pieces.extend((!label.is_empty()).then(|| Piece::default().with(Part::Head, &label)));
        pieces.push(Piece::default().with_marks(text, &marks));
    }
    if !columns.is_empty() {
        pieces.push(Piece::default());
    }
    pieces.extend(columns.iter().map(|(name, value)| line(name, value)));
    pieces
}

/// Keys, and what each does.
const HELP: [(&str, &str); 19] = [
    ("up, down", "a line; also k and j"),
    ("PgUp, PgDn", "a screen; also Ctrl-B and Ctrl-F, or space"),
    ("Home, End", "the first and the last; also g and G"),
    ("Enter", "open the list, the source or the row"),
    ("Esc", "back; also Backspace"),
    ("left, right", "of a row: the one before and the one after it in its list"),
    ("s", "choose a source: all counts and rows are of it then"),
    (
        "/",
        "search: in lists for words of a line, in the rows of a list for words of whole rows, in a row for words of it",
    ),
    ("n, N", "what is found next, and before"),
    ("m", "of a row: the next that a rule matched"),
    ("o", "of a row that repeats another: that one"),
    ("?", "this page"),
    ("q", "the end; also Ctrl-C. Ctrl-Z goes to the shell, and `fg` comes back"),
    ("", ""),
    (
        "",
        "Counts are the ledger's. Marked in a row is what the rule matched, where it matched words; what was searched for is underlined.",
    ),
    ("", ""),
    ("", "What a terminal would obey or not show is written as an escape: \\u{1b}, \\u{202e}."),
    ("", ""),
    ("", "Rows are read when they are looked at. What takes longer can be stopped with Esc."),
];

/// The keys of a view that are worth a place on the last line, the first to give way first.
pub fn keys(view: &View) -> Vec<(&'static str, &'static str)> {
    let own: &[(&str, &str)] = match view {
        View::Lists(_) => &[("s", "source"), ("Enter", "open"), ("/", "search")],
        View::Sources(_) => &[("/", "search"), ("Enter", "choose"), ("Esc", "back")],
        View::Rows(_) => &[("n", "next found"), ("Enter", "open"), ("/", "search"), ("Esc", "back")],
        View::Page(page) if page.number.is_some() => {
            &[("m", "match"), ("o", "what it repeats"), ("left/right", "rows"), ("/", "search"), ("Esc", "back")]
        }
        View::Page(_) => &[("/", "search"), ("Esc", "back")],
    };
    own.iter().copied().chain([("?", "help"), ("q", "quit")]).collect()
}

/// A count of rows with its share of all.
pub fn share(rows: u64, all: u64) -> String {
    if all == 0 { String::new() } else { format!("{:.1}%", setaccio_base::numbers::percent(rows, all)) }
}

/// Rows of a list, as a person reads them.
pub fn rows_of(cursor: Cursor, list: &List) -> String {
    if list.held == 0 { String::new() } else { format!("{} of {}", count(cursor.at + 1), count(list.held)) }
}
