"""What the jinja2 of transformers makes of small templates, each of one kind of thing.

    pip install transformers==5.23.0 jinja2==3.1.6
    python tests/oracles/jinja.py > tests/oracles/jinja.json
"""

import datetime
import json
import sys

from transformers.utils import chat_template_utils


class FixedDate(datetime.datetime):
    @classmethod
    def now(cls, tz=None):
        return cls(2026, 1, 5)


chat_template_utils.datetime = FixedDate

MESSAGES = [
    {"role": "system", "content": "Sii breve & <chiaro>"},
    {"role": "user", "content": "È l'ora?", "items": [3, 1, 2], "z": 1.0, "a": None},
    {"role": "assistant", "content": None, "tool_calls": [{"function": {"name": "f", "arguments": {"b": 1, "a": [True, 2.5e-7, "è'\"<&>"]}}}]},
]

# Each line is a template; what it shows is the kind of its group.
GROUPS = {
    "tojson": r"""
{{ messages | tojson }}
{{ messages[2] | tojson(indent=2) }}
{{ messages[2] | tojson(ensure_ascii=True) }}
{{ messages[2] | tojson(sort_keys=True, separators=(',', ':')) }}
{{ {'a': [], 'b': {}, 1: 2, none: true, 1.5: 'x', true: 0} | tojson(indent=4) }}
{{ [1e16, 1e15, 1.0, 0.1, 1e-5, 0.0001, -0.0, 1e22, 123456789012345680.0, 5e-324, 1.7976931348623157e308] | tojson }}
{{ '\x00\x1f\x7f\u2028\U0001F642/\b\f\n' | tojson }}
{{ '\x7f\U0001F642' | tojson(true) }}
{{ missing | tojson }}
{{ messages[2] | tojson(indent='--') }}
{{ range(3) | tojson }}
{{ (1, 'a') | tojson }}
{{ 'a' | tojson(html=true) }}
""",
    "loops": r"""
{% for m in messages %}{{ loop.previtem.role if loop.previtem is defined else '-' }}{{ loop.nextitem is defined }}{{ loop.index }}{{ loop.revindex0 }}{{ loop.first }}{{ loop.last }}{{ loop.length }};{% endfor %}
{% for m in messages %}{{ loop.nextitem.role }}{% endfor %}
{% for x in [1, 1, 2] %}{{ loop.changed(x) }}{{ loop.cycle('a', 'b') }}{% endfor %}
{% for x in [1, 2, 3, 4] if x is even %}{{ x }}{{ loop.index }}{{ loop.length }}{% else %}none{% endfor %}
{% for x in [] %}{% else %}none{% endfor %}
{% for k, v in {'a': 1, 'b': 2}.items() %}{{ k }}={{ v }} {% endfor %}
{% for x in 'ab' %}{{ x }}{% if loop.first %}{% continue %}{% endif %}!{% endfor %}
{% for x in range(9) %}{% if x == 3 %}{% break %}{% endif %}{{ x }}{% endfor %}
{% for x in [1, [2, [3]]] recursive %}{{ loop(x) if x is iterable else x }}{{ loop.depth }}{% endfor %}
{% set x = 1 %}{% for y in [1, 2] %}{% set x = y %}{% endfor %}{{ x }}
{% set ns = namespace(x=0) %}{% for y in [1, 2] %}{% set ns.x = ns.x + y %}{% endfor %}{{ ns.x }}
{% for a, b in [(1, 2, 3)] %}{% endfor %}
{% for x in none %}{% endfor %}
{% for x in missing %}{{ x }}{% else %}none{% endfor %}
{{ loop is defined }}
{% for x in messages | map(attribute='role') %}{{ x }}{{ loop.length }}{{ loop.last }}{% endfor %}
{% for x in [3, 4] %}{{ loop }}{% endfor %}
""",
    "undefined": r"""
[{{ missing }}{{ messages[0].missing }}{{ messages[9] }}]
{{ missing.attribute }}
{{ missing['key'] }}
{{ messages[0].missing.more }}
{{ 'a' + missing }}
{{ 'a' ~ missing ~ 1 }}
{{ missing is defined }} {{ missing is none }} {{ missing is iterable }} {{ missing is sequence }} {{ missing is mapping }}
{{ missing == missing }} {{ missing == none }} {{ not missing }} {{ missing | length }} {{ missing | list }}
{{ missing < 1 }}
{{ missing() }}
{{ missing | default('d') }} {{ none | default('d') }} {{ none | default('d', true) }} {{ '' | d('e', boolean=true) }}
{{ [missing] }}
{{ 'x' if false }}|
{{ 'a' in missing }}
{{ missing in 'a' }}
{{ missing | int }}
{{ missing | trim }}|{{ missing | join }}|{{ missing | first }}|{{ missing | upper }}
{{ messages[0].get('x').y }}
""",
    "printing": r"""
{{ true }} {{ none }} {{ 1.0 }} {{ 1e100 }} {{ 1e16 }} {{ 0.00001 }} {{ 10 ** 20 }}
{{ [1, 'a', "it's", 'both \' and "', none, true, 1.5, ('x',), {'k': [1]}] }}
{{ messages[2] }}
{{ 'è\n\t\\\x01\u200b\xad\u0301🙂' | list }}
{{ {'a': 1}.items() }} {{ {'a': 1}.keys() }} {{ {'a': 1}.values() }} {{ range(1, 5, 2) }} {{ range(3) }}
{{ (1,) }} {{ () }} {{ [] }} {{ {} }}
{{ namespace(a=1) }}
{{ true ~ none ~ 1.0 ~ [1] }} {{ [1, none, true] | join('-') }} {{ none | string }}
{{ messages | map(attribute='role') }}
{{ raise_exception }}
{{ 1 if 'a' is string else 2, 3 }}
""",
    "numbers": r"""
{{ 7 / 2 }} {{ 6 / 2 }} {{ 7 // 2 }} {{ -7 // 2 }} {{ 7 % 3 }} {{ -7 % 3 }} {{ 7.5 // 2 }} {{ -7.5 % 2 }} {{ 2 ** 10 }} {{ 2 ** -1 }} {{ 2 ** 0.5 }}
{{ 1 / 0 }}
{{ 1 == 1.0 }} {{ true == 1 }} {{ true + true }} {{ 1 < 2 < 3 }} {{ 3 > 2 > 2 }} {{ 'a' < 'b' }} {{ [1, 2] < [1, 3] }}
{{ 1 < 'a' }}
{{ 1 + 'a' }}
{{ 'a' * 3 }} {{ [1] * 2 }} {{ 2 * (1, 2) }} {{ [1] + [2] }}
{{ -1 | abs }} {{ -3 ** 2 }} {{ 2 ** 3 ** 2 }} {{ - 5 % 3 }} {{ not 1 == 2 }} {{ +1 }}
{{ 2.5 | round }} {{ 3.5 | round }} {{ 2.675 | round(2) }} {{ 1234.5 | round(-2) }} {{ 7 | round }} {{ 2.1 | round(0, 'ceil') }} {{ 15 | round(-1) }}
{{ '42' | int }} {{ '42.9' | int }} {{ 'x' | int }} {{ 'x' | int(7) }} {{ '0x1f' | int(0, 16) }} {{ 3.9 | int }} {{ none | int }} {{ '1_000' | int }} {{ ' 5 ' | int }}
{{ '1.5' | float }} {{ 'x' | float }} {{ '1e3' | float }} {{ 'inf' | float }} {{ true | float }}
{{ 0x1F }} {{ 0b101 }} {{ 0o17 }} {{ 1_000 }} {{ 1e3 }} {{ 1.5e-3 }}
{{ 5 is divisibleby 5 }} {{ 4 is odd }} {{ 1 is number }} {{ true is number }} {{ true is integer }} {{ 1.0 is float }} {{ 1 is sameas 1 }}
{{ [3, 1, 2] | sum }} {{ [3, 1, 2] | min }} {{ ['b', 'A'] | max }} {{ [] | min }}|{{ [[1], [2]] | sum(start=[]) }}
""",
    "tests": r"""
{{ none is iterable }} {{ 'a' is iterable }} {{ 1 is iterable }} {{ {} is iterable }} {{ messages is iterable }}
{{ 'a' is sequence }} {{ {} is sequence }} {{ [] is sequence }} {{ 1 is sequence }} {{ range(2) is sequence }} {{ {}.items() is sequence }}
{{ {} is mapping }} {{ [] is mapping }} {{ 'a' is string }} {{ none is none }} {{ 'a' is callable }} {{ raise_exception is callable }} {{ 'a'.upper is callable }}
{{ 'A' is upper }} {{ 'a1' is lower }} {{ '1' is lower }} {{ 1 is in [1, 2] }} {{ 'a' is in 'abc' }} {{ 3 is not in [1] }}
{{ true is true }} {{ 1 is true }} {{ false is boolean }} {{ 'trim' is filter }} {{ 'nope' is filter }} {{ 'odd' is test }}
{{ 1 is eq 1 }} {{ 1 is == 1 }}
{{ 1 is equalto(1) }} {{ 2 is gt 1 }} {{ 1 is le(1) }} {{ 'a' is ne 'b' }}
{{ 1 in [1.0] }} {{ 'a' in {'a': 1} }} {{ 'ab' in 'cabd' }} {{ 1 not in [2] }} {{ [1] in [[1]] }}
{{ 1 in 'abc' }}
{{ 1 in none }}
{{ [] in {} }}
{{ none is defined and none is not none }}
{{ 'x' is nope }}
{{ 'x' if 'y' is nope else 'z' }}
{{ strftime_now is defined }} {{ lipsum is defined }} {{ cycler is callable }}
""",
    "strings": r"""
{{ 'a-b-c'.split('-', 1) }} {{ ' a  b '.split() }} {{ 'a  b c '.split(None, 1) }} {{ 'a-b-c'.rsplit('-', 1) }} {{ ' a b  c '.rsplit(None, 1) }} {{ ''.split() }} {{ ''.split('x') }}
{{ 'a=b=c'.partition('=') }} {{ 'a=b=c'.rpartition('=') }} {{ 'abc'.partition('x') }} {{ 'abc'.rpartition('x') }}
{{ 'abcabc'.index('c') }} {{ 'abcabc'.rindex('c') }} {{ 'abc'.find('x') }} {{ 'èabc'.find('c', 1, 4) }} {{ 'aaa'.count('a') }} {{ 'abc'.count('') }}
{{ 'abc'.index('x') }}
{{ 'prefix-x'.removeprefix('prefix-') }} {{ 'x.txt'.removesuffix('.txt') }} {{ '-42'.zfill(6) }} {{ '42'.zfill(1) }}
{{ '[' ~ 'ab'.center(7, '*') ~ 'ab'.center(6) ~ 'abc'.center(6, '.') ~ 'a'.ljust(3, '-') ~ 'a'.rjust(3) ~ ']' }}
{{ 'ß straße'.upper() }} {{ 'ΑΣ'.lower() }} {{ 'hELLO wORLD'.title() }} {{ "it's l'ora"| title }} {{ 'èa b'.capitalize() }} {{ 'aB'.swapcase() }} {{ 'ǆ'.title() }} {{ 'ß'.capitalize() }}
{{ 'abc'.startswith(('x', 'a')) }} {{ 'abc'.endswith('c') }} {{ 'abc'.startswith('b', 1) }} {{ 'abc'.startswith('a', 1) }}
{{ 'xxaxx'.strip('x') }} {{ '  a '.lstrip() }}| {{ ' a  '.rstrip() }}| {{ ' \x1c\u00a0a\u3000' | trim }}| {{ 'xyax' | trim('xy') }}
{{ 'a\nb\r\nc\x0bd\u2028e'.splitlines() }} {{ 'a\n\nb\n'.splitlines(true) }}
{{ 'aXbX'.replace('X', '-') }} {{ 'aaa'.replace('a', 'b', 2) }} {{ 'ab'.replace('', '-') }} {{ 'aaa' | replace('a', 'b', 1) }} {{ 123 | replace(2, 'x') }}
{{ 'abc123'.isalnum() }} {{ 'abc'.isalpha() }} {{ '12'.isdigit() }} {{ ' '.isspace() }} {{ 'Ab'.istitle() }} {{ ''.isalpha() }} {{ 'a_1'.isidentifier() }} {{ 'é'.isascii() }} {{ 'A1'.isupper() }}
{{ '-'.join(['a', 'b']) }} {{ ', '.join({'x': 1, 'y': 2}) }}
{{ '-'.join([1]) }}
{{ 'a\tb'.expandtabs(4) }} {{ 'ẞ'.casefold() }}
{{ 'abc'[0] }} {{ 'abc'[-1] }} {{ 'abc'[1:] }} {{ 'abc'[::-1] }} {{ 'abcdef'[4:1:-2] }} {{ 'èbc'[:2] }} {{ 'abc'[5:] }}| {{ 'abc'[9] }}|
{{ [1, 2, 3][1:] }} {{ [1, 2, 3][:-1] }} {{ (1, 2, 3)[::2] }} {{ [1, 2, 3][-9:9] }} {{ range(5)[1:3] | list }}
{{ none[1:] }}
{{ 'a' 'b' "c" }} {{ 'a\x41\u00e8\101\q\'' }} {{ "\U0001F642" }}
{{ 'ab' | first }} {{ 'ab' | last }} {{ 'ab' | reverse }} {{ 'ab' | list }} {{ 'a b' | wordcount }} {{ 'ab' | length }} {{ '🙂è' | length }}
{{ 'un testo lungo assai' | truncate(12) }} {{ 'un testo lungo' | truncate(10, true, '…', 0) }}
{{ 'a\nb\n\nc' | indent }}|{{ 'a\nb' | indent(2, true) }}|{{ 'a\n\nb' | indent('> ', blank=true) }}|{{ 'a\nb\n' | indent(1) }}|
{{ '<a> & "b"' | e }} {{ '<' | safe ~ '>' }} {{ ('<' | safe) + '>' }} {{ '<' | escape | upper }} {{ ('<' | e) is escaped }}
{{ 'a b/è?' | urlencode }} {{ {'a': 'b c', 'd': 1} | urlencode }} {{ 'x' | center(5) }}|
""",
    "formats": r"""
{{ '%s %r %d %5.2f %-4s| %04d %x %o %e %g %%' % ('a', 'b', 3.9, 3.14159, 'x', 42, 255, 8, 12345.678, 0.00001) }}
{{ '%(a)s-%(b)d' % {'a': 1, 'b': 2} }} {{ '%s' % [1, 2] }} {{ '%s' % none }} {{ '%+d % d %c %#x %.3s %*d' % (5, 5, 'z', 255, 'abcdef', 4, 7) }}
{{ '%s %s' % 'a' }}
{{ '%d' % 'a' }}
{{ 'a' % 1 }}
{{ '%s' | format('x') }} {{ '%(k)s' | format(k='v') }} {{ '%s and %s' | format(1, none) }} {{ '%s' % missing }}|
{{ '{} {}'.format(1, 'a') }} {{ '{1} {0} {name}'.format(1, 2, name='n') }} {{ '{0[k]} {0[l][1]}'.format({'k': 'v', 'l': [1, 2]}) }} {{ '{{}}'.format() }}
{{ '{:>5}|{:<5}|{:^5}|{:*^7}|{:05d}|{:+.2f}|{:,}|{:_}|{:x}|{:#b}|{:.1%}|{:e}|{:g}'.format('a', 'b', 'c', 'd', 42, 3.14159, 1234567, 1234567, 255, 5, 0.256, 12345.678, 1e-10) }}
{{ '{!r} {!s}'.format('a', 1) }} {{ '{:{}}'.format('a', 4) }}| {{ '{:.3}'.format('abcdef') }} {{ '{:6.2f}'.format(3) }} {{ '{:012,.1f}'.format(1234.5) }} {{ '{}'.format(none) }} {{ '{:10}'.format(1.5) }}
{{ '{} {0}'.format(1) }}
{{ '{'.format() }}
{{ '{x}'.format() }}
{{ '{:d}'.format('a') }}
{{ '{0.__class__}'.format(1) }}|
{{ 1e16 | string }} {{ '%.0f' % 2.5 }} {{ '%.1f' % 0.25 }} {{ '%5s|%-5s|' % ('è', '🙂') }} {{ '%r' % 'it\'s' }}
""",
    "dicts and attributes": r"""
{{ messages[1].items }}
{{ messages[1]['items'] }} {{ messages[1].get('items') }} {{ messages[1].get('no') }} {{ messages[1].get('no', 'd') }} {{ messages[1].role }} {{ messages[1]['role'] }}
{{ messages[1].items() | list | length }} {{ messages[1].keys() | list }} {{ messages[1].values() | list | last }}
{{ messages[1].pop('role') }}
{{ messages.append(1) }}
{{ messages[1].update({'x': 1}) }}
{{ messages.__class__ }}|
{{ messages.__class__.__mro__ }}
{{ ''.__class__ is defined }} {{ messages.pop is defined }} {{ messages.index(messages[1]) }} {{ [1, 2, 1].count(1) }}
{{ {'b': 1, 'a': 2} | dictsort }} {{ {'b': 1, 'a': 2} | dictsort(by='value', reverse=true) }} {{ {'b': 1, 'A': 2} | dictsort(true) }}
{{ {'a': 1} | items | list }} {{ missing | items | list }} {{ {'a': 1} == {'a': 1.0} }} {{ {'a': 1, 'b': 2} == {'b': 2, 'a': 1} }}
{{ dict(a=1, b=2) }} {{ dict([('x', 1)], y=2) }} {{ dict({'a': 1}, a=3) }} {{ {'a': 1, 'a': 2} }} {{ dict.fromkeys('ab', 0) }} {{ {'a': 1}.copy() }}
{{ {[1]: 2} }}
{{ messages[0].role.upper() }} {{ messages[0]['content'].split()[0] }} {{ (1).real }} {{ 5 .bit_length() }}
{{ messages.0.role }} {{ [1, 2].0 }} {{ messages[-1].role }} {{ {1: 'x'}[true] }} {{ {1: 'x'}[1.0] }}
{{ messages[0] | attr('role') }}| {{ messages[0] | attr('get') is defined }} {{ 'a' | attr('upper') is callable }}
{% set ns = namespace(_x=1) %}
{% set ns = namespace() %}{% set ns.__x = 1 %}
{% set x = {} %}{% set x.y = 1 %}
{{ namespace({'a': 1}).a }} {{ namespace(a=1).b is defined }}
""",
    "lists": r"""
{{ [3, 1, 2] | sort }} {{ ['b', 'A', 'c'] | sort }} {{ ['b', 'A'] | sort(case_sensitive=true) }} {{ [1, 3, 2] | sort(reverse=true) }} {{ messages | sort(attribute='role') | map(attribute='role') | list }}
{{ [1, 'a'] | sort }}
{{ [1, 1.0, 2, true] | unique | list }} {{ ['a', 'A', 'b'] | unique | list }} {{ [1, 2, 3] | reverse | list }} {{ [1, 2] | first }} {{ [1, 2] | last }} {{ [] | first }}|
{{ [1, 2, 3, 4, 5] | batch(2) | list }} {{ [1, 2, 3] | batch(2, 'x') | list }} {{ [1, 2, 3, 4, 5] | slice(2) | list }} {{ [1, 2, 3] | slice(2, 0) | list }}
{{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ messages | selectattr('tool_calls') | list | length }} {{ messages | rejectattr('role', 'in', ['user']) | map(attribute='role') | join(',') }} {{ messages | selectattr('tool_calls', 'defined') | list | length }}
{{ [1, 2, 3] | select('odd') | list }} {{ [0, 1, none, 'a'] | select | list }} {{ [1, 2] | reject('eq', 1) | list }} {{ ['a', 'b'] | map('upper') | join }} {{ [1.234, 5.678] | map('round', 1) | list }} {{ messages | map(attribute='x', default='d') | join }} {{ messages | map('tojson') | first }}
{{ messages | groupby('role') | map('first') | list }} {% for g in [{'k': 1, 'v': 'a'}, {'k': 1, 'v': 'b'}] | groupby('k') %}{{ g.grouper }}{{ g.list | length }}{% endfor %}
{{ messages | map(attribute='role') | list | join(', ') }} {{ messages | map(attribute='content') | map('default', 'x') | join('|') }} {{ messages | join('+', attribute='role') }}
{{ [1, 2, 3] | length }} {{ messages | map(attribute='role') | length }}
{{ none | length }}
{{ 5 | list }}
{{ [[1, 2], [3]] | sum(start=[]) }} {{ 1 | nope }}
{{ 'a' if true else 1 | nope }}
{{ 'abc' | map('nope') | list }}
{{ messages | map(attribute='role') | last }}
{{ range(10) | list | last }} {{ range(5, 0, -2) | list }} {{ range(3) | length }} {{ range(0) | first }}| {{ 3 in range(5) }}
{{ range(100001) }}
{{ [1, 2, 3].index(2) }}
{{ [1, 2].index(9) }}
""",
    "calls": r"""
{% macro m(a, b='x', c=a) %}{{ a }}{{ b }}{{ c }}{{ varargs }}{{ kwargs }}{% endmacro %}{{ m(1) }} {{ m(1, 2, 3, 4, k=5) }} {{ m(b=1, a=2) }} {{ m }}
{% macro m(a) %}[{{ a }}]{% endmacro %}{{ m() }}{{ m(1) }}
{% macro m(a) %}{% endmacro %}{{ m(1, 2) }}
{% macro m(a) %}{% endmacro %}{{ m(b=1) }}
{% macro m(a) %}{{ a.b }}{% endmacro %}{{ m() }}
{% macro m() %}<{{ caller('x') }}>{% endmacro %}{% call(y) m() %}{{ y }}!{% endcall %}
{% macro f(n) %}{{ n }}{% if n > 0 %}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(3) }}
{% macro m() %}{{ x }}{% endmacro %}{% set x = 1 %}{{ m() }}{% set x = 2 %}{{ m() }}
{% set c = cycler('a', 'b') %}{{ c.next() }}{{ c.next() }}{{ c.next() }}{{ c.current }}{{ c.reset() }}{{ c.next() }}
{% set j = joiner('; ') %}{{ j() }}a{{ j() }}b{{ j() }}c
{% set args = [1, 2] %}{{ range(*args) | list }} {{ dict(**{'a': 1}) }}
{{ raise_exception('basta') }}
{{ messages[0]() }}
{{ strftime_now('%d %b %Y %A %B %H:%M:%S %j %y %m %-d %e %p %I %a %U %W %w %% %F %T %D %R %C %G-%V %u %h %n|') }}
{{ strftime_now('%-m/%_d/%-H %c %x %X %Z%z') }}
{{ strftime_now() }}
{% set a, b = 1, 2 %}{{ a }}{{ b }} {% set x %}  testo {% endset %}[{{ x }}] {% set y | trim | upper %} ciao {% endset %}[{{ y }}]
{% with a = 1, b = 2 %}{{ a + b }}{% endwith %}{{ a is defined }} {% filter upper %}abc{{ 'd' }}{% endfilter %}
{% if false %}{% elif 0 %}{% elif [] %}{% else %}e{% endif %} {% if messages and 'x' not in messages %}t{% endif %}
{% include 'x' %}
{% import 'x' as y %}
{% do 1 %}
{% generation %}{% set z = 1 %}risposta{% endgeneration %}{{ z is defined }}
{% raw %}{{ x }} {% y %}{% endraw %} {# comment #}{{ 'a' if 1 }}{{- ' b' -}} {% print 'p', 1 %}
""",
    "precedence": r"""
{{ 1 + 2 ~ 3 * 4 }} {{ 1 ~ 2 + 3 }} {{ not true and false }} {{ true or false and false }} {{ 'a' in 'abc' and not 'd' in 'abc' }} {{ 1 if 0 else 2 if 0 else 3 }}
{{ -1 | abs + 2 }} {{ 'a' ~ 'b' | upper }} {{ ('a' ~ 'b') | upper }} {{ 1 is odd and 2 is even }} {{ not 1 is odd }} {{ 1 + 1 is even }} {{ 2 * 3 % 4 }} {{ 7 - 3 - 2 }} {{ 'a' if x else 'b' ~ 'c' }}
{{ [1, 2, 3][0] + {'a': 5}['a'] }} {{ (1, 2)[1] }} {{ {'a': {'b': [1, 2]}}.a.b[1] }} {{ 'x'.upper().lower() }} {{ messages[0]['role'] | upper | lower }}
{{ 1 == 1 == 1 }} {{ 1 < 2 == true }} {{ 1 is none or 2 }} {{ none or 0 or '' }}| {{ 1 and 2 and 3 }} {{ 0 and x.y }}
{{ 1, 2 }} {{ [1, 2,] }} {{ {'a': 1,} }} {{ (1) }} {{ [(1,), ()] }} {{ dict(a=1,) }}
{{ 1 if }}
{{ (1 }}
{{ 1 +
{% if %}x{% endif %}
{% for x in %}{% endfor %}
{% if true %}
{{ a b }}
{{ 'abc }}
{% endif %}
{{ 1 | }}
{{ x is is y }}
{{ {1} }}
{{ true = 1 }}
{% set true = 1 %}
{% set a b = 1 %}
{{ 1 @ 2 }}
{{ 007 }}
{{ a.'b' }}
{{ f(a=1, 2) }}
{{ f(**x, *y) }}
""",
}
# White space and line ends, which a line each cannot hold.
SOURCES = [
    "a\r\n{% if true %}\r\nb\r\n{% endif %}\r\nc\r\n",
    "a\r{{ 'x\r\ny' }}\rb\r",
    "a\n\n",
    "a\n",
    "  {% if true %}  \n  b\n  {% endif %}\n  c",
    "  {%- if true -%}  \n  b\n  {%- endif -%}\n  c",
    "  {%+ if true +%}\n  b\n  {%+ endif %}\n  c",
    "x {% if true %} y {% endif %} z",
    "  {# c #}\n  x {# d #}  \n{#- e -#}  y",
    "  {{ 1 }}  \n  {{- 2 -}}  \n  3",
    "{% raw %}\n  {{ a }}\n{% endraw %}\n b",
    "  {%- raw -%}  x  {%- endraw -%}  y",
    "\n\n  {% for x in [1, 2] %}\n    {{ x }}\n  {% endfor %}\n\n",
    "{% set x = 1 %}\n{% set y = 2 %}\n{{ x }}\n{{ y }}\n",
    "\t{% if true %}\n\u00a0{% endif %}x",
    "{{ '%}' }}{% if '%}' %}a{% endif %}{{ '}}' }}{{ {'a': {'b': 1}}['a'] }}",
    "{{ {'a': 1}}}",
    "{ {{ 1 }} } {% if true %}}{% endif %}{",
    "{#",
    "{% raw %}x",
    "a{#- x -#}\n b {#+ y +#}\n c",
    "{%if true%}a{%endif%}{%-if true-%} b{%-endif-%}",
    "a\u2028{% if true %}\nb{% endif %}",
    "",
]


def rendered(template):
    try:
        texts, _ = chat_template_utils.render_jinja_template(
            conversations=[MESSAGES], chat_template=template, add_generation_prompt=False, bos_token="<s>"
        )
    except Exception:  # whatever it is, it is refused
        return None
    # What holds an address is another text in each run.
    return None if " at 0x" in texts[0] else texts[0]


def main():
    groups = {name: [line for line in text.split("\n") if line] for name, text in GROUPS.items()}
    groups["white space"] = SOURCES
    cases = {name: [[template, rendered(template)] for template in templates] for name, templates in groups.items()}
    json.dump({"date": "2026-01-05", "messages": MESSAGES, "groups": cases}, sys.stdout, ensure_ascii=False, indent=1)
    print()


if __name__ == "__main__":
    main()
