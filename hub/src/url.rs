//! Addresses: what of one may be shown, whose it is, where a redirect leads.

use std::{net::IpAddr, ops::Range};

/// An address as messages show it: what comes after `?` may be a signature, and what comes before `@` a password.
pub fn without_query(url: &str) -> String {
    let plain = url.split(['?', '#']).next().unwrap_or_default();
    let host = authority(plain);
    let user = plain[host.clone()].rfind('@').map_or(0, |at| at + 1);
    format!("{}{}", &plain[..host.start], &plain[host.start + user..])
}

/// Scheme, host and port.
pub fn origin(url: &str) -> String {
    without_query(&url[..authority(url).end])
}

/// Where host and port are, and what names a user before them.
fn authority(url: &str) -> Range<usize> {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    start..end
}

/// Whether a request to this address leaves the machine as anybody on the way can read it.
pub fn is_open(url: &str) -> bool {
    let Some(rest) = url.strip_prefix("http://") else { return false };
    let host = origin(url).trim_start_matches("http://").to_ascii_lowercase();
    let name =
        host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|b| b.is_ascii_digit())).map_or(&*host, |h| h.0);
    let name = name.trim_start_matches('[').trim_end_matches(']');
    let loopback = name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    !rest.is_empty() && !loopback && name != "localhost" && !name.ends_with(".localhost")
}

/// A text without what addresses in it would give away.
pub fn redacted(text: &str) -> String {
    let clean = |word: &str| if word.contains("://") { without_query(word) } else { word.to_owned() };
    text.split(' ').map(clean).collect::<Vec<_>>().join(" ")
}

/// Where `to` leads when it is met at `from`.
pub fn join_url(from: &str, to: &str) -> String {
    if to.starts_with("http://") || to.starts_with("https://") {
        to.to_owned()
    } else if to.starts_with("//") {
        format!("{}:{to}", from.split(':').next().unwrap_or("https"))
    } else if to.starts_with('/') {
        format!("{}{to}", origin(from))
    } else {
        let plain = without_query(from);
        format!("{}/{to}", plain.rsplit_once('/').map_or(plain.as_str(), |(folder, _)| folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        assert_eq!(origin("https://h:1/a?b"), "https://h:1");
        assert_eq!(origin("https://h"), "https://h");
        assert_eq!(without_query("https://h/a?X-Signature=secret"), "https://h/a");
        assert_eq!(without_query("https://user:p@ss@h:1/a@b"), "https://h:1/a@b");
        // Whoever is named before the `@` is not the host.
        assert_eq!(origin("https://huggingface.co@evil.example/x"), "https://evil.example");
        assert_eq!(origin("https://evil.example?@huggingface.co"), "https://evil.example");
        assert_eq!(
            redacted("at https://u:p@h/x?X-Amz-Signature=1 (see http://h/a#b) now"),
            "at https://h/x (see http://h/a now"
        );
        let open = ["http://hub.lab", "http://0.0.0.0:80/x", "http://localhost.lab", "http://[2001:db8::1]:80"];
        assert!(open.iter().all(|url| is_open(url)));
        let kept = [
            "https://hub.lab",
            "http://127.0.0.1:80/x",
            "http://localhost:80",
            "http://a.LOCALHOST",
            "http://[::1]:80",
        ];
        assert!(kept.iter().all(|url| !is_open(url)));
        for (to, is) in
            [("https://x/y", "https://x/y"), ("/y", "https://h"), ("//x/y", "https://x/y"), ("y", "https://h/a/y")]
        {
            let is = if to == "/y" { format!("{is}/y") } else { is.to_owned() };
            assert_eq!(join_url("https://h/a/b?c", to), is, "{to}");
        }
    }
}
