//! A value as Python has it: what a template computes with. Nothing but a namespace, a loop and the like can change
//! once it is made, since the sandbox of transformers refuses the methods that change a list or a dict.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    collections::VecDeque,
    ops::Deref,
    rc::Rc,
    sync::Arc,
};

use super::{
    failure::{Failure, Result},
    limits::{self, deeper, spend_all},
};

/// Any value.
#[derive(Clone)]
pub enum Value {
    /// A name, an attribute or an item that is not there.
    Undefined(Arc<str>),
    None,
    Bool(bool),
    /// Python's integers have no end; these have 127 bits, and an error beyond them.
    Int(i128),
    Float(f64),
    Str(Text),
    List(Rc<Items>),
    Tuple(Rc<Items>),
    Dict(Rc<Dict>),
    /// What `keys`, `values` and `items` of a dict give.
    View(View, Rc<Dict>),
    Range(Range),
    /// What can be gone through once: the filters `map`, `select` and their like give it.
    Generator(Rc<Left>),
    /// A function of the environment.
    Function(&'static str),
    /// A method of the value.
    Method(Rc<Value>, &'static str),
    Object(Rc<dyn Object>),
}

/// What has a state or is called: macros, loops, namespaces.
pub trait Object: Any {
    /// The name of its type in Python.
    fn class(&self) -> &'static str;
    /// An attribute, if it has it. `this` is the object as a value.
    fn attribute(&self, name: &str, this: &Value) -> Option<Value>;
    /// As Python prints it, where that says more than an address. What it holds may lie `depth` levels deep.
    fn printed(&self, depth: usize) -> Result<Option<String>>;
    /// How many items it has, if it has items.
    fn length(&self) -> Option<usize> {
        None
    }
}

/// A string, and whether `safe` or `escape` marked it as HTML.
#[derive(Clone)]
pub struct Text {
    pub text: Arc<str>,
    pub html: Html,
}

/// Whether a string is plain or HTML, which escapes what it is joined with.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Html {
    Plain,
    Markup,
}

impl Deref for Text {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

/// The items of a list or tuple.
pub struct Items {
    items: Vec<Value>,
    /// What the items of a named tuple are called.
    pub names: &'static [&'static str],
}

impl Deref for Items {
    type Target = [Value];

    fn deref(&self) -> &[Value] {
        &self.items
    }
}

impl Drop for Items {
    fn drop(&mut self) {
        bury(std::mem::take(&mut self.items));
    }
}

/// What a generator has left.
pub struct Left(RefCell<VecDeque<Value>>);

impl Left {
    pub fn len(&self) -> usize {
        self.0.borrow().len()
    }

    /// The next item.
    pub fn next(&self) -> Option<Value> {
        self.0.borrow_mut().pop_front()
    }

    /// All items, so that none is left.
    fn take(&self) -> Vec<Value> {
        self.0.take().into()
    }
}

impl Drop for Left {
    fn drop(&mut self) {
        bury(self.take());
    }
}

/// A dict, in the order in which keys came. Those of conversations are small: a search from the front is quick.
#[derive(Default)]
pub struct Dict(Vec<(Value, Value)>);

impl Drop for Dict {
    fn drop(&mut self) {
        bury(self.0.drain(..).flat_map(|(key, value)| [key, value]));
    }
}

impl Dict {
    pub fn get(&self, key: &Value) -> Option<&Value> {
        self.look();
        self.0.iter().find(|(k, _)| equal(k, key)).map(|(_, v)| v)
    }

    /// The steps of looking for a key.
    fn look(&self) {
        spend_all(self.0.len() / 8);
    }

    pub fn named(&self, key: &str) -> Option<&Value> {
        self.look();
        self.0.iter().find(|(k, _)| matches!(k, Value::Str(text) if **text == *key)).map(|(_, v)| v)
    }

