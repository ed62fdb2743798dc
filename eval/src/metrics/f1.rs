//! F1 of classes: twice what was found rightly, over what was found and what was to be found.

/// Of the class `class`; 0 where it neither is nor was chosen, as scikit-learn has it.
pub fn of_class(pairs: impl Iterator<Item = (usize, usize)>, class: usize) -> f64 {
    let (mut both, mut either) = (0.0, 0.0);
    for (right, chosen) in pairs {
        let (is, was) = (right == class, chosen == class);
        both += 2.0 * f64::from(u8::from(is && was));
        either += f64::from(u8::from(is)) + f64::from(u8::from(was));
    }
    if either > 0.0 { both / either } else { 0.0 }
}

/// The mean over the classes that are right or were chosen somewhere: scikit-learn's `macro`.
#[allow(clippy::cast_precision_loss, reason = "a count of classes")]
pub fn mean(pairs: impl Iterator<Item = (usize, usize)>) -> f64 {
    let pairs: Vec<(usize, usize)> = pairs.collect();
    let mut classes: Vec<usize> = pairs.iter().flat_map(|(right, chosen)| [*right, *chosen]).collect();
    classes.sort_unstable();
    classes.dedup();
    let sum: f64 = classes.iter().map(|class| of_class(pairs.iter().copied(), *class)).sum();
    sum / classes.len().max(1) as f64
}

/// SENTIPOLC's of the answers positive, negative, neutral and mixed: whether a text is positive and whether it is negative are two
/// questions, and the mean of the F1 of yes and no is taken of each.
pub fn sentiment(pairs: impl Iterator<Item = (usize, usize)>) -> f64 {
    let pairs: Vec<(usize, usize)> = pairs.collect();
    let asked = |yes: [usize; 2]| {
        let each = |class: usize| {
            let of = |label: usize| usize::from(yes.contains(&label));
            of_class(pairs.iter().map(|(right, chosen)| (of(*right), of(*chosen))), class)
        };
        f64::midpoint(each(0), each(1))
    };
    f64::midpoint(asked([0, 3]), asked([1, 3]))
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAIRS: [(usize, usize); 10] =
        [(0, 0), (0, 1), (1, 1), (1, 1), (2, 0), (3, 3), (3, 1), (2, 2), (1, 0), (0, 0)];

    #[test]
    fn they_are_those_of_scikit_learn() {
        // f1_score(right, chosen, average=None), and average="macro"
        let each: Vec<f64> = (0..4).map(|class| of_class(PAIRS.into_iter(), class)).collect();
        let expected = [4.0 / 7.0, 4.0 / 7.0, 2.0 / 3.0, 2.0 / 3.0];
        assert!(each.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-15), "{each:?}");
        assert!((mean(PAIRS.into_iter()) - 0.619_047_619_047_619).abs() < 1e-15);
        assert!(of_class([(0, 0)].into_iter(), 1).abs() < 1e-15);
        // lm_eval's metrics._aggreg_sa of the same
        assert!((sentiment(PAIRS.into_iter()) - SENTIMENT).abs() < 1e-12, "{}", sentiment(PAIRS.into_iter()));
    }

    const SENTIMENT: f64 = 0.7;
}
