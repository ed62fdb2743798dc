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

/// A namespace whose `x` is `made` of the `x` before, so many times over.
fn grown(made: &str, times: usize, then: &str) -> String {
    format!(
        "{{% set ns = namespace(x=[]) %}}{{% for i in range({times}) %}}{{% set ns.x = {made} %}}{{% endfor %}}{then}"
    )
}

#[test]
fn what_takes_long_in_one_place_is_refused_too() {
    let text = |code: &str| format!("{{% set s = 'x,' * 10 ** 7 %}}{code}");
    let lists = |code: &str| grown("[ns.x, ns.x]", 60, code);
    let tuples = |code: &str| grown("(ns.x, ns.x) if ns.x else (1,)", 60, code);
    let loops = |code: &str| {
        format!("{{% for a in range(99999) %}}{{% for b in range(99999) %}}{code}{{% endfor %}}{{% endfor %}}")
    };
    let cases = [
        // Text that is printed, and nothing else.
        (loops(&"x".repeat(1000)), "too long"),
        (loops("{{ a }}"), "does not come to an end"),
        (loops("{% set c = a ~ b %}"), "does not come to an end"),
        (loops("{% if a is odd %}{% endif %}"), "does not come to an end"),
        (
            format!("{{% macro f(x) %}}{{{{ x }}}}{{% endmacro %}}{}", loops("{% set c = f(a) %}")),
            "does not come to an end",
        ),
        // Lists that hold one list twice, which holds one list twice.
        (lists("{{ ns.x == ns.x }}"), "does not come to an end"),
        (lists("{{ ns.x in [ns.x] }}"), "does not come to an end"),
        (lists("{{ [ns.x, ns.x] | unique | list }}"), "a list cannot be a key"),
        (lists("{{ ns.x }}"), "does not come to an end"),
        (lists("{{ ns.x | tojson }}"), "does not come to an end"),
        (lists("{{ ns.x | string | length }}"), "does not come to an end"),
        (lists("{{ '%s' % [ns.x] }}"), "does not come to an end"),
        (tuples("{{ {ns.x: 1} }}"), "does not come to an end"),
        (tuples("{{ [ns.x, ns.x] | sort }}"), "does not come to an end"),
        // Going through a long text again and again.
        (text("{% for i in range(99999) %}{{ s[-i] }}{% endfor %}"), "does not come to an end"),
        (
            text("{% for i in range(99999) %}{% if s %}{% if s == s ~ '' %}{% endif %}{% endif %}{% endfor %}"),
            "does not come to an end",
        ),
        (text("{% for i in range(99999) %}{{ s is lower }}{% endfor %}"), "does not come to an end"),
        (text("{% for i in range(99999) %}{% set c = s | title %}{% endfor %}"), "does not come to an end"),
        (
            text("{% for i in range(99999) %}{% set c = s | replace('x', 'yy') %}{% endfor %}"),
            "does not come to an end",
        ),
        (text("{% for i in range(99999) %}{% set c = s.splitlines() %}{% endfor %}"), "does not come to an end"),
        (text("{% for i in range(99999) %}{% set c = s[::-1] %}{% endfor %}"), "does not come to an end"),
        (text("{{ s.strip(s ~ '!') }}"), "does not come to an end"),
        (text("{{ s.split(',') }}"), "a list is too long"),
        (text("{{ s | list }}"), "a list is too long"),
        (text("{{ s.replace(',', s) }}"), "a text is too long"),
        (text("{{ ('%(a)s' * 10 ** 6) % {'a': s} }}"), "a text is too long"),
        (text("{{ ('{0}' * 10 ** 6).format(s) }}"), "a text is too long"),
        (text("{{ [s, s, s, s, s, s] | join }}"), "a text is too long"),
        (text("{{ [s, s, s, s, s, s] | tojson }}"), "a text is too long"),
        ("{{ ('\\n' * 10 ** 7).splitlines() }}".into(), "a list is too long"),
        // Looking for each of many among all.
        ("{{ range(99999) | unique | list | length }}".into(), "does not come to an end"),
        ("{{ dict(range(99999) | batch(2)) | length }}".into(), "does not come to an end"),
        (grown("ns.x + [1]", 99999, ""), "does not come to an end"),
        ("{{ range(99999) | map('list') }}".into(), "is not iterable"),
        ("{{ [[1]] * 9999 | sum(start=[]) }}".into(), "is not iterable"),
        ("{{ ([[1]] * 9999) | sum(start=[]) | length }}".into(), "does not come to an end"),
        // Widths and precisions.
        ("{{ '{:0999999999,}'.format(1) }}".into(), "a text is too long"),
        ("{{ '%.70000f' % 1 }}".into(), "a number is too long"),
        ("{{ [1] | batch(10 ** 12, 0) | list }}".into(), "a list is too long"),
        ("{{ [1] | slice(10 ** 12) | list }}".into(), "a list is too long"),
        ("{{ range(10 ** 10) | list }}".into(), "more than 100000"),
        ("{{ 'x' | indent(10 ** 9, true) }}".into(), "a text is too long"),
        // Filters that call filters.
        (grown("[ns.x]", 5000, "{{ ns.x | map(*(['map'] * 5000 + ['upper'])) | list }}"), "calls itself too deeply"),
    ];
    let mut longest = (0, String::new());
    for (template, expected) in cases {
        let began = std::time::Instant::now();
        let error = refused(&template);
        let took = began.elapsed().as_millis();
        let shown: String = template.chars().rev().take(70).collect::<Vec<_>>().into_iter().rev().collect();
        assert!(error.contains(expected), "{shown}: {error}");
        assert!(took < 60_000, "{shown} took {took} ms");
        longest = longest.max((took, shown));
    }
    println!("the longest took {} ms: {}", longest.0, longest.1);
}