    /// Put a value under a key.
    ///
    /// # Errors
    /// A list or a dict is no key.
    pub fn insert(&mut self, key: Value, value: Value) -> Result<()> {
        hashable(&key)?;
        limits::another(self.0.len())?;
        self.put(key, value);
        Ok(())
    }

    /// The same, under a key that is a string.
    pub fn set(&mut self, key: &str, value: Value) {
        self.put(Value::from(key), value);
    }

    fn put(&mut self, key: Value, value: Value) {
        self.look();
        match self.0.iter_mut().find(|(k, _)| equal(k, &key)) {
            Some(entry) => entry.1 = value,
            None => self.0.push((key, value)),
        }
    }

    pub fn entries(&self) -> &[(Value, Value)] {
        &self.0
    }

    /// From entries whose keys are known to differ.
    pub fn from_entries(entries: Vec<(Value, Value)>) -> Self {
        Self(entries)
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum View {
    Keys,
    Values,
    Items,
}

impl View {
    pub fn item(self, (key, value): &(Value, Value)) -> Value {
        match self {
            View::Keys => key.clone(),
            View::Values => value.clone(),
            View::Items => Value::tuple(vec![key.clone(), value.clone()]),
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            View::Keys => "dict_keys",
            View::Values => "dict_values",
            View::Items => "dict_items",
        }
    }
}

/// Python's `range`. `step` is not 0.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Range {
    pub start: i128,
    pub stop: i128,
    pub step: i128,
}

impl Range {
    pub fn len(self) -> i128 {
        let (from, to) = if self.step > 0 { (self.start, self.stop) } else { (self.stop, self.start) };
        let span = to.saturating_sub(from).max(0);
        span / self.step.abs() + i128::from(span % self.step.abs() != 0)
    }

    pub fn items(self) -> impl Iterator<Item = Value> {
        (0..self.len()).map(move |i| Value::Int(self.start + i * self.step))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Value::Str(Text { text: text.into(), html: Html::Plain })
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Value::Str(Text { text: text.into(), html: Html::Plain })
    }
}

impl From<bool> for Value {
    fn from(truth: bool) -> Self {
        Value::Bool(truth)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Value::Int(i128::try_from(count).unwrap_or(i128::MAX))
    }
}

impl Value {
    pub fn list(items: Vec<Value>) -> Self {
        Value::List(Rc::new(Items { items, names: &[] }))
    }

    pub fn tuple(items: Vec<Value>) -> Self {
        Self::named_tuple(items, &[])
    }

    pub fn named_tuple(items: Vec<Value>, names: &'static [&'static str]) -> Self {
        Value::Tuple(Rc::new(Items { items, names }))
    }

    pub fn dict(dict: Dict) -> Self {
        Value::Dict(Rc::new(dict))
    }

    pub fn generator(items: impl IntoIterator<Item = Value>) -> Self {
        Value::Generator(Rc::new(Left(RefCell::new(items.into_iter().collect()))))
    }

    pub fn markup(text: impl Into<Arc<str>>) -> Self {
        Value::Str(Text { text: text.into(), html: Html::Markup })
    }

    pub fn undefined(why: impl Into<Arc<str>>) -> Self {
        Value::Undefined(why.into())
    }

    pub fn object(object: impl Object) -> Self {
        Value::Object(Rc::new(object))
    }

