//! E-mail and IP addresses.

use std::{
    net::{Ipv4Addr, Ipv6Addr},
    ops::Range,
    sync::LazyLock,
};

use regex::Regex;

use super::{Found, Regions, words};
use crate::spaceless::is_spaceless;

/// Characters before and after the `@` of an address, at most (RFC 5321, section 4.5.3.1).
const LOCAL: usize = 64;
const DOMAIN: usize = 255;

/// Addresses as people write them: letters, digits and `._%+-` of ASCII, then labels of letters, digits and dashes, the last of two
/// letters or more.
pub fn emails(text: &str) -> Vec<Range<usize>> {
    let bytes = text.as_bytes();
    let local = |b: &u8| b.is_ascii_alphanumeric() || b"._%+-".contains(b);
    let mut ranges: Vec<Range<usize>> = Vec::new();
    for at in memchr::memchr_iter(b'@', bytes) {
        let from = ranges.last().map_or(0, |last| last.end).max(at.saturating_sub(LOCAL));
        let mut start = at - bytes[from..at].iter().rev().take_while(|b| local(b)).count();
        while start < at && matches!(bytes[start], b'.' | b'%' | b'+' | b'-') {
            start += 1;
        }
        let end = (at + 1 + DOMAIN).min(bytes.len());
        let domain = &bytes[at + 1..end];
        let length = domain.iter().take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-')).count();
        let Some(end) = domain_end(&domain[..length]).map(|length| at + 1 + length) else { continue };
        let before = text[..start].chars().next_back();
        let after = text[end..].chars().next();
        // Scripts without spaces stand right beside it.
        let beside = |c: char| (c.is_alphanumeric() && !is_spaceless(c)) || c == '@';
        let whole = !before.is_some_and(beside) && !after.is_some_and(beside);
        if start < at && bytes[at - 1] != b'.' && whole && !is_no_address(text, &(start..end)) {
            ranges.push(start..end);
        }
    }
    ranges
}

/// What the last label of names of files is, which stand behind an `@` too: `icon@2x.png`, `getty@tty1.service`.
const FILES: &[&str] = &[
    "css", "gif", "header", "html", "jpeg", "jpg", "js", "md", "mount", "png", "po", "pot", "py", "service", "socket",
    "svg", "target", "timer", "ts", "webp", "whl",
];

/// Whether it is the name of a file, a place of ssh (`git@host:path`), or a user in an address of the web.
fn is_no_address(text: &str, range: &Range<usize>) -> bool {
    let (found, after) = (&text[range.clone()], &text[range.end..]);
    let file = found.rsplit('.').next().is_some_and(|end| FILES.contains(&end.to_ascii_lowercase().as_str()));
    let path = after.strip_prefix(':').and_then(|path| path.chars().next());
    let path = path.is_some_and(|c| c.is_alphanumeric() || c == '/');
    let word = text[..range.start].rfind(|c: char| c.is_ascii_whitespace() || matches!(c, '<' | '"' | '('));
    file || path || text[word.map_or(0, |at| at + 1)..range.start].contains("://")
}

/// Where a name of a host ends that these bytes begin with: after its last label of letters, not after a full stop.
fn domain_end(domain: &[u8]) -> Option<usize> {
    let (mut at, mut labels, mut end) = (0, 0, None);
    for label in domain.split(|b| *b == b'.') {
        if label.is_empty() || label.starts_with(b"-") || label.ends_with(b"-") || label.len() > 63 {
            break;
        }
        labels += 1;
        at += label.len();
        if labels > 1 && label.len() > 1 && (label.iter().all(u8::is_ascii_alphabetic) || label.starts_with(b"xn--")) {
            end = Some(at);
        }
        at += 1;
    }
    end
}

static ADDRESS: LazyLock<Regex> = LazyLock::new(|| {
    let text = r"(?-u)(?:[0-9]{1,3}(?:\.[0-9]{1,3}){3}|[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7})";
    Regex::new(text).unwrap_or_else(|e| unreachable!("{e}"))
});
static WORDS: LazyLock<Regex> = LazyLock::new(|| {
    words(r"https?|ssh|ftp|ip(?:v?[46])?|(?:indirizz[oi]|address(?:es)?) +ip(?:v?[46])?|server|host|dns|gateway")
});

/// Public addresses of version 4 and 6.
pub fn addresses(text: &str, regions: &Regions, named: bool) -> Vec<Range<usize>> {
    let may = regions.with(|holds| holds.full_stops >= 3 || holds.colons >= 2);
    super::each_beside(&ADDRESS, text, (&[':', '/'], may), |found: &Found<'_>| {
        is_public(found.text()) && beside(found) && (!named || found.follows(&WORDS))
    })
}

/// Whether no dot or colon before it makes it a part of a longer number.
fn beside(found: &Found<'_>) -> bool {
    let mut before = found.whole[..found.range.start].chars().rev();
    let goes_on = matches!(before.next(), Some('.' | ':')) && before.next().is_some_and(char::is_alphanumeric);
    !goes_on
}

/// Whether it is an address that the public network knows (registries of IANA for special purposes).
fn is_public(text: &str) -> bool {
    if let Ok(v4) = text.parse::<Ipv4Addr>() {
        let [a, b, c, _] = v4.octets();
        let special = v4.is_private()
            || v4.is_loopback()
            || v4.is_link_local()
            || v4.is_broadcast()
            || v4.is_documentation()
            || a == 0
            || a >= 224
            || (a == 100 && (64..128).contains(&b))
            || (a == 192 && b == 0 && c == 0)
            || (a == 198 && (b == 18 || b == 19));
        return !special;
    }
    text.parse::<Ipv6Addr>().is_ok_and(|v6| {
        let [first, second, ..] = v6.segments();
        // Unicast addresses are given out of 2000::/3; 2001:db8::/32 is for documentation.
        first & 0xe000 == 0x2000 && !(first == 0x2001 && second == 0xdb8)
    })
}
