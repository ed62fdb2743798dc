//! Macros and loops as values.

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
};

use super::{
    arguments::Arguments,
    failure::{Failure, Result},
    scope::Scope,
    syntax::{For, Macro},
    text::repr,
    value::{Object, Value, bury, equal},
};

/// A macro, or the block of a call, where it was defined.
pub struct MacroValue {
    pub node: Arc<Macro>,
    pub scope: Rc<Scope>,
}

impl Object for MacroValue {
    fn class(&self) -> &'static str {
        "Macro"
    }

    fn attribute(&self, name: &str, _: &Value) -> Option<Value> {
        let node = &self.node;
        match name {
            "name" => Some(node.name.as_deref().map_or(Value::None, Value::from)),
            "arguments" => Some(Value::list(node.parameters.iter().map(|(name, _)| Value::from(&**name)).collect())),
            "caller" => Some(Value::Bool(node.caller)),
            "catch_kwargs" => Some(Value::Bool(node.kwargs)),
            "catch_varargs" => Some(Value::Bool(node.varargs)),
            _ => None,
        }
    }

    fn printed(&self, _: usize) -> Result<Option<String>> {
        let name = self.node.name.as_deref().map_or(Ok("anonymous".into()), |name| repr(&Value::from(name)))?;
        Ok(Some(format!("<Macro {name}>")))
    }
}

/// `loop` within a loop.
pub struct Loop {
    pub node: Arc<For>,
    /// Where the loop stands.
    pub scope: Rc<Scope>,
    pub items: Vec<Value>,
    pub at: Cell<usize>,
    /// How many loops that called themselves this one is in.
    pub depth0: usize,
    pub changed: RefCell<Option<Vec<Value>>>,
}

impl Drop for Loop {
    fn drop(&mut self) {
        bury(std::mem::take(&mut self.items));
        bury(self.changed.take().into_iter().flatten());
    }
}

impl Loop {
    /// `loop.cycle` and `loop.changed`.
    pub fn call(&self, name: &str, arguments: Arguments) -> Result<Value> {
        if !arguments.named.is_empty() {
            return Err(Failure::new(format!("`loop.{name}` takes no names")));
        }
        let given = arguments.positional;
        if name == "cycle" {
            if given.is_empty() {
                return Err(Failure::new("`loop.cycle` needs an item"));
            }
            return Ok(given[self.at.get() % given.len()].clone());
        }
        let same = |last: &Vec<Value>| last.len() == given.len() && last.iter().zip(&given).all(|(a, b)| equal(a, b));
        let changed = !self.changed.borrow().as_ref().is_some_and(same);
        if changed {
            self.changed.replace(Some(given));
        }
        Ok(Value::Bool(changed))
    }
}

impl Object for Loop {
    fn class(&self) -> &'static str {
        "LoopContext"
    }

    fn attribute(&self, name: &str, this: &Value) -> Option<Value> {
        let (at, length) = (self.at.get(), self.items.len());
        Some(match name {
            "index" => Value::from(at + 1),
            "index0" => Value::from(at),
            "revindex" => Value::from(length - at),
            "revindex0" => Value::from(length - at - 1),
            "first" => Value::Bool(at == 0),
            "last" => Value::Bool(at + 1 == length),
            "length" => Value::from(length),
            "depth" => Value::from(self.depth0 + 1),
            "depth0" => Value::from(self.depth0),
            "previtem" => match at.checked_sub(1).and_then(|i| self.items.get(i)) {
                Some(item) => item.clone(),
                None => Value::undefined("there is no previous item"),
            },
            "nextitem" => self.items.get(at + 1).cloned().unwrap_or_else(|| Value::undefined("there is no next item")),
            "cycle" => Value::Method(Rc::new(this.clone()), "cycle"),
            "changed" => Value::Method(Rc::new(this.clone()), "changed"),
            _ => return None,
        })
    }

    fn printed(&self, _: usize) -> Result<Option<String>> {
        Ok(Some(format!("<LoopContext {}/{}>", self.at.get() + 1, self.items.len())))
    }

    fn length(&self) -> Option<usize> {
        Some(self.items.len())
    }
}