    /// The object, if it is one of this kind.
    pub fn downcast<T: Object>(&self) -> Option<&T> {
        let Value::Object(object) = self else { return None };
        let any: &dyn Any = &**object;
        any.downcast_ref()
    }

    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::Str(text) => Some(text),
            _ => None,
        }
    }

    /// An integer, which True and False are too.
    pub fn as_int(&self) -> Option<i128> {
        match self {
            Value::Int(i) => Some(*i),
            Value::Bool(b) => Some(i128::from(*b)),
            _ => None,
        }
    }

    /// A number as a float.
    pub fn as_float(&self) -> Option<f64> {
        match self {
            Value::Float(f) => Some(*f),
            _ => self.as_int().map(float),
        }
    }

    /// The failure of an operation on it, if it is undefined.
    pub fn missing(&self) -> Option<Failure> {
        match self {
            Value::Undefined(why) => Some(Failure::new(&**why)),
            _ => None,
        }
    }

    pub fn is_undefined(&self) -> bool {
        matches!(self, Value::Undefined(_))
    }

    /// The name of its type in Python.
    pub fn class(&self) -> &'static str {
        match self {
            Value::Undefined(_) => "Undefined",
            Value::None => "NoneType",
            Value::Bool(_) => "bool",
            Value::Int(_) => "int",
            Value::Float(_) => "float",
            Value::Str(text) if text.html == Html::Markup => "Markup",
            Value::Str(_) => "str",
            Value::List(_) => "list",
            Value::Tuple(_) => "tuple",
            Value::Dict(_) => "dict",
            Value::View(view, _) => view.name(),
            Value::Range(_) => "range",
            Value::Generator(_) => "generator",
            Value::Function(_) => "function",
            Value::Method(..) => "method",
            Value::Object(object) => object.class(),
        }
    }

    /// What `bool` says of it.
    pub fn truth(&self) -> bool {
        match self {
            Value::Undefined(_) | Value::None => false,
            Value::Bool(b) => *b,
            Value::Int(i) => *i != 0,
            Value::Float(f) => *f != 0.0,
            Value::Str(text) => !text.is_empty(),
            _ => self.length().is_none_or(|n| n > 0),
        }
    }

    /// What `len` says of it, if it has a length.
    pub fn length(&self) -> Option<usize> {
        match self {
            Value::Undefined(_) => Some(0),
            Value::Str(text) => Some(if text.is_ascii() { text.len() } else { text.chars().count() }),
            Value::List(items) | Value::Tuple(items) => Some(items.len()),
            Value::Dict(dict) | Value::View(_, dict) => Some(dict.entries().len()),
            Value::Range(range) => usize::try_from(range.len()).ok(),
            Value::Object(object) => object.length(),
            _ => None,
        }
    }

    /// Whether it can be gone through.
    pub fn iterable(&self) -> bool {
        matches!(
            self,
            Value::Undefined(_)
                | Value::Str(_)
                | Value::List(_)
                | Value::Tuple(_)
                | Value::Dict(_)
                | Value::View(..)
                | Value::Range(_)
                | Value::Generator(_)
        )
    }

    /// Its items, in order; a generator has none left afterwards.
    ///
    /// # Errors
    /// It has none, or too many.
    pub fn items(&self) -> Result<Vec<Value>> {
        limits::items(match self {
            Value::Generator(left) => left.len(),
            _ => self.length().unwrap_or(0),
        })?;
        Ok(match self {
            Value::Undefined(_) => Vec::new(),
            Value::Str(text) => text.chars().map(|c| Value::from(&*c.encode_utf8(&mut [0; 4]))).collect(),
            Value::List(items) | Value::Tuple(items) => items.to_vec(),
            Value::Dict(dict) => dict.entries().iter().map(|(k, _)| k.clone()).collect(),
            Value::View(view, dict) => dict.entries().iter().map(|entry| view.item(entry)).collect(),
            Value::Range(range) => range.items().collect(),
            Value::Generator(left) => left.take(),
            _ => return Err(Failure::new(format!("{:?} object is not iterable", Class(self)))),
        })
    }
}

/// The type of a value between quotes, for messages.
pub struct Class<'a>(pub &'a Value);

impl std::fmt::Debug for Class<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "'{}'", self.0.class())
    }
}

/// Whether it can be a key of a dict.
pub fn hashable(key: &Value) -> Result<()> {
    match key {
        Value::List(_) | Value::Dict(_) | Value::View(..) => {
            Err(Failure::new(format!("a {} cannot be a key", key.class())))
        }
        Value::Tuple(items) => deeper(|| items.iter().try_for_each(hashable)),
        _ => Ok(()),
    }
}

