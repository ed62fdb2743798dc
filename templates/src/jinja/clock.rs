//! The moment that `strftime_now` sees, and C's formats of it.
//! Source: <https://docs.python.org/3/library/datetime.html#strftime-and-strptime-format-codes>

use std::fmt;

use super::failure::{Failure, Result};

/// A moment without a time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    year: i64,
    month: u32,
    day: u32,
    /// Of the day.
    second: u32,
}

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

impl fmt::Display for Clock {
    /// The date alone: `2026-01-31`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl Clock {
    /// Midnight of a date such as `2026-01-31`; `None` if it is none.
    pub fn date(text: &str) -> Option<Self> {
        let shaped = text.len() == 10
            && text.bytes().enumerate().all(|(i, b)| if matches!(i, 4 | 7) { b == b'-' } else { b.is_ascii_digit() });
        if !shaped {
            return None;
        }
        let (year, month, day): (i64, u32, u32) =
            (text[..4].parse().ok()?, text[5..7].parse().ok()?, text[8..].parse().ok()?);
        let known = year > 0 && (1..=12).contains(&month) && (1..=length(year, month)).contains(&day);
        known.then_some(Self { year, month, day, second: 0 })
    }

    /// So many seconds after the beginning of 1970.
    pub fn unix(seconds: i64) -> Self {
        let (mut days, second) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
        let mut year = 1970;
        // 146,097 days are 400 years.
        year += 400 * days.div_euclid(146_097);
        days = days.rem_euclid(146_097);
        while days >= 365 + i64::from(leap(year)) {
            days -= 365 + i64::from(leap(year));
            year += 1;
        }
        let mut month = 1;
        while days >= i64::from(length(year, month)) {
            days -= i64::from(length(year, month));
            month += 1;
        }
        let small = |n: i64| u32::try_from(n).unwrap_or(0);
        Self { year, month, day: small(days) + 1, second: small(second) }
    }

    /// Days before it in its year.
    fn days_before(self) -> u32 {
        (1..self.month).map(|m| length(self.year, m)).sum::<u32>() + self.day - 1
    }

    /// 0 is Monday.
    fn weekday(self) -> u32 {
        let before = self.year - 1;
        let days = before * 365 + before / 4 - before / 100 + before / 400 + i64::from(self.days_before());
        u32::try_from(days.rem_euclid(7)).unwrap_or(0)
    }

    /// The ISO year and week.
    fn iso_week(self) -> (i64, u32) {
        let week = (self.days_before() + 10 - (self.weekday() + 1) + 1) / 7;
        let weeks = |year: i64| {
            let first = Self { year, month: 1, day: 1, second: 0 }.weekday();
            if first == 3 || (first == 2 && leap(year)) { 53 } else { 52 }
        };
        match week {
            0 => (self.year - 1, weeks(self.year - 1)),
            week if week > weeks(self.year) => (self.year + 1, 1),
            week => (self.year, week),
        }
    }

    /// The moment as C's `strftime` writes it in the locale C.
    ///
    /// # Errors
    /// A directive that C does not know.
    pub fn strftime(self, format: &str) -> Result<String> {
        let mut out = String::new();
        let mut chars = format.chars();
        while let Some(c) = chars.next() {
            if c != '%' {
                out.push(c);
                continue;
            }
            let mut directive = chars.next();
            // glibc's flags: no zeros, spaces or zeros before a number, capitals.
            let flag = directive.filter(|c| matches!(c, '-' | '_' | '0' | '^'));
            if flag.is_some() {
                directive = chars.next();
            }
            let Some(directive) = directive else {
                out.push('%');
                out.extend(flag);
                break;
            };
            let text = self.directive(directive, flag)?;
            out.push_str(&if flag == Some('^') { text.to_uppercase() } else { text });
        }
        Ok(out)
    }

    fn directive(self, directive: char, flag: Option<char>) -> Result<String> {
        let number = |value: i64, width: usize, fill: char| match flag {
            Some('-') => value.to_string(),
            Some('_') => format!("{value:width$}"),
            Some('0') => format!("{value:0width$}"),
            _ if fill == ' ' => format!("{value:width$}"),
            _ => format!("{value:0width$}"),
        };
        let two = |value: u32| number(i64::from(value), 2, '0');
        let (hour, minute, second) = (self.second / 3600, self.second / 60 % 60, self.second % 60);
        let twelve = if hour % 12 == 0 { 12 } else { hour % 12 };
        let month = MONTHS[usize::try_from(self.month - 1).unwrap_or(0)];
        let weekday = self.weekday();
        let day = DAYS[usize::try_from(weekday).unwrap_or(0)];
        let within = |format: &str| self.strftime(format);
        Ok(match directive {
            'a' => day[..3].into(),
            'A' => day.into(),
            'b' | 'h' => month[..3].into(),
            'B' => month.into(),
            'c' => within("%a %b %e %H:%M:%S %Y")?,
            'C' => number(self.year / 100, 2, '0'),
            'd' => two(self.day),
            'D' | 'x' => within("%m/%d/%y")?,
            'e' => number(i64::from(self.day), 2, ' '),
            'f' => "000000".into(),
            'F' => within("%Y-%m-%d")?,
            'g' => number(self.iso_week().0 % 100, 2, '0'),
            'G' => number(self.iso_week().0, 4, '0'),
            'H' => two(hour),
            'I' => two(twelve),
            'j' => number(i64::from(self.days_before() + 1), 3, '0'),
            'k' => number(i64::from(hour), 2, ' '),
            'l' => number(i64::from(twelve), 2, ' '),
            'm' => two(self.month),
            'M' => two(minute),
            'n' => "\n".into(),
            'p' => if hour < 12 { "AM" } else { "PM" }.into(),
            'P' => if hour < 12 { "am" } else { "pm" }.into(),
            'r' => within("%I:%M:%S %p")?,
            'R' => within("%H:%M")?,
            'S' => two(second),
            't' => "\t".into(),
            'T' | 'X' => within("%H:%M:%S")?,
            'u' => (weekday + 1).to_string(),
            'U' => two((self.days_before() + 7 - (weekday + 1) % 7) / 7),
            'V' => two(self.iso_week().1),
            'w' => ((weekday + 1) % 7).to_string(),
            'W' => two((self.days_before() + 7 - weekday) / 7),
            'y' => number(self.year % 100, 2, '0'),
            'Y' => number(self.year, 4, '0'),
            // A moment without a zone has no name and no offset of one.
            'z' | 'Z' => String::new(),
            '%' => "%".into(),
            other => return Err(Failure::new(format!("`strftime_now`: %{other} is not supported"))),
        })
    }
}

fn leap(year: i64) -> bool {
    (year % 4 == 0 && year % 100 != 0) || year % 400 == 0
}

fn length(year: i64, month: u32) -> u32 {
    match month {
        2 => 28 + u32::from(leap(year)),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}
