//! Addresses: what of one may be shown, whose it is, where a redirect leads.

/// An address as messages show it: what comes after `?` may be a signature.
pub fn without_query(url: &str) -> String {
    url.split(['?', '#']).next().unwrap_or_default().to_owned()
}

/// Scheme, host and port.
pub fn origin(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + 3);
    let end = url[host..].find(['/', '?', '#']).map_or(url.len(), |at| host + at);
    &url[..end]
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
        for (to, is) in
            [("https://x/y", "https://x/y"), ("/y", "https://h"), ("//x/y", "https://x/y"), ("y", "https://h/a/y")]
        {
            let is = if to == "/y" { format!("{is}/y") } else { is.to_owned() };
            assert_eq!(join_url("https://h/a/b?c", to), is, "{to}");
        }
    }
}
