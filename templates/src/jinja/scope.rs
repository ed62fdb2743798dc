//! Variables, from the innermost block outwards.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use super::{
    limits::spend_all,
    value::{Value, bury},
};

/// The variables of a block. Macros and loops hold theirs, so that they see later changes, as Python's closures do.
#[derive(Default)]
pub struct Scope {
    variables: RefCell<Vec<(Arc<str>, Value)>>,
    outer: Option<Rc<Scope>>,
}

impl Scope {
    pub fn within(outer: &Rc<Scope>) -> Rc<Self> {
        Rc::new(Self { variables: RefCell::default(), outer: Some(outer.clone()) })
    }

    pub fn get(&self, name: &str) -> Option<Value> {
        let mut scope = self;
        loop {
            let variables = scope.variables.borrow();
            spend_all(variables.len() / 8);
            if let Some((_, value)) = variables.iter().find(|(n, _)| **n == *name) {
                return Some(value.clone());
            }
            scope = scope.outer.as_deref()?;
        }
    }

    /// Set a variable of this block.
    pub fn set(&self, name: &Arc<str>, value: Value) {
        let mut variables = self.variables.borrow_mut();
        spend_all(variables.len() / 8);
        match variables.iter_mut().find(|(n, _)| n == name) {
            Some(variable) => variable.1 = value,
            None => variables.push((name.clone(), value)),
        }
    }

    pub fn clear(&self) {
        let dropped = self.variables.take();
        bury(dropped.into_iter().map(|(_, value)| value));
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        self.clear();
    }
}
