//! Functions of one number that neither overflow nor cancel.

/// A count as a number.
#[allow(clippy::cast_precision_loss, reason = "far fewer than 2^53 rows and tokens")]
pub(crate) fn float(count: u64) -> f64 {
    count as f64
}

/// A sum over `count` things as a mean; 0 of nothing.
pub fn mean(sum: f64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum / float(count) }
}

/// Logistic function, 1 / (1 + e^-x).
pub fn sigmoid(x: f64) -> f64 {
    log_sigmoid(x).exp()
}

/// Its logarithm, -ln(1 + e^-x), from the side on which the exponential is small.
pub fn log_sigmoid(x: f64) -> f64 {
    x.min(0.0) - (-x.abs()).exp().ln_1p()
}

/// ln(1 - e^x) for x < 0. Near 0 the difference is taken by expm1, far from it the logarithm by log1p; they meet at -ln 2
/// (Mächler, "Accurately computing log(1 - exp(-|a|))").
pub fn log_1m_exp(x: f64) -> f64 {
    if x > -std::f64::consts::LN_2 { (-x.exp_m1()).ln() } else { (-x.exp()).ln_1p() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn far_out() {
        // To the last digits; values from the series at each end.
        let table = [
            (log_sigmoid(0.0), -std::f64::consts::LN_2),
            (log_sigmoid(1e4), 0.0),
            (log_sigmoid(-1e4), -1e4),
            (log_sigmoid(40.0), -(-40.0_f64).exp()),
            (sigmoid(0.0), 0.5),
            (sigmoid(1e4), 1.0),
            (sigmoid(-1e4), 0.0),
            (sigmoid(-40.0), (-40.0_f64).exp()),
            (log_1m_exp(-1e4), 0.0),
            (log_1m_exp(-40.0), -(-40.0_f64).exp()),
            (log_1m_exp(-1e-12), 1e-12_f64.ln() - 0.5e-12),
            (log_1m_exp(-std::f64::consts::LN_2), -std::f64::consts::LN_2),
        ];
        for (i, (got, want)) in table.into_iter().enumerate() {
            assert!((got - want).abs() <= 1e-14 * want.abs(), "{i}: {got:e} instead of {want:e}");
        }
    }
}
