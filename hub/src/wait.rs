//! How long the Hub asks to wait: `Retry-After` in seconds or as a date, or the `t` of its `RateLimit`.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ureq::http::HeaderMap;

const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// The wait that an answer asks for, if it names one.
pub fn asked(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|v| v.to_str().ok()).map(str::trim);
    // A date counts from the clock that it was written by: ours may be off.
    let now =
        || text("date").and_then(date).or_else(|| Some(SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs()));
    let after = |text: &str| text.parse().ok().or_else(|| Some(date(text)?.saturating_sub(now()?)));
    let limit =
        || text("ratelimit")?.split(';').filter_map(|p| p.trim().strip_prefix("t=")).find_map(|t| t.parse().ok());
    text("retry-after").and_then(after).or_else(limit).map(Duration::from_secs)
}

/// Seconds since 1970 of `Sun, 06 Nov 1994 08:49:37 GMT`, the form that RFC 9110 5.6.7 has senders write.
fn date(text: &str) -> Option<u64> {
    let parts: Vec<&str> = text.split_once(", ")?.1.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts[..] else { return None };
    let month = 1 + u64::try_from(MONTHS.iter().position(|m| *m == month)?).ok()?;
    let (day, year): (u64, u64) = (day.parse().ok()?, year.parse().ok()?);
    let clock: Vec<u64> = time.split(':').map(|n| n.parse().ok()).collect::<Option<_>>()?;
    let [hours, minutes, seconds] = clock[..] else { return None };
    if !(1970..=9999).contains(&year) || !(1..=31).contains(&day) || hours > 23 || minutes > 59 || seconds > 60 {
        return None;
    }
    // Years that begin in March have the leap day at their end, where no month's first day depends on it.
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let leap_days = year / 4 - year / 100 + year / 400;
    let days = 365 * year + leap_days + (153 * month + 2) / 5 + day - 1;
    // From 1 March of the year 0 to 1 January 1970.
    Some((days.checked_sub(719_468)?) * 86_400 + hours * 3600 + minutes * 60 + seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(pairs: &[(&'static str, &str)]) -> Option<u64> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.insert(*name, value.parse().unwrap_or_else(|_| panic!("{value}")));
        }
        asked(&headers).map(|d| d.as_secs())
    }

    #[test]
    fn dates_are_those_of_date() {
        // `date -u -d '...' +%s` of GNU coreutils.
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
            ("Sun, 06 Nov 1994 08:49:37 GMT", 784_111_777),
            ("Tue, 29 Feb 2000 23:59:59 GMT", 951_868_799),
            ("Mon, 01 Mar 2100 00:00:00 GMT", 4_107_542_400),
            ("Sat, 21 Nov 2026 16:45:00 GMT", 1_795_279_500),
        ] {
            assert_eq!(date(text), Some(seconds), "{text}");
        }
        for bad in
            ["", "soon", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49 GMT", "Sun, 06 Nev 1994 08:49:37 GMT"]
        {
            assert_eq!(date(bad), None, "{bad}");
        }
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
