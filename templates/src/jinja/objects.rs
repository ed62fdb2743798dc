//! Objects of the environment that have a state: namespaces, joiners and cyclers.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use super::{
    arguments::Arguments,
    failure::{Failure, Result},
    text::repr_within,
    value::{Dict, Object, Value, bury},
};

/// What `namespace()` gives: its attributes can be set.
pub struct Namespace(RefCell<Dict>);

impl Namespace {
    /// With attributes, none of which begins with an underscore.
    pub fn new(dict: Dict) -> Result<Self> {
        dict.entries().iter().filter_map(|(key, _)| key.as_str()).try_for_each(public)?;
        Ok(Self(RefCell::new(dict)))
    }

    pub fn set(&self, name: &str, value: Value) -> Result<()> {
        public(name)?;
        self.0.borrow_mut().set(name, value);
        Ok(())
    }
}

fn public(name: &str) -> Result<()> {
    if name.starts_with('_') {
        return Err(Failure::new("an attribute of a namespace cannot begin with _"));
    }
    Ok(())
}

impl Object for Namespace {
    fn class(&self) -> &'static str {
        "Namespace"
    }

    fn attribute(&self, name: &str, _: &Value) -> Option<Value> {
        self.0.borrow().named(name).cloned()
    }

    fn printed(&self, depth: usize) -> Result<Option<String>> {
        let attributes = Dict::from_entries(self.0.borrow().entries().to_vec());
        Ok(Some(format!("<Namespace {}>", repr_within(&Value::dict(attributes), depth)?)))
    }
}

/// What `joiner(", ")` gives: nothing at the first call, the separator afterwards.
pub struct Joiner {
    pub separator: Value,
    pub used: Cell<bool>,
}

impl Drop for Joiner {
    fn drop(&mut self) {
        bury([std::mem::replace(&mut self.separator, Value::None)]);
    }
}

impl Joiner {
    pub fn call(&self, arguments: Arguments) -> Result<Value> {
        arguments.none("joiner")?;
        Ok(if self.used.replace(true) { self.separator.clone() } else { Value::from("") })
    }
}

impl Object for Joiner {
    fn class(&self) -> &'static str {
        "Joiner"
    }

    fn attribute(&self, name: &str, _: &Value) -> Option<Value> {
        match name {
            "sep" => Some(self.separator.clone()),
            "used" => Some(Value::Bool(self.used.get())),
            _ => None,
        }
    }

    fn printed(&self, _: usize) -> Result<Option<String>> {
        Ok(None)
    }
}

/// What `cycler(a, b)` gives: one item after the other, and again.
pub struct Cycler {
    items: Vec<Value>,
    at: Cell<usize>,
}

impl Drop for Cycler {
    fn drop(&mut self) {
        bury(std::mem::take(&mut self.items));
    }
}

impl Cycler {
    pub fn new(items: Vec<Value>) -> Result<Self> {
        if items.is_empty() {
            return Err(Failure::new("`cycler` needs an item"));
        }
        Ok(Self { items, at: Cell::new(0) })
    }

    pub fn call(&self, name: &str, arguments: Arguments) -> Result<Value> {
        arguments.none(name)?;
        let at = self.at.get();
        if name == "reset" {
            self.at.set(0);
            return Ok(Value::None);
        }
        self.at.set((at + 1) % self.items.len());
        Ok(self.items[at].clone())
    }
}

impl Object for Cycler {
    fn class(&self) -> &'static str {
        "Cycler"
    }

    fn attribute(&self, name: &str, this: &Value) -> Option<Value> {
        match name {
            "items" => Some(Value::tuple(self.items.clone())),
            "pos" => Some(Value::from(self.at.get())),
            "current" => Some(self.items[self.at.get()].clone()),
            "next" => Some(Value::Method(Rc::new(this.clone()), "next")),
            "reset" => Some(Value::Method(Rc::new(this.clone()), "reset")),
            _ => None,
        }
    }

    fn printed(&self, _: usize) -> Result<Option<String>> {
        Ok(None)
    }
}
