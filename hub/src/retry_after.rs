//! How long the Hub asks to wait: `Retry-After` in seconds or as a date, or the `t` of its `RateLimit`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ureq::http::HeaderMap;

/// The wait that an answer asks for, if it names one.
pub fn requested_wait(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    // A date counts from the clock that it was written by: ours may be off.
    let now =
        || text("date").and_then(date).or_else(|| Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs()));
    let after = |text: &str| text.parse().ok().or_else(|| Some(date(text)?.saturating_sub(now()?)));
    let limit =
        || text("ratelimit")?.split(';').filter_map(|p| p.trim().strip_prefix("t=")).find_map(|t| t.parse().ok());
    text("retry-after").and_then(after).or_else(limit).map(Duration::from_secs)
}

/// Seconds since 1970 of a date as HTTP has it.
fn date(text: &str) -> Option<u64> {
    Some(httpdate::parse_http_date(text).ok()?.duration_since(UNIX_EPOCH).ok()?.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &str)]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap_or_else(|_| panic!("{value}")));
        }
        requested_wait(&headers).map(|d| d.as_secs())
    }

    #[test]
    fn waits_are_read_from_every_header() {
        assert_eq!(of(&[("retry-after", "7")]), Some(7));
        assert_eq!(of(&[("ratelimit", "\"api\";r=0;t=55")]), Some(55));
        assert_eq!(of(&[("retry-after", "soon")]), None);
        let sent = ("date", "Sun, 06 Nov 1994 08:49:30 GMT");
        assert_eq!(of(&[sent, ("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(7));
        assert_eq!(of(&[sent, ("retry-after", "Sun, 06 Nov 1994 08:49:00 GMT")]), Some(0), "it is over");
        assert_eq!(of(&[("retry-after", "Sun, 06 Nov 1994 08:49:37 GMT")]), Some(0), "by our own clock");
    }
}