/// How deep lists may lie in lists where they are compared, printed or written as JSON.
pub const DEPTH: usize = 200;

/// What `==` says.
pub fn equal(a: &Value, b: &Value) -> bool {
    equal_below(a, b, DEPTH)
}

fn equal_below(a: &Value, b: &Value, depth: usize) -> bool {
    let texts = if let (Value::Str(a), Value::Str(b)) = (a, b) { a.len().min(b.len()) / 64 } else { 0 };
    // Lists that hold one list many times over have no end in sight; the next step of the template fails.
    if !spend_all(1 + texts) {
        return false;
    }
    let all = |a: &[Value], b: &[Value]| {
        depth > 0 && a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal_below(a, b, depth - 1))
    };
    match (a, b) {
        (Value::Undefined(_), Value::Undefined(_)) | (Value::None, Value::None) => true,
        (Value::Str(a), Value::Str(b)) => a.text == b.text,
        (Value::Float(a), Value::Float(b)) => a.partial_cmp(b).is_some_and(std::cmp::Ordering::is_eq),
        (Value::Float(f), other) | (other, Value::Float(f)) => {
            other.as_int().is_some_and(|i| whole(*f).is_some_and(|f| f == i))
        }
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => all(a, b),
        (Value::Dict(a), Value::Dict(b)) => {
            let same = |(k, v): &(Value, Value)| b.get(k).is_some_and(|other| equal_below(v, other, depth - 1));
            depth > 0 && a.entries().len() == b.entries().len() && a.entries().iter().all(same)
        }
        (Value::View(va, a), Value::View(vb, b)) => va == vb && Rc::ptr_eq(a, b),
        (Value::Range(a), Value::Range(b)) => {
            a.len() == b.len() && (a.len() == 0 || (a.start == b.start && (a.len() == 1 || a.step == b.step)))
        }
        (Value::Generator(a), Value::Generator(b)) => Rc::ptr_eq(a, b),
        (Value::Function(a), Value::Function(b)) => a == b,
        (Value::Object(a), Value::Object(b)) => Rc::ptr_eq(a, b),
        _ => a.as_int().zip(b.as_int()).is_some_and(|(a, b)| a == b),
    }
}

/// The integer that a float is, if it is one.
#[allow(clippy::cast_possible_truncation, reason = "checked to be whole and within the range of i128")]
pub fn whole(f: f64) -> Option<i128> {
    (f.is_finite() && f.fract() == 0.0 && f.abs() < 1.7e38).then_some(f as i128)
}

/// The nearest float of an integer.
#[allow(clippy::cast_precision_loss, reason = "Python rounds alike")]
pub fn float(i: i128) -> f64 {
    i as f64
}

thread_local! {
    static BURIED: RefCell<Vec<Value>> = const { RefCell::new(Vec::new()) };
    static BURYING: Cell<bool> = const { Cell::new(false) };
}

/// Drop values without a call on the stack for each level: a loop of a template can make a list in a list in a list. Whatever
/// holds values calls it when it is dropped.
pub fn bury(values: impl IntoIterator<Item = Value>) {
    for value in values {
        let holds = matches!(
            value,
            Value::List(_)
                | Value::Tuple(_)
                | Value::Dict(_)
                | Value::View(..)
                | Value::Generator(_)
                | Value::Method(..)
                | Value::Object(_)
        );
        if !holds {
            continue;
        }
        let mut kept = Some(value);
        // Where a thread is ending its own variables are gone, and what is left is dropped as usual.
        let _ = BURIED.try_with(|buried| buried.borrow_mut().extend(kept.take()));
    }
    if BURYING.try_with(|burying| burying.replace(true)).unwrap_or(true) {
        return;
    }
    while let Some(value) = BURIED.with(|buried| buried.borrow_mut().pop()) {
        drop(value);
    }
    BURYING.with(|burying| burying.set(false));
}