#[test]
fn whatever_holds_the_one_before_is_dropped_without_a_crash() {
    for made in [
        "(ns.x,)",
        "{'a': ns.x}",
        "[ns.x] | select('defined')",
        "[ns.x] | map('default')",
        "{'a': ns.x}.items",
        "{'a': ns.x}.items()",
        "{'a': ns.x}.get",
        "cycler(ns.x)",
        "cycler(ns.x).next",
        "joiner(ns.x)",
        "namespace(a=ns.x)",
    ] {
        let renderer = Renderer::new(Some(&grown(made, 90_000, "x")), None, "", "").unwrap();
        assert_eq!(renderer.chat(&[], None, End::Whole).unwrap().text, "x", "{made}");
    }
    let scopes = "{% set ns = namespace(x=none) %}{% macro f(x) %}{% macro g() %}{{ x }}{% endmacro %}{% set ns.x = g %}\
                  {% endmacro %}{% for i in range(90000) %}{% set _ = f(ns.x) %}{% endfor %}x";
    let renderer = Renderer::new(Some(scopes), None, "", "").unwrap();
    assert_eq!(renderer.chat(&[], None, End::Whole).unwrap().text, "x");
}

#[test]
fn what_is_nested_as_deeply_as_may_be_needs_half_the_stack_of_a_thread() {
    // A worker's thread has 2 MiB.
    let deep = std::thread::Builder::new().stack_size(1 << 20).spawn(|| {
        for (open, middle, close) in [("(", "1", ")"), ("[", "1", "]"), ("{1:", "1", "}"), ("f(", "1", ")"), ("not ", "1", ""), ("x[", "1", "]")] {
            // Refused while it is read, and the deepest that is not.
            let _ = refused(&format!("{{{{ {} }}}}", nested(open, middle, close, 9999)));
            let _ = Renderer::new(Some(&format!("{{{{ {} }}}}", nested(open, middle, close, 95))), None, "", "");
        }
        for part in ["1 + ", "1 or ", "1 * ", "1 ** "] {
            let _ = refused(&format!("{{{{ {}1 + nope() }}}}", part.repeat(1900)));
        }
        for piece in [".a", "[0]", "()", "|list", " is defined|list"] {
            let _ = refused(&format!("{{{{ x{} }}}}", piece.repeat(900)));
        }
        for template in [
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}".to_owned(),
            "{% macro f() %}{% for i in [1] %}{% if true %}{% with a = 1 %}{{ [f()] }}{% endwith %}{% endif %}{% endfor %}{% endmacro %}{{ f() }}".to_owned(),
            "{% macro f() %}{% filter upper %}{% set x %}{{ caller() if false else f() }}{% endset %}{{ x }}{% endfilter %}{% endmacro %}{{ f() }}".to_owned(),
            "{% macro f(a=f()) %}{% endmacro %}{{ f() }}".to_owned(),
            "{% macro f() %}{% call f() %}{{ f() }}{% endcall %}{{ caller() }}{% endmacro %}{{ f() }}".to_owned(),
            "{% for a in [1] recursive %}{{ loop([1]) }}{% endfor %}".to_owned(),
            "{% set ns = namespace() %}{% macro f() %}{{ ns.g() }}{% endmacro %}{% set ns.g = f %}{{ ns.g() }}".to_owned(),
            grown("[ns.x]", 5000, "{{ ns.x | map(*(['map'] * 5000 + ['upper'])) | list }}"),
            grown("[ns.x]", 5000, "{{ ns.x == ns.x }}{{ ns.x < ns.x }}"),
            grown("[ns.x]", 5000, "{{ ns.x }}"),
            grown("[ns.x]", 5000, "{{ ns.x | tojson }}"),
            grown("(ns.x,)", 5000, "{{ {ns.x: 1} }}"),
        ] {
            let _ = refused(&template);
        }
    });
    deep.unwrap().join().unwrap();
}

