//! Python's slices.

use super::{
    failure::{Failure, Result},
    limits,
    value::{Class, Text, Value},
};

/// `value[start:stop:step]`.
pub fn slice(value: &Value, bounds: [Option<Value>; 3]) -> Result<Value> {
    if let Some(failure) = value.missing() {
        return Err(failure);
    }
    let mut whole = [None; 3];
    for (whole, bound) in whole.iter_mut().zip(bounds) {
        *whole = match bound {
            None | Some(Value::None) => None,
            Some(bound) => match bound.as_int() {
                Some(int) => Some(int),
                None => return Ok(Value::undefined(format!("a slice needs integers, not {:?}", Class(&bound)))),
            },
        };
    }
    let [start, stop, step] = whole;
    let step = step.unwrap_or(1);
    if step == 0 {
        return Err(Failure::new("the step of a slice is 0"));
    }
    match value {
        Value::Str(text) => {
            if step == 1 && text.is_ascii() {
                let (from, to) = limits(text.len(), start, stop);
                let part: &str = &text[from..to.max(from)];
                return Ok(Value::Str(Text { text: part.into(), html: text.html }));
            }
            limits::spell(text)?;
            let chars: Vec<char> = text.chars().collect();
            let part: String = indices(chars.len(), start, stop, step).map(|i| chars[i]).collect();
            Ok(Value::Str(Text { text: part.into(), html: text.html }))
        }
        Value::List(items) => {
            Ok(Value::list(indices(items.len(), start, stop, step).map(|i| items[i].clone()).collect()))
        }
        Value::Tuple(items) => {
            Ok(Value::tuple(indices(items.len(), start, stop, step).map(|i| items[i].clone()).collect()))
        }
        Value::Range(_) => {
            let items = value.items()?;
            Ok(Value::list(indices(items.len(), start, stop, step).map(|i| items[i].clone()).collect()))
        }
        // The sandbox takes it for an item that is not there.
        _ => Ok(Value::undefined(format!("a {:?} cannot be sliced", Class(value)))),
    }
}

/// Bounds of a slice with step 1, within the length.
pub fn limits(length: usize, start: Option<i128>, stop: Option<i128>) -> (usize, usize) {
    let place = |bound: i128| {
        let length = i128::try_from(length).unwrap_or(i128::MAX);
        let bound = if bound < 0 { bound.saturating_add(length).max(0) } else { bound.min(length) };
        usize::try_from(bound).unwrap_or(usize::MAX)
    };
    (start.map_or(0, place), stop.map_or(length, place))
}

/// The indices that a slice takes, in its order.
fn indices(length: usize, start: Option<i128>, stop: Option<i128>, step: i128) -> impl Iterator<Item = usize> {
    let length = i128::try_from(length).unwrap_or(i128::MAX);
    let (lowest, highest) = if step > 0 { (0, length) } else { (-1, length - 1) };
    let place = |bound: i128| {
        let bound = if bound < 0 { bound.saturating_add(length) } else { bound };
        bound.clamp(lowest, highest)
    };
    let (first, last) = if step > 0 { (0, length) } else { (length - 1, -1) };
    let (start, stop) = (start.map_or(first, place), stop.map_or(last, place));
    let mut at = start;
    std::iter::from_fn(move || {
        let inside = if step > 0 { at < stop } else { at > stop };
        let index = inside.then(|| usize::try_from(at).ok()).flatten();
        at = at.saturating_add(step);
        index
    })
}
