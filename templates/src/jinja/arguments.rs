//! The arguments of a call, and what they are called.

use std::sync::Arc;

use super::{
    failure::{Failure, Result},
    value::{Class, Value},
};

/// What a call gives, by position and by name.
#[derive(Default)]
pub struct Arguments {
    pub positional: Vec<Value>,
    pub named: Vec<(Arc<str>, Value)>,
}

impl Arguments {
    /// The arguments of `function`, in the order of its parameters.
    pub fn bind<const N: usize>(self, function: &str, parameters: [&str; N]) -> Result<[Option<Value>; N]> {
        if self.positional.len() > N {
            let given = self.positional.len();
            return Err(Failure::new(format!("`{function}` takes {N} arguments at most, not {given}")));
        }
        let mut bound = [const { None }; N];
        for (place, value) in bound.iter_mut().zip(self.positional) {
            *place = Some(value);
        }
        for (name, value) in self.named {
            let place = parameters.iter().position(|p| *p == &*name && !p.is_empty());
            match place.map(|i| &mut bound[i]) {
                Some(place @ None) => *place = Some(value),
                Some(_) => return Err(Failure::new(format!("`{function}` gets `{name}` twice"))),
                None => return Err(Failure::new(format!("`{function}` has no argument called `{name}`"))),
            }
        }
        Ok(bound)
    }

    /// That there are none.
    pub fn none(self, function: &str) -> Result<()> {
        self.bind(function, []).map(|_| ())
    }
}

/// An argument that must be there.
pub fn required(value: Option<Value>, function: &str) -> Result<Value> {
    value.ok_or_else(|| Failure::new(format!("`{function}` needs another argument")))
}

/// An argument as an integer, where it is there.
pub fn int(value: Option<&Value>, function: &str) -> Result<Option<i128>> {
    value
        .map(|v| {
            let wanted = || Failure::new(format!("`{function}` wants an integer, not {:?}", Class(v)));
            v.as_int().ok_or_else(wanted)
        })
        .transpose()
}

/// The same, where None stands for none.
pub fn int_or_none(value: Option<&Value>, function: &str) -> Result<Option<i128>> {
    int(value.filter(|v| !matches!(v, Value::None)), function)
}

/// An argument as a string.
pub fn text<'a>(value: &'a Value, function: &str) -> Result<&'a str> {
    value.as_str().ok_or_else(|| Failure::new(format!("`{function}` wants a string, not {:?}", Class(value))))
}
