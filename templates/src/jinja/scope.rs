//! Variables, from the innermost block outwards.

use std::{cell::RefCell, rc::Rc, sync::Arc};

use super::value::Value;

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
            if let Some((_, value)) = variables.iter().find(|(n, _)| **n == *name) {
                return Some(value.clone());
            }
            scope = scope.outer.as_deref()?;
        }
    }

    /// Set a variable of this block.
    pub fn set(&self, name: &Arc<str>, value: Value) {
        let mut variables = self.variables.borrow_mut();
        match variables.iter_mut().find(|(n, _)| n == name) {
            Some(variable) => variable.1 = value,
            None => variables.push((name.clone(), value)),
        }
    }

    pub fn clear(&self) {
        let dropped = std::mem::take(&mut *self.variables.borrow_mut());
        drop(dropped);
    }
}
