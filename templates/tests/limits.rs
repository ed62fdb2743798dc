//! A template that does not come to an end, or needs more than there is, is refused in a moment, and nothing crashes.

use setaccio_base::row::Message;
use setaccio_templates::{End, Renderer};

fn refused(template: &str) -> String {
    let turns = [Message::new("user", "Ciao")];
    match Renderer::new(Some(template), None, "", "") {
        Ok(renderer) => renderer.chat(&turns, None, End::Whole).unwrap_err(),
        Err(error) => error.to_string(),
    }
}

fn nested(open: &str, middle: &str, close: &str, times: usize) -> String {
    format!("{}{middle}{}", open.repeat(times), close.repeat(times))
}

#[test]
fn what_has_no_end_is_refused() {
    let doubled = "{% set ns = namespace(x='ab') %}{% for i in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}";
    let cases = [
        ("{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}", "calls itself"),
        ("{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}", "calls itself"),
        ("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}", "does not come to an end"),
        (doubled, "too long"),
        ("{{ 'a' * 10 ** 12 }}", "too long"),
        ("{{ [1] * 10 ** 12 }}", "too long"),
        ("{{ '%999999999999d' % 1 }}", "too long"),
        ("{{ '{:>999999999999}'.format(1) }}", "too long"),
        ("{{ ''.center(10 ** 12) }}", "too long"),
        ("{{ messages | tojson(indent=10 ** 12) }}", "too long"),
        ("{{ 'a' | indent(10 ** 12, true) }}", "too long"),
        ("{{ 2 ** 999 }}", "too large"),
        ("{{ range(10 ** 9) }}", "more than 100000"),
        ("{% set ns = namespace() %}{% set ns.x = ns %}{{ ns }}", "nested too deeply"),
    ];
    for (template, expected) in cases {
        let error = refused(template);
        assert!(error.contains(expected), "{template}: {error}");
        assert!(error.len() < 200, "{error}");
    }
}

#[test]
fn what_is_nested_too_deeply_is_refused() {
    let cases = [
        nested("(", "1", ")", 9999),
        nested("[", "1", "]", 9999),
        nested("{1:", "1", "}", 9999),
        nested("not ", "1", "", 9999),
        nested("-", "1", "", 9999),
        nested("1 if 1 else ", "1", "", 9999),
        nested("range(", "1", ")", 9999),
        nested("x[", "1", "]", 9999),
    ];
    for expression in cases {
        let error = refused(&format!("{{{{ {expression} }}}}"));
        assert!(error.contains("nested too deeply"), "{}: {error}", &expression[..20]);
    }
    let chains = ["1 + ", "1 * ", "1 or ", "1 and ", "1 ~ ", "1 < "].map(|part| part.repeat(9999) + "1");
    let chains =
        chains.into_iter().chain(["x", "x.a", "x[0]", "x()", "x|e"].map(|x| x.to_owned() + &x[1..].repeat(9999)));
    for expression in chains {
        // Rendered or refused, without a crash.
        let _ = Renderer::new(Some(&format!("{{{{ {expression} }}}}")), None, "", "")
            .map(|renderer| renderer.chat(&[], None, End::Whole));
    }
    for (open, close) in
        [("{% if 1 %}", "{% endif %}"), ("{% for i in [1] %}", "{% endfor %}"), ("{% with %}", "{% endwith %}")]
    {
        assert!(refused(&nested(open, "", close, 9999)).contains("nested too deeply"), "{open}");
        // As deep as may be.
        let deep = nested(open, "x", close, 90);
        let renderer = Renderer::new(Some(&deep), None, "", "").unwrap();
        assert_eq!(renderer.chat(&[], None, End::Whole).unwrap().text, "x");
    }
}

#[test]
fn a_list_in_a_list_in_a_list_is_dropped_without_a_crash() {
    let template = "{% set ns = namespace(x=[]) %}{% for i in range(90000) %}{% set ns.x = [ns.x] %}{% endfor %}x";
    let renderer = Renderer::new(Some(template), None, "", "").unwrap();
    assert_eq!(renderer.chat(&[], None, End::Whole).unwrap().text, "x");
}
