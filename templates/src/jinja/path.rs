//! What filters call an attribute.

use super::{attributes, failure::Result, value::Value};

/// `attribute` of a filter: names and indices with dots between.
pub struct Path(pub Vec<Value>);

impl Path {
    pub fn new(attribute: Option<&Value>) -> Self {
        match attribute {
            None | Some(Value::None) => Self(Vec::new()),
            Some(Value::Str(text)) => Self(text.split('.').map(Self::part).collect()),
            Some(index) => Self(vec![index.clone()]),
        }
    }

    fn part(part: &str) -> Value {
        let digits = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        part.parse().ok().filter(|_| digits).map_or_else(|| Value::from(part), Value::Int)
    }

    pub fn of(&self, item: &Value) -> Result<Value> {
        let mut value = item.clone();
        for part in &self.0 {
            value = attributes::item(&value, part)?;
        }
        Ok(value)
    }
}
