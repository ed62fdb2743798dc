//! Sorting as `sorted` does it: stable, and an error where two values have no order.

use std::cmp::Ordering;

use super::failure::Result;

/// `items` in order. The standard library's sort may panic where an order is none, as among NaNs.
pub fn sort<T: Clone>(items: Vec<T>, compare: &dyn Fn(&T, &T) -> Result<Option<Ordering>>) -> Result<Vec<T>> {
    if items.len() < 2 {
        return Ok(items);
    }
    let mut left = items;
    let right = left.split_off(left.len() / 2);
    let (left, right) = (sort(left, compare)?, sort(right, compare)?);
    let mut sorted = Vec::with_capacity(left.len() + right.len());
    let (mut left, mut right) = (left.into_iter().peekable(), right.into_iter().peekable());
    while let (Some(a), Some(b)) = (left.peek(), right.peek()) {
        let right_first = compare(b, a)? == Some(Ordering::Less);
        sorted.extend(if right_first { right.next() } else { left.next() });
    }
    sorted.extend(left.chain(right));
    Ok(sorted)
}