#[test]
fn a_source_without_an_end_is_read_in_a_moment() {
    let long = |piece: &str| piece.repeat((1 << 20) / piece.len() - 10);
    let began = std::time::Instant::now();
    for source in [
        format!("{{{{ {} }}}}", long("'a'")),
        format!("{{{{ x | {}a }}}}", long("a.")),
        format!("{{{{ f({}) }}}}", (0..99_999).map(|i| format!("a{i}=1")).collect::<Vec<_>>().join(",")),
        format!("{{{{ {} }}}}", long("1 if 1 else ")),
        format!("{{{{ {}", long("{# ")),
        format!("{{% raw %}}{}", long("{%   ")),
        long("{% if 1 %}"),
        long("{{ 1 }}"),
        format!("{{{{ {} }}}}", long("[")),
        format!("{{{{ [{}] }}}}", long("1,")),
        "x".repeat((1 << 20) + 1),
    ] {
        if let Ok(renderer) = Renderer::new(Some(&source), None, "", "") {
            let _ = renderer.chat(&[], None, End::Whole);
        }
    }
    assert!(began.elapsed().as_secs() < 60, "{:?}", began.elapsed());
    assert!(refused(&"x".repeat((1 << 20) + 1)).contains("more than 1 MiB"));
}

#[test]
fn a_template_may_look_back_over_all_turns_at_each() {
    let template = "{% for m in messages %}{% set ns = namespace(n=0) %}{% for other in messages %}{% if other.role == m.role \
                    and other.content %}{% set ns.n = ns.n + 1 %}{% endif %}{% endfor %}{{ ns.n }} {% endfor %}";
    let renderer = Renderer::new(Some(template), None, "", "").unwrap();
    let turns = vec![Message::new("user", "Ciao"); 2000];
    let text = renderer.chat(&turns, None, End::Whole).unwrap().text;
    assert_eq!(text, "2000 ".repeat(2000));
}
